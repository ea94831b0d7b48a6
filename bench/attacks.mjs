// All attacks of one kind of client at once against a release server, while another organization reads its board page.
//
//   node bench/attacks.mjs URL SERVER_PID BOARD
//
// BOARD: the file with the board page's request. The server is one of bench/subject.sh, filled with two organizations:
// load-1 reads, the people of load-2 attack (and some without credentials). SECONDS_EACH (30): first alone, then under
// attack. READERS (3): connections of load-1. ONLY: names of attacks, all when left out. ATTACKED: the URL of another such
// server, which is attacked instead: what is left is what the machine's processors cost.
// Prints JSON: memory and the page's latency alone and under attack, its failures, and what each attack was answered.
import { fork } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';

const [url, pid, board] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const seconds = Number(process.env.SECONDS_EACH ?? 30);
const readers = Number(process.env.READERS ?? 3);
const sleep = ms => new Promise(done => setTimeout(done, ms));
const PASSWORD = 'load-fill-2026';

/** One request; `{ status, body, ms }`, status 0 when the connection broke. */
function request(body, { token, agent, path = '/graphql', headers = {}, most = 60_000 } = {}) {
  const started = performance.now();
  return new Promise(resolve => {
    const done = (status, body) => resolve({ status, body, ms: performance.now() - started });
    const options = { hostname, port, path, method: 'POST', agent, timeout: most,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...(token && { authorization: `Bearer ${token}` }), ...headers } };
    const sent = http.request(options, answer => {
      const parts = [];
      let size = 0;
      // Of a large answer only the size matters.
      answer.on('data', part => { size += part.length; if (size < 4e6) parts.push(part); });
      answer.on('end', () => done(answer.statusCode, Buffer.concat(parts).toString()));
      answer.on('error', () => done(0, 'cut'));
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer')));
    sent.on('error', error => done(0, error.code ?? error.message));
    sent.end(body);
  });
}
const gql = (query, variables) => JSON.stringify({ query, variables });
const codeOf = answer => /"code":"([A-Z_]+)"/.exec(answer.body)?.[1] ?? (answer.status === 200 ? 'ok' : answer.status || answer.body);

async function signIn(email) {
  const body = gql('mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, password: $password}) { accessToken } }', { email, password: PASSWORD });
  const { body: text } = await request(body);
  const token = JSON.parse(text).data?.sessionCreate?.accessToken;
  if (!token) throw new Error(`${email} can't sign in: ${text}`);
  return token;
}

const percentile = (sorted, part) => +(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN).toFixed(1);

/** The board page by some connections, one request after the other, for a time. */
async function read(tokens) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: readers });
  const body = fs.readFileSync(board);
  const until = performance.now() + seconds * 1000;
  const times = [], failures = {};
  let turn = 0;
  await Promise.all(Array.from({ length: readers }, async () => {
    while (performance.now() < until) {
      const answer = await request(body, { token: tokens[turn++ % tokens.length], agent });
      times.push(answer.ms);
      const code = codeOf(answer);
      if (code !== 'ok') {
        failures[code] = (failures[code] ?? 0) + 1;
        // What was refused at once is not to be asked for in a tight loop.
        await sleep(50);
      }
    }
  }));
  agent.destroy();
  times.sort((a, b) => a - b);
  return { pages: times.length, perSecond: +(times.length / seconds).toFixed(1), p50: percentile(times, 0.5), p99: percentile(times, 0.99), worst: percentile(times, 1), failures };
}

// ── the attacks: each a function of the attackers' tokens and what was prepared, run over and over ──

const outcomes = {};
function count(name, what) {
  const counted = (outcomes[name] ??= {});
  counted[what] = (counted[what] ?? 0) + 1;
}
const asked = async (name, body, options) => count(name, codeOf(await request(body, options)));

