// Redis is killed under load and comes back, once with what it held and once without: sockets stay,
// presence and subscriptions heal by themselves, and every client has every message once, in order, or
// is told that it cannot have them. Prints a line of JSON for each check, as clients.mjs does.
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { start, token } from "./service.mjs";

const require = createRequire(import.meta.url);
const WebSocket = require("ws");
const CLIENTS = 100;
const LIMIT = 20000;
const PUBLISH = `
  if redis.call('HSETNX', KEYS[1], 'e', ARGV[2]) == 1 then redis.call('HSET', KEYS[1], 'o', 0) end
  local offset, epoch = redis.call('HINCRBY', KEYS[1], 'o', 1), redis.call('HGET', KEYS[1], 'e')
  local text = '{"n":' .. offset .. '}'
  redis.call('XADD', KEYS[2], 'MAXLEN', 5000, offset .. '-0', 'd', text)
  redis.call('PUBLISH', 'rt:c:' .. ARGV[1], 'p ' .. offset .. ' ' .. epoch .. ' ' .. text)
  return offset`;

const service = await start({ redisOfItsOwn: true });
const channel = `chat:restart-${process.pid}`;
const problems = [];
let closed = 0, published = 0, failed = 0, epoch = "first", over = false;

function problem(text) {
  if (problems.length < 10) problems.push(text);
}

function take(client, message) {
  if (client.asked) return; // the reply says where it stands
  if (message.e && message.e !== client.epoch) {
    if (client.last > 0 && !client.told) problem(`client ${client.id}: an epoch began, and it was not told`);
    client.epoch = message.e;
    client.last = 0;
  }
  if (message.o === client.last + 1) client.last = message.o;
  else problem(`client ${client.id} at ${client.last} of ${client.epoch} got ${message.o}`);
}

function ask(client) {
  client.asked = true;
  client.socket.send(JSON.stringify({ i: 2, sub: { c: channel, o: client.last, e: client.epoch } }));
}

function answer(client, result) {
  client.asked = false;
  if (result.error === "unavailable") return void setTimeout(ask, 200, client);
  if (result.error) return problem(JSON.stringify(result));
  if (result.recovered === false) {
    client.told = true;
    client.last = result.o;
  }
  client.epoch = result.e || client.epoch;
  if (result.n !== undefined) client.members = result.n;
  for (const past of result.pubs ?? []) take(client, { o: past.o });
}

function connect(id) {
  const client = { id, last: 0, epoch: "", told: false, members: 0 };
  client.socket = new WebSocket(`ws://127.0.0.1:${service.ports[id % 2]}/realtime/websocket`);
  client.socket.on("open", () => client.socket.send(JSON.stringify({
    i: 1, connect: { token: token(service.key, 4000000 + id, `r${id}`), subs: { [channel]: {} } },
  })));
  client.socket.on("close", () => over || closed++);
  client.socket.on("error", (error) => problem(error.message));
  client.socket.on("message", (text) => {
    const message = JSON.parse(text);
    const result = message.connect?.subs[channel] ?? message.sub?.[channel];
    if (result) {
      client.entered = true;
      answer(client, result);
    } else if (message.pub) take(client, message.pub);
    else if (message.pres) client.members = message.pres.n;
    else if (message.gap) {
      client.told = true;
      ask(client);
    }
  });
  return client;
}

async function until(test, what) {
  const end = Date.now() + LIMIT;
  while (!test()) {
    if (Date.now() > end) return problem(`not in time: ${what}`);
    await pause(20);
  }
}

async function publish() {
  try {
    published = Number((await service.redis("EVAL", PUBLISH, "2", `rt:m:${channel}`, `rt:h:${channel}`, channel, epoch)).slice(1));
  } catch {
    failed++;
  }
}

/** A hundred a second until the promise is fulfilled, and for a while after. */
async function load(meanwhile) {
  let running = true;
  const done = (async () => {
    while (running) {
      await publish();
      await pause(8);
    }
  })();
  await pause(500);
  await meanwhile();
  await pause(1500);
  running = false;
  await done;
}

function verdict(name) {
  const behind = clients.filter((client) => client.last !== published);
  if (behind.length > 0) problem(`${behind.length} clients are not at ${published}, one at ${behind[0].last}`);
  if (failed === 0) problem("Redis was never away");
  if (closed > 0) problem(`${closed} sockets were closed`);
  console.log(JSON.stringify({ name, ok: problems.length === 0, error: problems.splice(0).join("\n"), published, failed }));
  failed = 0;
}

const clients = Array.from({ length: CLIENTS }, (_, id) => connect(id));
await until(() => clients.every((client) => client.entered), "all clients in");
await until(() => clients.every((client) => client.members === CLIENTS), "all are counted");

await load(() => service.restartRedis({ keep: true }));
await until(() => clients.every((client) => client.last === published), "everybody has everything");
if (clients.some((client) => client.epoch !== "first")) problem("another epoch began");
verdict("Redis comes back with what it held: every message once, in order, and every socket stays");

for (const client of clients) Object.assign(client, { told: false, members: 0 });
epoch = "second";
await load(() => service.restartRedis({ keep: false }));
await until(() => clients.every((client) => client.last === published && client.epoch === epoch), "everybody is in the new epoch");
const untold = clients.filter((client) => !client.told).length;
if (untold > 0) problem(`${untold} clients were not told that messages are lost`);
await until(() => clients.every((client) => client.members === CLIENTS), "all are counted again");
verdict("Redis comes back empty: everyone is told, counted again, and gets what follows");

over = true;
for (const client of clients) client.socket.terminate();
await service.stop();
process.exit(0);
