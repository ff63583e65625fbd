// Run by tools/bench latency: plays in Chromium with the site's player and reads the clock in the picture.
import { readFileSync } from "node:fs";
import { launch, signIn, site, until, visitor } from "../../../tests/browser/helpers.mjs";

const seconds = Number(process.env.LATENCY_SECONDS);
const BROADCASTER = { name: "theo_b", slug: "theo-b" }; // of the demo data
const FIRSTS = 4; // further viewers, whose first picture is timed
const SETTLED_MS = 4000; // a player catches up with what it was given at the beginning, then keeps its distance
const world = await launch();
const studio = await launch(["--use-fake-ui-for-media-stream"]);
let over = 0;

function say(name, figures, limits) {
  const parts = Object.entries(figures).map(([key, value]) => `${key} ${Math.round(value)}`);
  const bad = Object.entries(limits).filter(([key, limit]) => !(figures[key] <= limit));
  over += bad.length;
  const verdict = Object.entries(limits).map(([key, limit]) => `${key} ≤ ${limit}`).join(", ");
  console.log(`${name} (ms): ${parts.join(", ")} – ${bad.length ? "OVER" : "holds"}: ${verdict}`);
}

async function roomOf(slug) {
  const page = await (await fetch(`${site}/r/${slug}`)).text();
  const of = (name) => page.match(new RegExp(`data-${name}="([^"]+)"`))?.[1];
  return {
    ticket: of("ticket"), mpegts: of("mpegts"), hls: of("hls"), worker: of("hls-worker"),
    player: `${page.match(/src="([^"]+)room\.js"/)[1]}player.js`,
  };
}

// In the page: plays one ticket; resolves to the first picture's delay and a latency for each frame.
async function measure({ room, way, length }) {
  const { createPlayer } = await import(room.player);
  document.body.replaceChildren();
  const video = document.createElement("video");
  video.muted = true;
  document.body.append(video);
  const canvas = new OffscreenCanvas(640, 60);
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  const began = performance.now();
  let first = null;
  const late = [];
  const player = createPlayer(video, {
    ticket: room.ticket, mpegts: way === "flv" ? room.mpegts : undefined, hls: room.hls, hlsWorker: room.worker,
  });
  function look() {
    first ??= performance.now() - began;
    drawing.drawImage(video, 0, 0, 640, 60, 0, 0, 640, 60);
    const { data } = drawing.getImageData(0, 30, 640, 1);
    let stamp = 0;
    for (let bit = 0; bit < 32; bit++) stamp = stamp * 2 + (data[(bit * 20 + 10) * 4] > 125 ? 1 : 0);
    const now = Date.now() % 2 ** 32;
    if (Math.abs(now - stamp) < 60000) late.push([performance.now() - began, now - stamp]);
    video.requestVideoFrameCallback(look);
  }
  video.requestVideoFrameCallback(look);
  await new Promise((resolve) => setTimeout(resolve, length * 1000));
  const used = player.way;
  player.destroy();
  return { first, late, used };
}

const quantile = (list, q) => list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * q))];

async function play(slug, way, length) {
  const { page, context } = await visitor(world);
  await page.goto(`${site}/`);
  const room = await until("a ticket", async () => {
    const found = await roomOf(slug);
    return found.ticket && found;
  });
  const result = await page.evaluate(measure, { room, way, length });
  await context.close();
  const settled = result.late.filter(([at]) => at > SETTLED_MS).map(([, late]) => late);
  if (result.used !== way || (length * 1000 > SETTLED_MS && settled.length === 0)) {
    throw new Error(`${way}: no picture (${result.used})`);
  }
  return { first: result.first ?? Infinity, p50: quantile(settled, 0.5), p95: quantile(settled, 0.95), frames: settled.length };
}

// In the studio's page, before its own scripts: a camera that shows the clock, and a tone.
function clockCamera() {
  navigator.mediaDevices.getUserMedia = async ({ video }) => {
    const canvas = document.createElement("canvas");
    canvas.width = video.width.ideal;
    canvas.height = video.height.ideal;
    const drawing = canvas.getContext("2d");
    const field = canvas.width / 32;
    let frame = 0;
    setInterval(() => {
      const stamp = Date.now() % 2 ** 32;
      for (let bit = 0; bit < 32; bit++) {
        drawing.fillStyle = Math.floor(stamp / 2 ** (31 - bit)) % 2 ? "#fff" : "#000";
        drawing.fillRect(bit * field, 0, field, field * 3);
      }
      drawing.fillStyle = "#333";
      drawing.fillRect(0, field * 3, canvas.width, canvas.height);
      drawing.fillStyle = "#ccc";
      drawing.fillRect((frame * 8) % canvas.width, field * 4, field * 3, field * 10);
      frame += 1;
    }, 1000 / video.frameRate.ideal);
    const stream = canvas.captureStream(video.frameRate.ideal);
    const sound = new AudioContext();
    const tone = sound.createOscillator();
    const out = sound.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    stream.addTrack(out.stream.getAudioTracks()[0]);
    return stream;
  };
}

async function broadcast(method) {
  const { page, context } = await visitor(studio, { permissions: ["camera", "microphone"] });
  const secret = readFileSync(`${process.env.FOOTLIGHT_VAR}/demo-accounts.txt`, "utf8").split("\n")
    .map((line) => line.trim().split(/\s+/)).find(([name]) => name === BROADCASTER.name)[2];
  await page.addInitScript(clockCamera);
  await signIn(page, BROADCASTER.name, secret);
  await page.goto(`${site}/studio/broadcast`);
  await page.selectOption("#preset", "saver");
  await page.selectOption("#method", method);
  await page.click("[data-camera]");
  await page.click("[data-go]:enabled");
  await until("the broadcast", async () => (await page.locator("[data-health=state]").innerText()) === "Live", 20000);
  return async () => {
    await page.click("[data-end]");
    await until("the end", async () => (await page.locator("[data-broadcast]").getAttribute("data-uplink")) === "ended");
    await context.close();
  };
}

try {
  const slug = process.env.LATENCY_SLUG;
  const flv = await play(slug, "flv", seconds);
  say("encoder to WebSocket-FLV", flv, { p50: 700 });
  const firsts = [flv.first];
  for (let i = 0; i < FIRSTS; i++) firsts.push((await play(slug, "flv", 3)).first);
  say("first FLV picture", { p50: quantile(firsts, 0.5), worst: Math.max(...firsts) }, { p50: 500 });
  say("encoder to HLS, segments of 2 s", await play(slug, "hls", seconds + 10), { p50: 4500 });
  for (const method of ["recorder", "direct"]) {
    const end = await broadcast(method);
    say(`browser (${method}) to WebSocket-FLV`, await play(BROADCASTER.slug, "flv", seconds), { p50: 800 });
    await end();
  }
} finally {
  await world.close();
  await studio.close();
}
console.log(over ? `${over} over the limit` : "every figure is within its limit");
process.exitCode = over ? 1 : 0;
