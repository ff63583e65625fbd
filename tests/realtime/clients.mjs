// Clients that others wrote — ws, sockjs-client with each of its transports, python3-websockets —
// chat with one another through two instances. Prints one line of JSON for each check:
// {"name":…,"ok":true} or {"name":…,"ok":false,"error":…}. clients_spec.lua reads them.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { seen as described, validate, validateReceived } from "./schemas.mjs";
import { start, token } from "./service.mjs";

const require = createRequire(import.meta.url);
const WebSocket = require("ws");
const SockJS = require("sockjs-client");
const LIMIT = 8000;

const service = await start();
const undescribed = []; // what came and is not as docs/realtime-protocol.md says
const [one, two] = service.ports;

function within(promise, what) {
  return Promise.race([
    promise,
    new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${what} in time`)), LIMIT).unref()),
  ]);
}

/** What any client looks like here: send(object), next(test) → the first message that passes. */
function client(transmit, close) {
  const seen = [];
  const waiting = [];
  return {
    send: (object) => transmit(JSON.stringify(object)),
    close,
    take(text) {
      const message = JSON.parse(text);
      try {
        validateReceived(message);
      } catch (error) {
        undescribed.push(`${error.message} in ${text}`);
      }
      const at = waiting.findIndex((entry) => entry.test(message));
      if (at >= 0) waiting.splice(at, 1)[0].resolve(message);
      else seen.push(message);
    },
    next(test, what) {
      const at = seen.findIndex(test);
      if (at >= 0) return Promise.resolve(seen.splice(at, 1)[0]);
      return within(new Promise((resolve) => waiting.push({ test, resolve })), what);
    },
  };
}

async function byWs(port) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/realtime/websocket`);
  const mine = client((text) => socket.send(text), () => socket.close());
  socket.on("message", (data) => mine.take(data.toString()));
  await within(new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject)), "open");
  return mine;
}

async function bySockjs(port, transport) {
  const socket = new SockJS(`http://127.0.0.1:${port}/realtime/sockjs`, null, { transports: transport, timeout: LIMIT });
  const mine = client((text) => socket.send(text), () => socket.close());
  socket.onmessage = (event) => mine.take(event.data);
  await within(new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = (event) => reject(new Error(`closed ${event.code} ${event.reason}`));
  }), "open");
  if (socket.transport !== transport) throw new Error(`got ${socket.transport}`);
  return mine;
}