/** A masked text frame, as a client must send it; the mask is all zeros. */
function frame(text) {
  const body = Buffer.from(text), head = Buffer.alloc(14);
  head[0] = 0x81;
  if (body.length < 126) { head[1] = 0x80 | body.length; return Buffer.concat([head.subarray(0, 6), body]); }
  if (body.length < 65536) { head[1] = 0xfe; head.writeUInt16BE(body.length, 2); return Buffer.concat([head.subarray(0, 8), body]); }
  head[1] = 0xff; head.writeBigUInt64BE(BigInt(body.length), 2);
  return Buffer.concat([head, body]);
}

/** A raw connection that sends and, if at all, reads only until it was told to begin. */
function hold(bytes, ms) {
  return new Promise(resolve => {
    const socket = net.connect(+port, hostname);
    const timer = setTimeout(() => { socket.destroy(); resolve('held'); }, ms);
    socket.on('error', error => { clearTimeout(timer); resolve(error.code); });
    socket.on('close', () => { clearTimeout(timer); resolve('closed by the server'); });
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', () => {});
  });
}

const DESCRIPTIONS = `{ items(first: 100, filter: {title: {startsWith: "bench text"}}) { nodes { ${Array.from({ length: 31 }, (_, n) => (n ? `d${n}: description` : 'description')).join(' ')} } } }`;
const words = n => Math.random().toString(36).slice(2, 2 + n);
const bomb = { f: { and: Array(345_000).fill({}) } };
const H2_PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
// SETTINGS; then HEADERS without END_HEADERS on stream 1.
const H2_OPEN = Buffer.concat([Buffer.from(H2_PREFACE), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);
const H2_HALF = Buffer.concat([H2_OPEN, Buffer.from([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82])]);

const ATTACKS = {
  // A socket of 50 operations that reads nothing but its beginning.
  async silentReader({ tokens }) {
    const create = 'mutation($i: ItemCreateInput!) { itemCreate(input: $i) { item { id } userErrors { code } } }';
    const items = { title: 'bench many', subtasks: Array.from({ length: 149 }, (_, n) => ({ title: `bench many ${n}` })) };
    const texts = '{ items(first: 18, filter: {title: {startsWith: "bench text"}}) { nodes { description } } }';
    const outcome = await new Promise(resolve => {
      const socket = net.connect(+port, hostname);
      let begun = false;
      const timer = setTimeout(() => { socket.destroy(); resolve('held for 15 s'); }, 15_000);
      socket.on('error', error => { clearTimeout(timer); resolve(error.code); });
      socket.on('close', () => { clearTimeout(timer); resolve('closed by the server'); });
      socket.on('connect', () => socket.write(
        `GET /graphql HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n'));
      socket.on('data', data => {
        if (!begun && data.includes('HTTP/1.1 101')) {
          begun = true;
          socket.write(frame(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${tokens[0]}` } })));
        } else if (data.includes('connection_ack')) {
          socket.pause();
          for (let n = 0; n < 50; n++) {
            const payload = n % 2 ? { query: create, variables: { i: items } } : { query: texts };
            socket.write(frame(JSON.stringify({ id: `${n}`, type: 'subscribe', payload })));
          }
        } else if (!begun) { clearTimeout(timer); socket.destroy(); resolve(data.toString().slice(9, 12)); }
      });
    });
    count('silentReader', outcome);
  },
  // An event stream that nobody reads.
  async silentStream({ tokens }) {
    const body = gql('subscription { events { events { type subject { ... on Item { title description } } } cursor } }');
    const bytes = `POST /graphql HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer ${tokens[1]}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const outcome = await new Promise(resolve => {
      const socket = net.connect(+port, hostname);
      setTimeout(() => { socket.destroy(); resolve('held for 15 s'); }, 15_000);
      socket.on('error', error => resolve(error.code));
      socket.on('connect', () => { socket.write(bytes); socket.pause(); });
    });
    count('silentStream', outcome);
  },
  filterBomb: ({ tokens, bombBody }) => asked('filterBomb', bombBody, { token: tokens[2] }),
  async inBomb({ tokens, ids }) {
    const list = Array.from({ length: 500 }, () => ids[0]);
    const conditions = Array.from({ length: 40 }, () => ({ id: { in: list, notIn: list } }));
    await asked('inBomb', gql('query($f: ItemFilter!) { items(filter: $f) { totalCount } }', { f: { and: conditions.slice(0, 20) } }), { token: tokens[3] });
  },
  async introspection() {
    for (const [a, b] of [['interfaces', 'possibleTypes'], ['possibleTypes', 'interfaces']]) {
      for (const k of [3, 4, 5]) {
        const query = `{ __schema { types { ${`${a} { ${b} { `.repeat(k)}name${' } }'.repeat(k)} } } }`;
        await asked('introspection', gql(query), { most: 20_000 });
      }
    }
  },
  async contains({ tokens }) {
    const conditions = Array.from({ length: 50 }, () => `{title: {contains: "${words(5)}"}}`).join(' ');
    const fields = Array.from({ length: 20 }, (_, n) => `f${n}: items(first: 1, filter: {or: [${conditions}]}) { nodes { id } }`).join(' ');
    await asked('contains', gql(`{ ${fields} }`), { token: tokens[4] });
    const variable = { f: { or: Array.from({ length: 50 }, () => ({ title: { contains: words(5) } })) } };
    const by = Array.from({ length: 20 }, (_, n) => `f${n}: items(first: 1, filter: $f) { nodes { id } }`).join(' ');
    await asked('contains', gql(`query($f: ItemFilter!) { ${by} }`, variable), { token: tokens[5] });
  },
  descriptions: ({ tokens }) => asked('descriptions', gql(DESCRIPTIONS), { token: tokens[6] }),
  async documents() {
    const query = `{ a${words(8)}: __schema { queryType { ${'name '.repeat(1_900)}} } }`;
    await asked('documents', gql(query));
    await sleep(10);
  },
  async silentConnections() {
    const kinds = ['', 'PRI * HT', 'POST /graphql HTTP/1.1\r\nHost: x\r\n', H2_OPEN, H2_HALF];
    const held = await Promise.all(Array.from({ length: 1_100 }, (_, n) => hold(kinds[n % kinds.length], seconds * 600)));
    for (const outcome of held) count('silentConnections', outcome);
  },
  async hungUp() {
    for (let n = 0; n < 200; n++) {
      const body = gql('mutation($e: String!) { sessionCreate(input: {email: $e, password: "x"}) { accessToken userErrors { code } } }', { e: `nobody${n}@load-2.example` });
      const socket = net.connect(+port, hostname);
      socket.on('error', () => {});
      socket.on('connect', () => {
        socket.write(`POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        setTimeout(() => socket.destroy(), 5);
      });
      count('hungUp', 'sent');
    }
    await sleep(3_000);
  },
  async callbacks({ hook }) {
    if (!hook) return sleep(1_000);
    await asked('callbacks', '{"action": "opened"}', { path: hook, headers: { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` } });
  },
  async founding({ tokens }) {
    const slug = `bench-${words(8)}`;
    await asked('founding', gql('mutation($s: String!) { organizationCreate(input: {name: $s, slug: $s}) { organization { id } userErrors { code } } }', { s: slug }), { token: tokens[7] });
  },
  async tagDeletion({ tokens, tags }) {
    const id = tags.shift();
    if (!id) return sleep(1_000);
    await asked('tagDeletion', gql('mutation($id: ID!) { tagDelete(input: {id: $id}) { deletedId userErrors { code } } }', { id }), { token: tokens[0] });
  },
};
/** How many of an attack run at a time. */
const TIMES = { silentReader: 2, silentStream: 2, filterBomb: 2, contains: 3, descriptions: 2, documents: 4, callbacks: 4 };

async function attack() {
  const tokens = await Promise.all(Array.from({ length: 8 }, (_, n) => signIn(`user${n + 1}@load-2.example`)));
  const asOwner = async (query, variables) => JSON.parse((await request(gql(query, variables), { token: tokens[0] })).body).data;
  // A hundred items with the longest texts that there may be.
  const text = 'x'.repeat(50_000);
  const create = 'mutation($i: ItemCreateInput!) { itemCreate(input: $i) { item { id } userErrors { code } } }';
  for (let n = 0; n < 10; n++) {
    const item = { title: `bench text ${n}`, description: text, subtasks: Array.from({ length: 9 }, (_, m) => ({ title: `bench text ${n}.${m}`, description: text })) };
    await asOwner(create, { i: item });
  }
  const found = await asOwner('{ items(first: 1) { nodes { id } } organization { tags(first: 20) { nodes { id } } } }');
  const hook = await asOwner('mutation { inboundHookCreate(input: {name: "Bench", provider: GITHUB}) { inboundHook { url } userErrors { code } } }');
  const address = hook?.inboundHookCreate?.inboundHook?.url;
  const prepared = {
    tokens, ids: found.items.nodes.map(node => node.id), tags: found.organization.tags.nodes.map(node => node.id),
    hook: address && new URL(address).pathname,
    bombBody: gql('query($f: ItemFilter!) { items(filter: $f) { totalCount } }', bomb),
  };
  const only = process.env.ONLY?.split(' ');
  const names = Object.keys(ATTACKS).filter(name => !only || only.includes(name));
  process.send({ ready: names });
  await new Promise(begin => process.once('message', begin));
  const until = performance.now() + seconds * 1000;
  const runs = names.flatMap(name => Array.from({ length: TIMES[name] ?? 1 }, async () => {
    while (performance.now() < until) {
      try {
        await ATTACKS[name](prepared);
      } catch (error) {
        count(name, String(error.message).slice(0, 60));
        await sleep(200);
      }
    }
  }));
  await Promise.race([Promise.all(runs), sleep(seconds * 1000 + 5_000)]);
  process.send({ outcomes }, () => process.exit(0));
}

/** Memory of the server in MiB, at most, while `work` runs. */
async function watched(work) {
  const rollup = () => { try { return +/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`))[1] / 1024; } catch { return 0; } };
  let pss = rollup(), watching = true;
  const watch = (async () => { while (watching) { pss = Math.max(pss, rollup()); await sleep(200); } })();
  const result = await work;
  watching = false;
  await watch;
  return { result, peak: Math.round(pss) };
}

