// Drives bench/webhooks.sh: a receiver on loopback, webhooks that get a backlog by replays, and wrk for the board page.
//
//   node bench/webhooks.mjs URL TOKEN SERVER_PID POSTGRES_PID BOARD_JSON WRK_SCRIPT
//
// Prints JSON. The receiver is made of plain sockets, so that it costs little beside the server.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { promisify } from 'node:util';

const [url, token, server, postgres, board, script] = process.argv.slice(2);
const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
const rounds = number('ROUNDS', 5);
const seconds = number('SECONDS_EACH', 4);
const connections = (process.env.CONNECTIONS_EACH ?? '16 2').split(' ').map(Number);
const longest = number('DRAIN_SECONDS', 20) * 1000;
const wanted = number('RATE', 550);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const sleep = ms => new Promise(done => setTimeout(done, ms));
const run = promisify(execFile);
/** What the caller wants done before each measurement. */
const before = () => (process.env.BEFORE ? run('sh', ['-c', process.env.BEFORE]) : undefined);
const median = values => [...values].sort((a, b) => a - b)[values.length >> 1];

// The receiver: how long it takes to answer, and what has come.
let delay = 0;
let arrived = 0;
const ANSWER = 'HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n';
const receiver = net.createServer({ noDelay: true }, socket => {
  let got = 0, due = 0;
  socket.on('error', () => {});
  socket.on('data', chunk => {
    if (!due) {
      // The head comes in one piece on loopback.
      const end = chunk.indexOf('\r\n\r\n');
      const length = /content-length: (\d+)/i.exec(chunk.toString('latin1', 0, end));
      due = end + 4 + Number(length[1]);
    }
    got += chunk.length;
    if (got < due) return;
    arrived++;
    if (delay) setTimeout(() => socket.end(ANSWER), delay);
    else socket.end(ANSWER);
  });
});
await new Promise(done => receiver.listen(0, '127.0.0.1', 1024, done));

// Receivers that a good one stands beside: they hang, fail, flood, dawdle, or lead inside.
const BAD = [
  () => {},
  socket => socket.end('HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'),
  socket => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n' + 'x'.repeat(10485760)),
  socket => {
    const drip = setInterval(() => (socket.destroyed ? clearInterval(drip) : socket.write('H')), 500);
  },
  socket => socket.end('HTTP/1.1 307 Temporary Redirect\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n'),
];
const bad = net.createServer(socket => {
  socket.on('error', () => {});
  socket.once('data', chunk => BAD[Number(/^POST \/(\d+)/.exec(chunk)[1]) % BAD.length](socket));
});
await new Promise(done => bad.listen(0, '127.0.0.1', 1024, done));

/** When each item's event came to the good receiver. */
const came = new Map();
const good = http.createServer((request, answer) => {
  let text = '';
  request.on('data', part => { text += part; });
  request.on('end', () => {
    came.set(JSON.parse(text).data.event.itemId, performance.now());
    answer.writeHead(204).end();
  });
});
await new Promise(done => good.listen(0, '127.0.0.1', done));

function ask(query, variables) {
  const body = JSON.stringify({ query, variables });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}`, 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const request = http.request(`${url}/graphql`, { method: 'POST', agent, headers }, answer => {
      let text = '';
      answer.on('data', part => { text += part; });
      answer.on('end', () => {
        const { data, errors } = JSON.parse(text);
        const refused = errors ?? Object.values(data).flatMap(field => field?.userErrors ?? []);
        refused.length ? reject(new Error(text)) : resolve(data);
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Milliseconds of processor that a process has used, with its children where it has some. */
function used(pid) {
  if (!pid) return 0;
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  const own = id => {
    try {
      const fields = fs.readFileSync(`/proc/${id}/stat`, 'utf8').split(') ')[1].split(' ');
      return (Number(fields[11]) + Number(fields[12])) * 10;
    } catch {
      return 0;
    }
  };
  return [pid, ...children].reduce((sum, id) => sum + own(id), 0);
}

const hooks = [];
async function makeHooks(count) {
  while (hooks.length < count) {
    const address = `http://127.0.0.1:${receiver.address().port}/${hooks.length}`;
    const create = 'mutation($url: Url!) { webhookCreate(input: {url: $url, eventTypes: [ITEM_CREATED]}) { webhook { id } userErrors { code message } } }';
    hooks.push((await ask(create, { url: address })).webhookCreate.webhook.id);
  }
}
async function enable(isEnabled, some = hooks) {
  const update = 'mutation($id: ID!, $isEnabled: Boolean!) { webhookUpdate(input: {id: $id, patch: {isEnabled: $isEnabled}}) { userErrors { code message } } }';
  for (const id of some) await ask(update, { id, isEnabled });
}
async function pending() {
  const data = await ask('{ organization { webhooks(first: 20) { nodes { pendingCount } } } }');
  return data.organization.webhooks.nodes.reduce((sum, hook) => sum + hook.pendingCount, 0);
}
/** Pauses all, once the first event of every item waits for each of `some`. */
async function fill(some) {
  const first = (await ask('{ events(first: 1) { nodes { cursor } } }')).events.nodes[0].cursor;
  const replay = `mutation($id: ID!, $after: Cursor!) {
    webhookUpdate(input: {id: $id, patch: {isEnabled: true}}) { userErrors { code message } }
    webhookReplay(input: {id: $id, after: $after}) { userErrors { code message } }
    pause: webhookUpdate(input: {id: $id, patch: {isEnabled: false}}) { userErrors { code message } }
  }`;
  for (const id of some) await ask(replay, { id, after: first });
  await sleep(1000);
  return pending();
}

