// Starts two instances of the realtime service of the environment that the tests run in, on ports
// of its own, and ends them. Used by clients.mjs.
import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** A site of our own, for tools/fault: no environment of tests is there. */
function privateSite(binary) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "footlight-site-"));
  const secrets = path.join(folder, "secrets");
  fs.mkdirSync(secrets);
  for (const name of ["ticket", "token", "cookie", "hooks", "seal", "segment", "mariadb"])
    fs.writeFileSync(path.join(secrets, name), randomBytes(32).toString("hex"));
  const site = path.join(folder, "site.lua");
  fs.writeFileSync(site, `return { environment = "production", var = "${folder}",
  listen = { realtime = "127.0.0.1:1" },
  redis = { main = { address = "unix:" }, money = { address = "unix:${folder}/none.sock" } },
  secrets = { directory = "${secrets}" }, mariadb = { password = secret "mariadb" },
}
`);
  return { binary, root: fileURLToPath(new URL("../..", import.meta.url)), site, folder };
}

/** The command line of the `footlight test` that started us: the binary, --root and --site. */
function parent() {
  if (process.env.FOOTLIGHT_BINARY) return privateSite(process.env.FOOTLIGHT_BINARY);
  const words = fs.readFileSync(`/proc/${process.ppid}/cmdline`, "utf8").split("\0");
  const option = (name) => words[words.indexOf(name) + 1];
  return {
    binary: fs.readlinkSync(`/proc/${process.ppid}/exe`),
    root: words.includes("--root") ? option("--root") : (process.env.FOOTLIGHT_ROOT ?? "."),
    site: words.includes("--site") ? option("--site") : process.env.FOOTLIGHT_SITE,
  };
}

/** Two free ports ten apart, as instances of one service are. */
async function freePorts() {
  const taken = (port) =>
    new Promise((resolve) => {
      const server = net.createServer();
      server.once("error", () => resolve(true));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(false)));
    });
  for (let i = 0; i < 50; i++) {
    const port = 20000 + Math.floor(Math.random() * 10000);
    if (!(await taken(port)) && !(await taken(port + 10))) return [port, port + 10];
  }
  throw new Error("no free ports");
}

/** redis(...words): one command to the main Redis; resolves when it has been answered. */
function redisOf(text) {
  const address = text.match(/main = \{ address = "([^"]+)"/)[1];
  const where = address.startsWith("unix:")
    ? { path: address.slice(5) }
    : { host: address.split(":")[0], port: Number(address.split(":")[1]) };
  return (...words) =>
    new Promise((resolve, reject) => {
      const socket = net.connect(where, () => {
        const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
        socket.write(`*${words.length}\r\n${parts.join("")}`);
      });
      socket.once("data", (data) => {
        socket.end();
        const answer = data.toString();
        if (answer.startsWith("-")) reject(new Error(answer));
        else resolve(answer);
      });
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("Redis closed the connection")));
    });
}

const NUMBERED = `
  if redis.call('HSETNX', KEYS[1], 'e', 'tests') == 1 then redis.call('HSET', KEYS[1], 'o', 0) end
  local offset = redis.call('HINCRBY', KEYS[1], 'o', 1)
  redis.call('XADD', KEYS[2], 'MAXLEN', 50, offset .. '-0', 'd', ARGV[2])
  redis.call('EXPIRE', KEYS[1], 600) redis.call('EXPIRE', KEYS[2], 600)
  local epoch = redis.call('HGET', KEYS[1], 'e')
  redis.call('PUBLISH', 'rt:c:' .. ARGV[1], 'p ' .. offset .. ' ' .. epoch .. ' ' .. ARGV[2])
  return offset`;
const STATE = `
  local version = redis.call('HINCRBY', KEYS[1], 'v', 1)
  redis.call('HSET', KEYS[1], 'd', ARGV[2])
  redis.call('EXPIRE', KEYS[1], 600)
  redis.call('PUBLISH', 'rt:c:' .. ARGV[1], 's ' .. version .. ' ' .. ARGV[2])
  return version`;

