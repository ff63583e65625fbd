// public/js/realtime.js as a page uses it, against two real instances and a proxy that can cut,
// refuse and let through. Prints one line of JSON for each check, as clients.mjs does.
import { createRequire } from "node:module";
import net from "node:net";
import { start, token } from "./service.mjs";

const require = createRequire(import.meta.url);
const LIMIT = 15000;
const service = await start();

// What the module finds in a browser.
globalThis.WebSocket = class extends require("ws") {
  constructor(url) {
    super(url);
    this.on("error", () => {}); // a browser tells of it, and does not stop for it
  }
};
globalThis.SockJS = require("sockjs-client");
globalThis.document = { querySelector: () => null };
globalThis.addEventListener = () => {};

/** A TCP proxy to the first instance: up or not, with or without WebSockets. */
const proxy = { up: true, websockets: true, sockets: new Set(), attempts: 0 };
const server = net.createServer((client) => {
  proxy.attempts++;
  if (!proxy.up) return client.destroy();
  const upstream = net.connect(service.ports[0], "127.0.0.1");
  for (const socket of [client, upstream]) {
    proxy.sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      proxy.sockets.delete(socket);
      client.destroy();
      upstream.destroy();
    });
  }
  client.on("data", (data) => {
    if (!proxy.websockets && /upgrade: websocket/i.test(data.toString("latin1"))) client.destroy();
    else upstream.write(data);
  });
  upstream.on("data", (data) => client.write(data));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${server.address().port}`;
globalThis.location = { href: `${origin}/` };
const cut = () => proxy.sockets.forEach((socket) => socket.destroy());

const { connect } = await import("../../public/js/realtime.js");

async function until(test, what) {
  const end = Date.now() + LIMIT;
  while (!test()) {
    if (Date.now() > end) throw new Error(`no ${what} in time`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

let account = 500;
function page() {
  const id = ++account;
  const states = [];
  const connection = connect({
    url: `${origin}/realtime`, token: async () => token(service.key, id, `page${id}`),
  });
  connection.onState((state) => states.push(state));
  return { id, states, connection, ready: () => until(() => states.at(-1) === "connected", "connection") };
}

/** Somebody else, by the other instance, untouched by the proxy. */
async function speaker(channel) {
  const { connection } = { connection: connect({
    url: `http://127.0.0.1:${service.ports[1]}/realtime`,
    token: async () => token(service.key, 999, "speaker", "moderator"),
  }) };
  await new Promise((resolve) => connection.onState((state) => state === "connected" && resolve()));
  return { say: (text) => connection.publish(channel, { text }), close: connection.close };
}

async function check(name, run) {
  try {
    await run();
    console.log(JSON.stringify({ name, ok: true }));
  } catch (error) {
    console.log(JSON.stringify({ name, ok: false, error: String(error?.stack ?? error) }));
  }
  proxy.up = proxy.websockets = true;
}

function same(got, wanted) {
  if (JSON.stringify(got) !== JSON.stringify(wanted))
    throw new Error(`got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
}

await check("a page that was cut off gets what it missed, once and in order", async () => {
  const channel = `chat:cut-${process.pid}`;
  const here = page();
  const heard = [];
  here.connection.subscribe(channel, (message, { offset }) => heard.push([offset, message.text]));
  await here.ready();
  const there = await speaker(channel);
  await there.say("one");
  await until(() => heard.length === 1, "first message");
  proxy.up = false;
  cut();
  await until(() => here.states.at(-1) === "lost" || here.states.at(-1) === "connecting", "loss");
  await there.say("two");
  await there.say("three");
  proxy.up = true;
  await here.ready();
  await there.say("four");
  await until(() => heard.length >= 4, "missed messages");
  same(heard, [[1, "one"], [2, "two"], [3, "three"], [4, "four"]]);
  here.connection.close();
  there.close();
});

await check("what is said while offline is sent on return", async () => {
  const channel = `chat:queue-${process.pid}`;
  const here = page();
  await here.ready();
  proxy.up = false;
  cut();
  await until(() => here.states.at(-1) !== "connected", "loss");
  const sent = [here.connection.publish(channel, { text: "first" }), here.connection.publish(channel, { text: "second" })];
  proxy.up = true;
  same((await Promise.all(sent)).map((reply) => reply.o), [1, 2]);
  here.connection.close();
});

await check("where WebSockets do not pass, SockJS does", async () => {
  proxy.websockets = false;
  const channel = `chat:fallback-${process.pid}`;
  const here = page();
  const heard = [];
  here.connection.subscribe(channel, (message) => heard.push(message.text));
  await here.ready();
  same((await here.connection.publish(channel, { text: "the long way round" })).o, 1);
  await until(() => heard.length === 1, "message");
  here.connection.close();
});

await check("refusals reach the page with their code", async () => {
  const here = page();
  await here.ready();
  let denied;
  here.connection.subscribe("user:1", () => {}, { onDenied: (event) => (denied = event.code) });
  await until(() => denied, "denial");
  same(denied, "denied");
  const error = await here.connection.publish("chat:x", { text: "see http://spam.example" }).catch((reason) => reason);
  same([error.code, error.message], ["dropped", "Links are not allowed here."]);
  here.connection.close();
});

await check("a gap that cannot be filled is told", async () => {
  const here = page();
  let gaps = 0;
  const told = new Promise((resolve) => {
    here.connection.subscribe(`chat:gap-${process.pid}`, () => {}, {
      offset: 7, epoch: "00000000", onGap: () => { gaps++; resolve(); },
    });
  });
  await told;
  same(gaps, 1);
  here.connection.close();
});

await check("a page keeps trying, with growing pauses", async () => {
  proxy.up = false;
  const before = proxy.attempts;
  const here = page();
  await until(() => proxy.attempts - before >= 3, "attempts");
  proxy.up = true;
  await here.ready();
  here.connection.close();
  same(here.states.at(-1), "closed");
});

server.close();
cut();
await service.stop();
process.exit(0);
