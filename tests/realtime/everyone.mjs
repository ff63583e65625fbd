// One room, two instances, and everybody: sockjs-client in Chromium with each of its transports, each
// behind a balancer that gives every request to the next instance; ws, python3-websockets, lua-http.
// Each says something; all must hear all of it, in the same order. Prints a line of JSON for each check.
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { start, token } from "./service.mjs";

const require = createRequire(import.meta.url);
const WebSocket = require("ws");
const { chromium } = require("playwright-core");
const LIMIT = 60000;
const TRANSPORTS = [
  "websocket", "xhr-streaming", "eventsource", "iframe-eventsource", "htmlfile", "iframe-htmlfile",
  "xhr-polling", "iframe-xhr-polling", "jsonp-polling",
];
const script = fs.readFileSync(new URL("../../node_modules/sockjs-client/dist/sockjs.min.js", import.meta.url));
const service = await start();
const channel = `chat:everyone-${process.pid}`;
const members = []; // { name, send(text), heard: [offset, …], texts, entered }

// ---- the balancer ------------------------------------------------------------------------------

let turn = 0;
const sockets = new Set();
const balancer = http.createServer((request, response) => {
  if (request.url === "/") {
    response.setHeader("content-type", "text/html");
    response.end('<!doctype html><meta charset="utf-8"><script src="/assets/sockjs.min.js"></script>');
  } else if (request.url.startsWith("/assets/")) {
    response.setHeader("content-type", "text/javascript");
    response.end(script);
  } else if (!request.url.startsWith("/realtime/")) {
    response.writeHead(204).end();
  } else {
    const port = service.ports[turn++ % 2];
    const { method, url: path, headers } = request;
    const upstream = http.request({ host: "127.0.0.1", port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      response.flushHeaders();
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  }
});
balancer.on("upgrade", (request, client, head) => {
  const upstream = net.connect(service.ports[turn++ % 2], "127.0.0.1", () => {
    const lines = [`GET ${request.url} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
    upstream.write(head);
    client.pipe(upstream).pipe(client);
  });
  client.on("error", () => upstream.destroy());
  upstream.on("error", () => client.destroy());
});
balancer.on("connection", (socket) => sockets.add(socket));
await new Promise((resolve) => balancer.listen(0, "127.0.0.1", resolve));

// ---- members -----------------------------------------------------------------------------------

function member(name, account) {
  const mine = { name, heard: [], texts: [], account };
  mine.hello = JSON.stringify({ i: 1, connect: { token: token(service.key, account, name), subs: { [channel]: {} } } });
  mine.take = (text) => {
    const message = JSON.parse(text);
    if (message.i === 1) mine.entered = message;
    if (message.i === 2) mine.said = message;
    if (message.pub?.d?.type !== "chat") return;
    mine.heard.push(message.pub.o);
    mine.texts.push(message.pub.d.text);
  };
  members.push(mine);
  return mine;
}

function byWs(port) {
  const mine = member("ws", 3000001);
  const socket = new WebSocket(`ws://127.0.0.1:${port}/realtime/websocket`);
  socket.on("open", () => socket.send(mine.hello));
  socket.on("message", (data) => mine.take(data.toString()));
  mine.send = (text) => socket.send(text);
  mine.close = () => socket.terminate();
}

function byProgram(name, account, command, file, port) {
  const mine = member(name, account);
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(command, [path, `ws://127.0.0.1:${port}/realtime/websocket`], { stdio: ["pipe", "pipe", "inherit"] });
  child.on("error", (error) => (mine.error = error.message));
  child.stdin.on("error", () => {});
  mine.send = (text) => child.stdin.write(`${text}\n`);
  mine.close = () => child.kill();
  mine.send(mine.hello);
  let rest = "";
  child.stdout.on("data", (data) => {
    const lines = (rest + data).split("\n");
    rest = lines.pop();
    lines.forEach(mine.take);
  });
}

async function byBrowser(browser, transport, account) {
  const mine = member(`chromium ${transport}`, account);
  const page = await browser.newPage();
  await page.exposeFunction("take", mine.take);
  // A host of its own for each: browsers open but six connections to one.
  await page.goto(`http://${transport}.localhost:${balancer.address().port}/`);
  await page.evaluate(([name, hello]) => {
    globalThis.socket = new globalThis.SockJS(`${location.origin}/realtime/sockjs`, null, { transports: name, timeout: 20000 });
    globalThis.socket.onopen = () => globalThis.socket.send(hello);
    globalThis.socket.onmessage = (event) => globalThis.take(event.data);
  }, [transport, mine.hello]);
  mine.transport = () => page.evaluate(() => globalThis.socket.transport);
  mine.send = (text) => page.evaluate((line) => globalThis.socket.send(line), text);
  mine.close = () => {};
}

async function until(test) {
  const end = Date.now() + LIMIT;
  while (!members.every(test)) {
    if (Date.now() > end) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
byWs(service.ports[0]);
byProgram("python3-websockets", 3000002, "/usr/bin/python3", "client.py", service.ports[1]);
byProgram("lua-http", 3000003, "lua5.1", "client.lua", service.ports[0]);
await Promise.all(TRANSPORTS.map((transport, i) => byBrowser(browser, transport, 3000010 + i)));
await until((mine) => mine.entered);
const text = (mine) => `${mine.name} says: Grüße \u{1F600} "quoted" \\ </script>`;
for (const mine of members) if (mine.entered) await mine.send(JSON.stringify({ i: 2, pub: { c: channel, d: { text: text(mine) } } }));
await until((mine) => mine.heard.length >= members.length);

const order = members.map((_, i) => i + 1).join();
for (const mine of members) {
  const problems = [];
  if (mine.error) problems.push(mine.error);
  if (!mine.entered?.connect) problems.push(`did not enter: ${JSON.stringify(mine.entered)}`);
  if (!mine.said?.pub?.o) problems.push(`could not speak: ${JSON.stringify(mine.said)}`);
  if (mine.heard.join() !== order) problems.push(`heard ${mine.heard.join()}`);
  for (const other of members) if (!mine.texts.includes(text(other))) problems.push(`did not hear ${other.name}`);
  const used = await mine.transport?.();
  if (mine.transport && `chromium ${used}` !== mine.name) problems.push(`speaks by ${used}`);
  console.log(JSON.stringify({ name: `${mine.name} hears everyone`, ok: problems.length === 0, error: problems.join("; ") }));
}
for (const mine of members) mine.close();
await browser.close();
sockets.forEach((socket) => socket.destroy());
balancer.close();
await service.stop();
process.exit(0);
