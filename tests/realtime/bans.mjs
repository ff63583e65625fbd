// Who is banned, or signed out on one device, is off every instance and transport within a second,
// and cannot come back. Prints a line of JSON for each check; clients_spec.lua reads them.
import { createRequire } from "node:module";
import { start, token } from "./service.mjs";

const require = createRequire(import.meta.url);
const WebSocket = require("ws");
const SockJS = require("sockjs-client");
const TRANSPORTS = ["websocket", "xhr-streaming", "eventsource", "xhr-polling"];
const LIMIT = 1000;
const LIMIT_OPEN = 8000; // sockjs-client gives up after a few round trips otherwise

const service = await start();

function socketOf(port, transport) {
  if (transport === "raw") return new WebSocket(`ws://127.0.0.1:${port}/realtime/websocket`);
  return new SockJS(`http://127.0.0.1:${port}/realtime/sockjs`, null, { transports: transport, timeout: LIMIT_OPEN });
}

/** Connects with a token. `entered` resolves with the reply, `gone` with { disc, at } at the end. */
function enter(port, transport, ticket) {
  const socket = socketOf(port, transport);
  const mine = { transport, port, disc: null, close: () => socket.close() };
  mine.entered = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${transport} on ${port} did not connect`)), 8000).unref();
    socket.onopen = () => socket.send(JSON.stringify({ i: 1, connect: { token: ticket } }));
    mine.gone = new Promise((gone) => {
      socket.onmessage = (event) => {
        const message = JSON.parse(event.data);
        if (message.disc) mine.disc = message.disc;
        if (message.i === 1) resolve(message);
      };
      socket.onclose = () => {
        mine.at = Date.now();
        gone(mine);
        resolve({ closed: true });
      };
    });
  });
  return mine;
}

async function enterAll(ticket) {
  const all = [];
  for (const port of service.ports)
    for (const transport of ["raw", ...TRANSPORTS]) all.push(enter(port, transport, ticket));
  for (const mine of all) {
    const reply = await mine.entered;
    if (!reply.connect) throw new Error(`${mine.transport}: ${JSON.stringify(reply)}`);
  }
  return all;
}

async function expectGone(all, since) {
  const late = new Promise((resolve) => setTimeout(resolve, 5000).unref());
  for (const mine of all) {
    await Promise.race([mine.gone, late]);
    if (!mine.at) throw new Error(`${mine.transport} on ${mine.port} is still there`);
    if (mine.at - since > LIMIT) throw new Error(`${mine.transport} took ${mine.at - since} ms`);
    if (mine.disc?.code !== 3501 || mine.disc.reconnect) throw new Error(JSON.stringify(mine.disc));
  }
}

async function expectBarred(ticket) {
  for (const port of service.ports) {
    const again = enter(port, "raw", ticket);
    const reply = await again.entered;
    if (!reply.closed || again.disc?.code !== 3501) throw new Error(`came back: ${JSON.stringify(reply)}`);
  }
}

async function check(name, run) {
  try {
    await run();
    console.log(JSON.stringify({ name, ok: true }));
  } catch (error) {
    console.log(JSON.stringify({ name, ok: false, error: String(error?.stack ?? error) }));
  }
}

const order = (message) => service.redis("PUBLISH", "ctl:realtime", JSON.stringify(message));
const base = 1000000 + process.pid * 10;

await check("a banned account is off every instance and transport, and stays off", async () => {
  const ticket = token(service.key, base, "banned");
  await service.redis("HSET", `p:account:${base}`, "state", "active", "nbf", "0");
  const all = await enterAll(ticket);
  const since = Date.now();
  await service.redis("HSET", `p:account:${base}`, "state", "banned");
  await order({ do: "kick", account: base, reason: "banned" });
  await expectGone(all, since);
  await expectBarred(ticket);
  await service.redis("DEL", `p:account:${base}`);
});

await check("a device that is signed out is off, and the others stay", async () => {
  const account = base + 1;
  const lost = token(service.key, account, "two", "viewer", { ses: `${account}1` });
  const kept = token(service.key, account, "two", "viewer", { ses: `${account}2` });
  const all = await enterAll(lost);
  const other = enter(service.ports[1], "raw", kept);
  await other.entered;
  const since = Date.now();
  await service.redis("SET", `rt:revoked:${account}1`, "1", "EX", "60");
  await order({ do: "kick", account, session: `${account}1`, reason: "signed out" });
  await expectGone(all, since);
  await expectBarred(lost);
  if (other.at) throw new Error("the other device was closed too");
  other.close();
});

await check("a new password ends the sockets of the old one's tokens only", async () => {
  const account = base + 2;
  const now = Math.floor(Date.now() / 1000);
  const old = enter(service.ports[0], "raw", token(service.key, account, "x", "viewer", { iat: now - 5 }));
  const fresh = enter(service.ports[0], "raw", token(service.key, account, "x", "viewer", { iat: now }));
  await Promise.all([old.entered, fresh.entered]);
  const since = Date.now();
  await order({ do: "kick", account, before: now, reason: "signed out" });
  await expectGone([old], since);
  if (fresh.at) throw new Error("the new one was closed too");
  fresh.close();
});

await service.stop();
process.exit(0);
