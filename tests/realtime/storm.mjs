// The storm: clients that leave and come back at random, to either of two instances, while numbered
// messages flow and one instance is killed twice. Each must have every message once, in order.
//
//   FOOTLIGHT_STORM="CLIENTS MESSAGES RATE" makes it larger than usual.
//
// Prints a line of JSON for the check, as clients.mjs does. Messages are published as runtime.realtime
// does it, but with a history of 1,000: what must be recovered is what flows while an instance starts.
import fs from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { start, token } from "./service.mjs";

const require = createRequire(import.meta.url);
const WebSocket = require("ws");
const sizes = process.env.FOOTLIGHT_STORM?.split(" ") ?? [80, 2000, 200];
const [CLIENTS, MESSAGES, RATE] = sizes.map(Number);
const STAY_MS = 4000; // a client leaves after a random part of twice that
const SETTLE_MS = 30000; // from the last message until everybody has it
const PUBLISH = `
  local epoch = redis.call('HGET', KEYS[1], 'e')
  if not epoch then epoch = 'storm' redis.call('HSET', KEYS[1], 'e', epoch, 'o', 0) end
  for _ = 1, tonumber(ARGV[2]) do
    local offset = redis.call('HINCRBY', KEYS[1], 'o', 1)
    local text = '{"n":' .. offset .. '}'
    redis.call('XADD', KEYS[2], 'MAXLEN', 1000, offset .. '-0', 'd', text)
    redis.call('PUBLISH', 'rt:c:' .. ARGV[1], 'p ' .. offset .. ' ' .. epoch .. ' ' .. text)
  end
  redis.call('EXPIRE', KEYS[1], 600) redis.call('EXPIRE', KEYS[2], 600)
  return redis.call('HGET', KEYS[1], 'o')`;

const service = await start();
const channel = `chat:storm-${process.pid}`;
const problems = [];
const figures = { connections: 0, recovered: 0, deaths: 0 };
let over = false;

function problem(client, text) {
  if (problems.length < 10) problems.push(`client ${client.id} at ${client.last}: ${text}`);
}

function take(client, offset, data) {
  if (data.n !== offset) problem(client, `message ${data.n} came as ${offset}`);
  if (offset === client.last + 1) client.last = offset;
  else problem(client, offset <= client.last ? `${offset} came again` : `${offset} came, others did not`);
}

function answer(client, reply) {
  const result = reply.connect?.subs[channel] ?? reply.sub?.[channel];
  if (!result) return problem(client, JSON.stringify(reply));
  if (result.error === "unavailable") return client.socket.terminate();
  if (result.error) return problem(client, JSON.stringify(result));
  client.epoch = result.e || client.epoch;
  if (result.recovered === false) problem(client, "what it missed could not be brought");
  for (const past of result.pubs ?? []) {
    figures.recovered++;
    take(client, past.o, past.d);
  }
}

function connect(client) {
  if (over) return;
  const port = service.ports[Math.floor(Math.random() * 2)];
  const socket = new WebSocket(`ws://127.0.0.1:${port}/realtime/websocket`, { perMessageDeflate: false });
  client.socket = socket;
  let timer;
  socket.on("open", () => {
    figures.connections++;
    const position = client.epoch ? { o: client.last, e: client.epoch } : { o: 0, e: "storm" };
    socket.send(JSON.stringify({ i: 1, connect: { token: client.token, subs: { [channel]: position } } }));
    timer = setTimeout(() => (Math.random() < 0.5 ? socket.close() : socket.terminate()), Math.random() * 2 * STAY_MS);
  });
  socket.on("message", (text) => {
    if (socket !== client.socket || socket.readyState !== WebSocket.OPEN) return;
    const message = JSON.parse(text);
    if (message.i) answer(client, message);
    else if (message.pub) take(client, message.pub.o, message.pub.d);
    else if (message.gap) socket.send(JSON.stringify({ i: 2, sub: { c: channel, o: client.last, e: client.epoch } }));
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    clearTimeout(timer);
    setTimeout(() => connect(client), Math.random() * 400);
  });
}

/** The process of the second instance, by its parent and its name. */
function instance() {
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
      const words = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      if (status.includes(`\nPPid:\t${service.child.pid}\n`) && words.includes("realtime") && words.includes("2"))
        return Number(pid);
    } catch {
      // it has just ended
    }
  }
  throw new Error("the second instance is not there");
}

const clients = Array.from({ length: CLIENTS }, (_, i) => ({
  id: i, last: 0, epoch: "", token: token(service.key, 2000000 + i, `storm${i}`),
}));
await service.redis("EVAL", PUBLISH, "2", `rt:m:${channel}`, `rt:h:${channel}`, channel, "0");
clients.forEach(connect);

let sent = 0;
const kills = [MESSAGES / 3, (2 * MESSAGES) / 3];
const began = Date.now();
while (sent < MESSAGES) {
  const due = Math.min(MESSAGES, Math.floor(((Date.now() - began) * RATE) / 1000)) - sent;
  if (due > 0) {
    await service.redis("EVAL", PUBLISH, "2", `rt:m:${channel}`, `rt:h:${channel}`, channel, String(Math.min(due, 50)));
    sent += Math.min(due, 50);
  }
  if (kills.length > 0 && sent >= kills[0]) {
    kills.shift();
    process.kill(instance(), "SIGKILL");
    figures.deaths++;
  }
  await pause(4);
}
const limit = Date.now() + SETTLE_MS;
while (clients.some((client) => client.last < MESSAGES) && Date.now() < limit) await pause(20);
over = true;
for (const client of clients) if (client.last !== MESSAGES) problem(client, `has not all ${MESSAGES}`);
if (figures.deaths !== 2) problems.push(`an instance was killed ${figures.deaths} times`);
if (figures.recovered === 0) problems.push("nothing had to be recovered");
console.log(JSON.stringify({
  name: "everybody has every message once, in order, through reconnections and two deaths",
  ok: problems.length === 0, error: problems.join("\n"), ...figures,
}));
await service.redis("DEL", `rt:m:${channel}`, `rt:h:${channel}`);
for (const client of clients) client.socket?.terminate();
await service.stop();
process.exit(0);