async function byPython(port) {
  const script = fileURLToPath(new URL("client.py", import.meta.url));
  const child = spawn("/usr/bin/python3", [script, `ws://127.0.0.1:${port}/realtime/websocket`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const mine = client((text) => child.stdin.write(`${text}\n`), () => child.stdin.end());
  let rest = "";
  child.stdout.on("data", (data) => {
    const lines = (rest + data).split("\n");
    rest = lines.pop();
    for (const line of lines) mine.take(line);
  });
  return mine;
}

const kinds = {
  "ws": (port) => byWs(port),
  "python3-websockets": (port) => byPython(port),
  "sockjs websocket": (port) => bySockjs(port, "websocket"),
  "sockjs xhr-streaming": (port) => bySockjs(port, "xhr-streaming"),
  "sockjs xhr-polling": (port) => bySockjs(port, "xhr-polling"),
};

let account = 100;
async function enter(kind, port, channel) {
  const mine = await kinds[kind](port);
  const id = ++account;
  mine.send({ i: 1, connect: { token: token(service.key, id, `user${id}`), subs: { [channel]: {} } } });
  const reply = await mine.next((m) => m.i === 1, "reply to connect");
  if (reply.connect?.account !== id) throw new Error(JSON.stringify(reply));
  return mine;
}

async function check(name, run) {
  try {
    await run();
    console.log(JSON.stringify({ name, ok: true }));
  } catch (error) {
    console.log(JSON.stringify({ name, ok: false, error: String(error?.stack ?? error) }));
  }
}

for (const kind of Object.keys(kinds)) {
  await check(`${kind} and ws chat through two instances`, async () => {
    const channel = `chat:${kind.replace(/[^a-z0-9]/g, "-")}-${process.pid}`;
    const here = await enter(kind, one, channel);
    const there = await enter("ws", two, channel);
    const text = "Grüße \u{1F600} \"quoted\" \\ </script>";
    here.send({ i: 2, pub: { c: channel, d: { text } } });
    const heard = await there.next((m) => m.pub?.d.text === text, "message from here");
    if (heard.pub.o !== 1) throw new Error(JSON.stringify(heard));
    const reply = await here.next((m) => m.i === 2, "reply");
    if (reply.pub?.o !== 1) throw new Error(JSON.stringify(reply));
    there.send({ i: 2, pub: { c: channel, d: { text: "and back" } } });
    await here.next((m) => m.pub?.d.text === "and back" && m.pub.o === 2, "message from there");
    // The rules of Lua are asked: a link is dropped, with the reason.
    here.send({ i: 3, pub: { c: channel, d: { text: "look at http://spam.example" } } });
    const refused = await here.next((m) => m.i === 3, "refusal");
    if (refused.error?.code !== "dropped") throw new Error(JSON.stringify(refused));
    here.close();
    there.close();
  });
}

await check("ws gets permessage-deflate and large messages whole", async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${one}/echo/websocket`);
  await within(new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject)), "open");
  if (!socket.extensions.includes("permessage-deflate")) throw new Error("no deflate");
  const text = "0123456789abcdef".repeat(100000);
  const answer = within(new Promise((resolve) => socket.once("message", resolve)), "echo");
  socket.send(text);
  if ((await answer).toString() !== text) throw new Error("another text came back");
  socket.close();
});

await check("commands and pushes of every kind", async () => {
  const channel = `chat:kinds-${process.pid}`;
  const status = `status:kinds-${process.pid}`;
  const mine = await enter("ws", one, channel);
  const from = { id: 7, name: "ava", role: "viewer" };
  const spread = (name, object) => service.publish(name, object);
  mine.send({ i: 2, sub: { c: status } });
  await mine.next((m) => m.i === 2 && m.sub?.[status], "reply to sub");
  mine.send({ i: 3, ping: {} });
  await mine.next((m) => m.i === 3 && m.pong, "pong");
  mine.send({ i: 4, refresh: { token: token(service.key, account, "again") } });
  await mine.next((m) => m.i === 4 && m.refresh, "reply to refresh");
  const other = await enter("ws", two, channel);
  await mine.next((m) => m.pres?.n === 2, "presence");
  other.close();
  await spread(channel, { type: "tip", from, amount: 5000000, text: "", at: Date.now() });
  await mine.next((m) => m.pub?.d.type === "tip", "tip");
  await spread(channel, { type: "remove", offset: 1 });
  await mine.next((m) => m.pub?.d.type === "remove", "removal");
  await spread(status, { type: "status", slug: "kinds", state: "live", at: Date.now() });
  await mine.next((m) => m.state?.d.type === "status", "status");
  mine.send({ i: 5, unsub: { c: channel } });
  await mine.next((m) => m.i === 5 && m.unsub, "reply to unsub");
  await service.redis("PUBLISH", "ctl:realtime", JSON.stringify({ do: "close", channel: status, reason: "over" }));
  await mine.next((m) => m.unsub?.code === 410, "end of the subscription");
  mine.close();
});

await check("a stopped service sends everyone away to come back", async () => {
  const mine = await enter("ws", one, "lobby");
  service.child.kill("SIGTERM");
  const goodbye = await mine.next((m) => m.disc, "goodbye");
  if (goodbye.disc.code !== 3000 || goodbye.disc.reconnect !== true) throw new Error(JSON.stringify(goodbye));
});

await check("all that was received is as the protocol's schemas say", async () => {
  if (undescribed.length > 0) throw new Error(undescribed.slice(0, 5).join("\n"));
  for (const kind of ["answer connect", "answer pub", "answer error", "answer sub", "answer unsub", "answer pong",
    "answer refresh", "push pub", "push state", "push pres", "push unsub", "push disc", "message.chat",
    "message.remove", "message.tip", "message.status"])
    if (!described[kind]) throw new Error(`no ${kind} was received`);
  for (const wrong of [{}, { pub: {} }, { pub: { c: "x", d: 1, z: 1 } }, { disc: { code: 1 } }]) {
    let passed = true;
    try {
      validate("push", wrong);
    } catch {
      passed = false;
    }
    if (passed) throw new Error(`the schemas let ${JSON.stringify(wrong)} pass`);
  }
});

await service.stop();
process.exit(0);
