// The players that browsers have, over what people send: the site's own player by mpegts.js, by hls.js and
// by Chromium's native HLS. (ffmpeg, GStreamer, rtmpdump and ffplay: tests/streaming/encoders_spec.lua.)
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { launch, signIn, site, until, visitor } from "./helpers.mjs";

const MODEL = { name: "theo_b", slug: "theo-b" }; // of the demo data
const kinds = [
  { name: "H.264 with AAC", width: 640, height: 360, fps: 25, sound: true },
  // nginx-rtmp's segments announce picture and sound in any case, and Chromium's own player waits for both.
  { name: "a picture without sound", width: 640, height: 360, fps: 25, ways: ["flv", "hls"] },
  { name: "sound without a picture", sound: true, ways: ["flv", "hls"] },
  { name: "an odd, upright size", width: 406, height: 722, fps: 25, sound: true },
  { name: "60 frames a second", width: 426, height: 240, fps: 60, sound: true },
];
const everyWay = ["flv", "hls", "native"];
let browser, address, guest, encoder;

function command({ width, height, fps, sound }) {
  const words = ["-nostdin", "-loglevel", "error", "-re"];
  if (width) words.push("-f", "lavfi", "-i", `testsrc2=size=${width}x${height}:rate=${fps}`);
  if (sound) words.push("-f", "lavfi", "-i", "sine=440");
  if (width) words.push("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", fps);
  if (sound) words.push("-c:a", "aac");
  return [...words, "-f", "flv", address].map(String);
}

async function room() {
  const page = await (await fetch(`${site}/r/${MODEL.slug}`)).text();
  const of = (name) => page.match(new RegExp(`data-${name}="([^"]+)"`))?.[1];
  return {
    state: of("state"), ticket: of("ticket"), mpegts: of("mpegts"), hls: of("hls"), worker: of("hls-worker"),
    player: `${page.match(/src="([^"]+)room\.js"/)[1]}player.js`,
  };
}

const state = async (wanted) => {
  const found = await room();
  return found.state === wanted && found;
};

async function segments(ticket) {
  const answer = await fetch(`${site}/media/hls/${ticket}/index.m3u8`);
  return answer.ok ? (await answer.text()).match(/^\/segments\/[^?]+/gm) ?? [] : [];
}

// nginx-rtmp goes on with the playlist of the broadcast before: until that has passed out of it.
async function ownPlaylist() {
  const { ticket } = await room();
  const former = await segments(ticket);
  await until("a playlist of this stream alone", async () => {
    const now = await segments(ticket);
    return now.length >= 2 && !now.some((each) => former.includes(each));
  }, 60000);
}

// In the page: one more player; what it has decoded once its clock has gone for so long.
async function watch({ found, way, seconds }) {
  const { createPlayer } = await import(found.player);
  const video = document.createElement("video");
  video.muted = true;
  document.body.append(video);
  const player = createPlayer(video, {
    ticket: found.ticket,
    mpegts: way === "flv" ? found.mpegts : undefined,
    hls: way === "native" ? undefined : found.hls,
    hlsWorker: found.worker,
  });
  let first = null;
  for (let i = 0; i < 400 && !(first !== null && video.currentTime - first >= seconds); i += 1) {
    await new Promise((resolve) => { setTimeout(resolve, 100); });
    if (first === null && video.readyState >= 3 && video.currentTime > 0) first = video.currentTime;
  }
  const seen = {
    way: player.way, size: `${video.videoWidth}x${video.videoHeight}`, went: video.currentTime - (first ?? video.currentTime),
    frames: video.getVideoPlaybackQuality().totalVideoFrames, sound: video.webkitAudioDecodedByteCount,
  };
  player.destroy();
  return seen;
}

before(async () => {
  browser = await launch();
  const model = await visitor(browser);
  const line = readFileSync(`${process.env.FOOTLIGHT_VAR}/demo-accounts.txt`, "utf8").split("\n")
    .map((each) => each.trim().split(/\s+/)).find(([name]) => name === MODEL.name);
  await signIn(model.page, MODEL.name, line[2]);
  await model.page.goto(`${site}/studio`);
  await model.page.click('form[action="/studio/key"] button[type=submit]');
  address = `${await model.page.inputValue("#server")}/${await model.page.inputValue("#new-key")}`;
  await model.context.close();
  guest = await visitor(browser);
});
after(async () => {
  encoder?.kill("SIGTERM");
  await browser?.close();
});

for (const kind of kinds) {
  const ways = kind.ways ?? everyWay;
  test(`${kind.name} plays by ${ways.join(", ")}`, async () => {
    await until("the one before to be over", async () => (await room()).state !== "live", 60000);
    encoder = spawn("ffmpeg", command(kind), { stdio: "ignore" });
    try {
      await until("the stream", () => state("live"), 20000);
      await ownPlaylist();
      await guest.page.goto(`${site}/`);
      const seen = await Promise.all(ways.map(async (way) =>
        guest.page.evaluate(watch, { found: await room(), way, seconds: 2 })));
      seen.forEach((each, i) => {
        const about = `${ways[i]}: ${JSON.stringify(each)}`;
        assert.equal(each.way, ways[i], about);
        assert.ok(each.went >= 2, about);
        assert.equal(each.size, kind.width ? `${kind.width}x${kind.height}` : "0x0", about);
        assert.equal(each.frames >= 10, Boolean(kind.width), about);
        assert.equal(each.sound > 0, Boolean(kind.sound), about);
      });
    } finally {
      encoder.kill("SIGTERM");
    }
  });
}

test("no page complained", () => assert.deepEqual(guest.complaints, []));
