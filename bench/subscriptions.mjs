// Opens many graphql-transport-ws sockets with one subscription each, and measures. Plain sockets and no package: what is
// measured is the server, and a client that costs little beside it.
//
//   node bench/subscriptions.mjs URL TOKEN SERVER_PID WHAT
//
// WHAT: `idle N`      memory a socket; then ROUNDS events to all of them, each timed from before it was sent
//       `hold N S`    N sockets held for S seconds: how many were dropped, and memory a socket
//       `stalled N E` E events, one after the other, to N sockets; then the same beside one more that never reads
// Prints JSON. ROUNDS: 10.
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';

const [url, token, pid, what, ...rest] = process.argv.slice(2);
const [count, second] = rest.map(Number);
const rounds = Number(process.env.ROUNDS ?? 10);
const { hostname, port } = new URL(url);
const query = 'subscription { events { events { type subjectId subject { ... on Item { identifier title } } } cursor } }';
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const sleep = ms => new Promise(done => setTimeout(done, ms));
const pss = () => +/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`))[1];
const MARK = Buffer.from('ITEM_CREATED');

/** A masked text frame, as a client must send it; the mask is all zeros. */
function frame(text) {
  const body = Buffer.from(text);
  const head = body.length < 126 ? Buffer.from([0x81, 0x80 | body.length]) : Buffer.from([0x81, 0xfe, body.length >> 8, body.length & 255]);
  return Buffer.concat([head, Buffer.alloc(4), body]);
}

let closed = 0;
let ending = false;
let arrived = null;

/** One socket, subscribed; `onEvents(n)` hears how many events came. */
function open(onEvents) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(+port, hostname);
    let left = null; // of the frame under way: what has come
    let upgraded = false, begun = false;
    socket.setNoDelay(true);
    socket.on('error', reject);
    socket.on('close', () => { if (!ending) closed++; });
    socket.on('connect', () => socket.write(
      `GET /graphql HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n'));
    socket.on('data', chunk => {
      let data = left ? Buffer.concat([left, chunk]) : chunk;
      left = null;
      if (!upgraded) {
        const end = data.indexOf('\r\n\r\n');
        if (end < 0) { left = data; return; }
        if (!data.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) return reject(new Error(data.toString()));
        upgraded = true;
        socket.write(frame(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } })));
        data = data.subarray(end + 4);
      }
      while (data.length >= 2) {
        let size = data[1] & 127, at = 2;
        if (size === 126) { if (data.length < 4) break; size = data.readUInt16BE(2); at = 4; }
        else if (size === 127) { if (data.length < 10) break; size = Number(data.readBigUInt64BE(2)); at = 10; }
        if (data.length < at + size) break;
        const opcode = data[0] & 15, body = data.subarray(at, at + size);
        data = data.subarray(at + size);
        if (opcode === 9) socket.write(Buffer.from([0x8a, 0x80, 0, 0, 0, 0]));
        else if (opcode === 8) return reject(new Error(`closed ${body.readUInt16BE(0)} ${body.subarray(2)}`));
        else if (begun) onEvents(body.includes(MARK) ? 1 : 0);
        else if (body.includes('"connection_ack"')) socket.write(frame(JSON.stringify({ id: '1', type: 'subscribe', payload: { query } })));
        else if (body.includes('"next"')) { begun = true; resolve(socket); }
        else return reject(new Error(body.toString()));
      }
      if (data.length) left = Buffer.from(data);
    });
  });
}

/** So many sockets, a few at a time. */
async function openAll(count, onEvents) {
  const sockets = [];
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(50, count - sockets.length) }, () => open(onEvents));
    sockets.push(...await Promise.all(some));
  }
  return sockets;
}

function create(title) {
  const body = JSON.stringify({ query: 'mutation($title: String!) { itemCreate(input: {title: $title}) { cursor userErrors { code } } }', variables: { title } });
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}`, 'content-length': Buffer.byteLength(body) };
    const request = http.request(`${url}/graphql`, { method: 'POST', agent, headers }, answer => {
      let text = '';
      answer.on('data', part => { text += part; });
      answer.on('end', () => (text.includes('"userErrors":[]') ? resolve() : reject(new Error(text))));
    });
    request.on('error', reject);
    request.end(body);
  });
}

const at = (sorted, part) => +sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))].toFixed(2);
const median = values => at([...values].sort((a, b) => a - b), 0.5);

/** One event to all: milliseconds until each had it. */
async function publish(count, title) {
  const times = [];
  const began = performance.now();
  const all = new Promise((resolve, reject) => {
    const patience = setTimeout(() => reject(new Error(`${times.length} of ${count} in 30 s`)), 30_000);
    arrived = n => {
      if (!n) return;
      times.push(performance.now() - began);
      if (times.length === count) { clearTimeout(patience); resolve(); }
    };
  });
  await create(title);
  await all;
  arrived = null;
  return times.sort((a, b) => a - b);
}

const hear = n => arrived?.(n);
async function main() {
  const before = pss();
  if (what === 'idle') {
    await openAll(count, hear);
    await sleep(2000);
    const after = pss();
    await publish(count, 'warm');
    const each = [];
    for (let round = 0; round < rounds; round++) {
      await sleep(300);
      const times = await publish(count, `round ${round}`);
      each.push({ p50: at(times, 0.5), p99: at(times, 0.99), last: at(times, 1) });
    }
    const of = name => median(each.map(round => round[name]));
    return { sockets: count, closed, kibEach: +((after - before) / count).toFixed(2), pssMib: [before, after].map(kib => +(kib / 1024).toFixed(1)), p50: of('p50'), p99: of('p99'), last: of('last'), p99OfRounds: each.map(round => round.p99) };
  }
  if (what === 'hold') {
    await openAll(count, hear);
    const after = pss();
    await sleep(second * 1000);
    const times = await publish(count, 'to all');
    return { sockets: count, seconds: second, closed, kibEach: +((after - before) / count).toFixed(2), got: times.length, p99: at(times, 0.99) };
  }
  if (what === 'stalled') {
    await openAll(count, hear);
    const run = async name => {
      const began = performance.now(), p99 = [];
      for (let number = 0; number < second; number++) p99.push(at(await publish(count, `${name} ${number} ${'x'.repeat(200)}`), 0.99));
      return { eventsPerSecond: +(second / (performance.now() - began) * 1000).toFixed(1), p99: median(p99) };
    };
    await run('warm');
    const without = await run('without');
    const socket = await open(() => {});
    socket.pause();
    const beside = await run('beside');
    const again = await run('again');
    return { sockets: count, events: second, without, beside, again, closed };
  }
  throw new Error('idle, hold or stalled');
}
main().then(result => { ending = true; console.log(JSON.stringify(result)); process.exit(0); }, error => { console.error(error.message); process.exit(1); });