async function main() {
  const tokens = await Promise.all(Array.from({ length: 20 }, (_, n) => signIn(`user${n + 1}@load-1.example`)));
  const next = child => new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', code => reject(new Error(`the attackers ended with ${code}`)));
  });
  // The attackers would be on other machines: they leave the processors to the server.
  const child = fork(process.argv[1], [process.env.ATTACKED ?? url, pid, board], { env: { ...process.env, ROLE: 'attack' } });
  os.setPriority(child.pid, 5);
  const { ready } = await next(child);
  await read(tokens.slice(0, 3)); // warm
  const alone = await watched(read(tokens));
  child.send('begin');
  const ended = next(child);
  const under = await watched(read(tokens));
  const { outcomes: answered } = await ended;
  const status = fs.existsSync(`/proc/${pid}/status`) ? fs.readFileSync(`/proc/${pid}/status`, 'utf8') : '';
  const rss = Math.round(+(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024);
  const alive = (await request(gql('{ __typename }'))).status === 200;
  console.log(JSON.stringify({ attacks: ready, alone: alone.result, under: under.result, pssAlone: alone.peak, pssUnder: under.peak, rssPeak: rss, alive, answered }, null, 1));
  process.exit(0);
}

await (process.env.ROLE === 'attack' ? attack() : main());