/** publish(channel, object): as runtime.realtime does it, with what the channel's kind keeps. */
function publisherOf(redis) {
  return (channel, object) => {
    const text = JSON.stringify(object);
    const key = (kind) => `rt:${kind}:${channel}`;
    if (/^(status|show|bal):/.test(channel)) return redis("EVAL", STATE, "1", key("s"), channel, text);
    if (channel === "lobby") return redis("PUBLISH", key("c"), `e ${text}`);
    return redis("EVAL", NUMBERED, "2", key("m"), key("h"), channel, text);
  };
}

/** A Redis that only we use: started, and started anew with or without what it held. */
function privateRedis(folder) {
  const socket = path.join(folder, "redis.sock");
  let child;
  const stopped = () => new Promise((resolve) => (child.exitCode === null && !child.signalCode ? child.once("exit", resolve) : resolve()));
  const redis = redisOf(`main = { address = "unix:${socket}"`);
  async function begin() {
    child = spawn("redis-server", ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder], { stdio: "ignore" });
    for (let i = 0; i < 200; i++) {
      try {
        if ((await redis("PING")).startsWith("+PONG")) return;
      } catch {
        // not yet
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("redis-server did not start");
  }
  async function end() {
    child.kill("SIGKILL");
    await stopped();
  }
  async function restart({ keep }) {
    if (keep) {
      redis("SHUTDOWN", "SAVE").catch(() => {});
      await stopped();
    } else {
      await end();
      fs.rmSync(path.join(folder, "dump.rdb"), { force: true });
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await begin();
  }
  return { address: `unix:${socket}`, redis, begin, end, restart };
}

/** options.redisOfItsOwn: not that of the environment, so that restartRedis({ keep }) is there. */
export async function start(options = {}) {
  const { binary, root, site, folder: made } = parent();
  const [one, two] = await freePorts();
  let text = fs.readFileSync(site, "utf8");
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "footlight-realtime-"));
  const own = options.redisOfItsOwn || made ? privateRedis(folder) : null;
  await own?.begin();
  if (own) text = text.replace(/main = \{ address = "[^"]+"/, `main = { address = "${own.address}"`);
  const secrets = text.match(/secrets = \{ directory = "([^"]+)"/)[1];
  const file = path.join(folder, "site.lua");
  fs.writeFileSync(
    file,
    text
      .replace(/realtime = "127\.0\.0\.1:\d+"/, `realtime = "127.0.0.1:${one}"`)
      .replace(/\n\}\s*$/, `\n  services = { realtime = { count = 2 } },\n}\n`)
      .replace(/var = "([^"]+)"/, `var = "${folder}"`),
  );
  fs.mkdirSync(path.join(folder, "run"));
  fs.writeFileSync(path.join(folder, "run", "rtmp.boot"), "test");
  const log = fs.openSync(path.join(folder, "log"), "w");
  const child = spawn(binary, ["--root", root, "--site", file, "serve", "realtime"], {
    stdio: ["ignore", log, log],
    env: { ...process.env, FOOTLIGHT_TEST_ENDPOINTS: "1" },
  });
  const key = Buffer.from(fs.readFileSync(path.join(secrets, "token"), "utf8").trim(), "hex");

  async function answers(port) {
    for (let i = 0; i < 100; i++) {
      try {
        if ((await fetch(`http://127.0.0.1:${port}/healthz`)).ok) return;
      } catch {
        // not yet
      }
      if (child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`the service did not start:\n${fs.readFileSync(path.join(folder, "log"))}`);
  }

  async function stop() {
    const over = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null) {
      child.kill("SIGTERM");
      await over;
    }
    await own?.end();
    fs.rmSync(folder, { recursive: true });
    if (made) fs.rmSync(made, { recursive: true });
  }

  try {
    await answers(one);
    await answers(two);
  } catch (error) {
    await stop();
    throw error;
  }
  const redis = own?.redis ?? redisOf(text);
  return { ports: [one, two], key, stop, child, redis, publish: publisherOf(redis), restartRedis: own?.restart };
}

export function token(key, account, name, role = "viewer", more = {}) {
  const now = Math.floor(Date.now() / 1000);
  const part = (object) => Buffer.from(JSON.stringify(object)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({
    sub: String(account), name, role, iat: now, exp: now + 600, caps: ["chat:*"], ...more,
  })}`;
  return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
}