/** What is sent while the backlog drains, for `longest` at most. */
async function drain(count) {
  await makeHooks(count);
  const some = hooks.slice(0, count);
  const waiting = await fill(some);
  await before();
  const was = { arrived, server: used(server), postgres: used(postgres), at: performance.now() };
  await enable(true, some);
  let at = was.at, last = was.arrived;
  while (arrived - was.arrived < waiting && performance.now() - was.at < longest) {
    await sleep(5);
    if (arrived !== last) { last = arrived; at = performance.now(); }
  }
  const sent = last - was.arrived;
  const each = (pid, earlier) => +((used(pid) - earlier) / sent).toFixed(3);
  const result = { webhooks: count, waiting, sent, perSecond: Math.round(sent / (at - was.at) * 1000), serverMs: each(server, was.server), postgresMs: each(postgres, was.postgres) };
  await enable(false, some);
  await sleep(500);
  return result;
}

/** The board page for some seconds. */
async function page(connections) {
  const earlier = arrived, began = performance.now();
  const environment = { ...process.env, BODY: board, TOKEN: token };
  const { stdout } = await run('wrk', ['-t2', `-c${connections}`, `-d${seconds}s`, '-s', script, `${url}/graphql`], { env: environment });
  const found = /rate=([\d.]+) p50=([\d.]+) p99=([\d.]+) bad=(\d+)/.exec(stdout);
  if (!found || found[4] !== '0') throw new Error(stdout);
  const [rate, p50, p99] = found.slice(1, 4).map(Number);
  return { rate, p50, p99, sent: (arrived - earlier) / (performance.now() - began) * 1000 };
}

/** 10 webhooks with 4 requests under way each: what the receiver takes and the rest takes, the rate decides. */
const IN_FLIGHT = 40;
function adjust(sent) {
  delay = Math.max(0, delay + (IN_FLIGHT / wanted - IN_FLIGHT / sent) * 1000);
}

/** The page without and with deliveries, in turns. The receiver takes so long to answer that about as many come as wanted. */
async function beside(connections) {
  const all = { without: [], with: [] };
  for (let round = 0; round < rounds; round++) {
    if (await pending() < 20_000) await fill(hooks);
    await enable(false);
    await before();
    await sleep(500);
    all.without.push(await page(connections));
    await enable(true);
    await sleep(500);
    all.with.push(await page(connections));
    await enable(false);
    adjust(all.with.at(-1).sent);
  }
  const of = (name, what) => +median(all[name].map(one => one[what])).toFixed(1);
  const ratios = all.with.map((one, round) => one.p99 / all.without[round].p99);
  return {
    connections, receiverMs: delay,
    deliveriesPerSecond: Math.round(of('with', 'sent')),
    without: { rate: of('without', 'rate'), p50: of('without', 'p50'), p99: of('without', 'p99') },
    with: { rate: of('with', 'rate'), p50: of('with', 'p50'), p99: of('with', 'p99') },
    ratio: +median(ratios).toFixed(2), ratios: ratios.map(ratio => +ratio.toFixed(2)),
  };
}

/** From before a mutation was sent to its event's arrival at the good receiver, without and with 20 bad ones. */
async function besideBad(items) {
  const create = 'mutation($url: Url!) { webhookCreate(input: {url: $url, eventTypes: [ITEM_CREATED]}) { webhook { id } userErrors { code message } } }';
  const make = 'mutation { itemCreate(input: {title: "measured"}) { item { id } userErrors { code message } } }';
  const round = async () => {
    const sent = new Map();
    for (let number = 0; number < items; number++) {
      const at = performance.now();
      sent.set((await ask(make)).itemCreate.item.id, at);
      await sleep(10);
    }
    for (let tries = 0; tries < 3000 && ![...sent.keys()].every(id => came.has(id)); tries++) await sleep(10);
    const times = [...sent].map(([id, at]) => came.get(id) - at).sort((a, b) => a - b);
    const of = part => +times[Math.min(times.length - 1, Math.floor(times.length * part))].toFixed(1);
    return { arrived: times.filter(time => time >= 0).length, p50: of(0.5), p99: of(0.99) };
  };
  await ask(create, { url: `http://127.0.0.1:${good.address().port}/` });
  await before();
  const without = await round();
  for (let number = 0; number < 20; number++) await ask(create, { url: `http://127.0.0.1:${bad.address().port}/${number}` });
  return { items, without, with: await round() };
}

const only = (process.env.ONLY ?? 'drain page bad').split(' ');
const result = { drains: [], pages: [], bad: null };
await makeHooks(10);
await enable(false);
if (only.includes('drain')) result.drains = [await drain(1), await drain(10)];
delay = IN_FLIGHT / wanted * 1000 - 20;
if (only.includes('page')) for (const count of connections) result.pages.push(await beside(count));
// Last: its items would make the replays too long.
if (only.includes('bad')) result.bad = await besideBad(number('BESIDE_BAD', 1000));
console.log(JSON.stringify(result));
process.exit(0);
