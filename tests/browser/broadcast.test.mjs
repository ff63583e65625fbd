// Broadcasting from the browser, with the camera and the sound that Chromium makes up: a second Chromium
// sees the picture move and hears it; settings change what goes out; a cut line comes back by itself.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { audit, launch, signIn, site, sizes, until, visitor } from "./helpers.mjs";

const run = promisify(execFile);
const NAME = "theo_b"; // a model of the demo data, whose room nothing else broadcasts to
let studio, world, model, viewer, slug, encoder;

function secretOf(name) {
  const lines = readFileSync(`${process.env.FOOTLIGHT_VAR}/demo-accounts.txt`, "utf8").split("\n");
  return lines.map((line) => line.trim().split(/\s+/)).find(([each]) => each === name)[2];
}

const health = (name) => model.page.locator(`[data-health=${name}]`).innerText();
const said = () => model.page.locator("[data-say]").innerText();

async function goLive() {
  await model.page.click("[data-go]");
  await until("the state Live", async () => (await health("state")) === "Live", 20000).catch(async (error) => {
    throw new Error(`${error.message}: ${await health("state")}; ${await said()}`);
  });
}

/** What a guest's own player receives, as ffprobe sees it. */
async function measured() {
  // The page's text only: its own player would ask for a picture during the change, and complain.
  const page = await (await fetch(`${site}/r/${slug}`)).text();
  const ticket = /data-ticket="([^"]+)"/.exec(page)?.[1];
  if (!ticket) return null;
  const { stdout } = await run("ffprobe", ["-v", "error", "-show_entries", "stream=codec_name,width,height",
    "-of", "json", "-analyzeduration", "3000000", `${site}/media/flv/${ticket}`], { timeout: 15000 }).catch(() => ({ stdout: "" }));
  if (!stdout) return null;
  const { streams } = JSON.parse(stdout);
  const video = streams.find((stream) => stream.width);
  const audio = streams.find((stream) => stream.codec_name === "aac");
  return { video: video && `${video.codec_name} ${video.width}x${video.height}`, audio: audio?.codec_name };
}

/** The mean level of what a viewer receives, decoded by ffmpeg, in dB. */
async function loudness() {
  const page = await (await fetch(`${site}/r/${slug}`)).text();
  const ticket = /data-ticket="([^"]+)"/.exec(page)?.[1];
  if (!ticket) return -Infinity;
  const { stderr } = await run("ffmpeg", ["-nostdin", "-hide_banner", "-i", `${site}/media/flv/${ticket}`, "-t", "3",
    "-map", "0:a:0", "-af", "volumedetect", "-f", "null", "-"], { timeout: 15000 }).catch(() => ({ stderr: "" }));
  return Number(/mean_volume: (-?[\d.]+) dB/.exec(stderr)?.[1] ?? -Infinity);
}

before(async () => {
  studio = await launch(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]);
  world = await launch();
  model = await visitor(studio, { permissions: ["camera", "microphone"] });
  viewer = await visitor(world);
  await signIn(model.page, NAME, secretOf(NAME));
});
after(async () => {
  encoder?.kill("SIGTERM");
  await studio?.close();
  await world?.close();
});

test("only the broadcaster's page may use the camera", async () => {
  const other = await model.page.goto(`${site}/studio`);
  assert.match(other.headers()["permissions-policy"], /camera=\(\)/);
  await model.page.click('a[href="/studio/broadcast"]');
  await model.page.waitForURL(`${site}/studio/broadcast`);
  const answer = await model.page.reload();
  assert.match(answer.headers()["permissions-policy"], /camera=\(self\), microphone=\(self\)/);
  slug = await model.page.locator("[data-broadcast]").getAttribute("data-broadcast");
});

test("the page is accessible, before and with the camera", async () => {
  const { page } = model;
  for (const size of sizes) {
    await page.setViewportSize(size);
    assert.deepEqual(await audit(page), []);
  }
  await page.setViewportSize(sizes[0]);
  assert.equal(await page.locator("[data-go]").isDisabled(), true);
  await page.selectOption("#preset", "saver");
  await page.click("[data-camera]");
  await until("the preview", () => page.locator("[data-preview]").evaluate((video) => video.videoWidth === 640));
  assert.deepEqual(await audit(page), []);
  // The made-up microphone beeps.
  await until("a sound level", () => page.locator("#level").evaluate((meter) => meter.value > 5));
  assert.notEqual(await page.locator("[data-level-word]").innerText(), "");
});

test("she goes live, and a second browser sees the picture move and hears it", async () => {
  await goLive();
  await until("numbers", async () => Number(await health("fps")) > 5 && !(await health("kbit")).startsWith("0 "));
  const { page } = viewer;
  await page.goto(`${site}/r/${slug}`);
  const video = page.locator("video");
  await until("the picture", () => video.evaluate((each) => each.currentTime > 1 && each.videoWidth === 640), 30000);
  const moved = await video.evaluate(async (each) => {
    const canvas = document.createElement("canvas");
    const look = () => {
      canvas.width = 64;
      canvas.height = 36;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(each, 0, 0, 64, 36);
      return context.getImageData(0, 0, 64, 36).data;
    };
    const first = look();
    for (let i = 0; i < 50; i += 1) {
      await new Promise((resolve) => { setTimeout(resolve, 100); });
      const other = look();
      if (other.some((value, at) => Math.abs(value - first[at]) > 40)) return true;
    }
    return false;
  });
  assert.equal(moved, true);
  const peak = await video.evaluate(async (each) => {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    each.muted = false;
    context.createMediaElementSource(each).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let loudest = 0;
    for (let i = 0; i < 60 && loudest < 0.01; i += 1) {
      await new Promise((resolve) => { setTimeout(resolve, 100); });
      analyser.getFloatTimeDomainData(samples);
      loudest = Math.max(loudest, ...samples.map(Math.abs));
    }
    return loudest;
  });
  assert.ok(peak >= 0.01, `loudest sample: ${peak}`);
});

test("the strip shows what viewers receive, with advice in words", async () => {
  await until("a measure", async () => /^640×360, \d+ frames, \d+ kbit\/s, key frame each \d+\.\d s$/.test(await health("seen")), 20000);
  const gap = Number(/each (\d+\.\d) s/.exec(await health("seen"))[1]);
  assert.ok(gap > 0 && gap <= 2.5, `key frame gap ${gap}`);
  const advice = await model.page.locator("[data-advice] li").allInnerTexts();
  assert.ok(advice.length > 0);
  for (const text of advice) assert.match(text, /^[A-Z].*\.$/);
  assert.ok(!advice.some((text) => /Key frames|format|No sound|No picture/.test(text)), advice.join(" "));
  assert.deepEqual(await audit(model.page), []);
});

test("what goes out is H.264 and AAC in the size that was set; another setting changes it", async () => {
  assert.deepEqual(await until("a measure", measured, 30000), { video: "h264 640x360", audio: "aac" });
  await model.page.selectOption("#size", "1280x720");
  assert.equal(await model.page.inputValue("#preset"), "own");
  const changed = await until("the other size", async () => {
    const now = await measured();
    return now?.video === "h264 1280x720" && now;
  }, 40000);
  assert.equal(changed.audio, "aac");
});

test("the direct way sends H.264 and AAC, too, seen and heard", async () => {
  await until("the state Live", async () => (await health("state")) === "Live", 20000);
  const before = await model.page.evaluate(() => globalThis.footlightUplink.socket.url);
  await model.page.selectOption("#method", "direct");
  await until("another run", () => model.page.evaluate((url) => {
    const { socket } = globalThis.footlightUplink;
    return socket && socket.url !== url;
  }, before));
  const way = await until("a measure", async () => {
    const now = await measured();
    return now?.video && now.audio && now;
  }, 40000);
  assert.deepEqual(way, { video: "h264 1280x720", audio: "aac" });
  assert.equal(await model.page.inputValue("#method"), "direct");
  await until("a level of the sound", async () => (await loudness()) > -50, 30000);
});

test("a line that is cut comes back within the grace, in the same broadcast", async () => {
  await until("the state Live", async () => (await health("state")) === "Live", 20000);
  const states = [];
  await model.page.exposeFunction("noteState", (state) => states.push(state));
  await model.page.evaluate(() => {
    const place = document.querySelector("[data-health=state]");
    new MutationObserver(() => globalThis.noteState(place.textContent)).observe(place, { childList: true, characterData: true, subtree: true });
  });
  await viewer.page.goto("about:blank");
  await model.context.setOffline(true);
  await model.page.evaluate(() => globalThis.footlightUplink.socket.close(4990, "cut by the test"));
  await until("the loss", async () => (await said()).includes("Connection lost"));
  await model.context.setOffline(false);
  await until("the return", async () => (await health("state")) === "Live" && (await said()) === "", 30000);
  await until("the count", async () => (await health("reconnects")) === "1");
  assert.ok(states.some((state) => state.startsWith("Interrupted")), states.join(", "));
  assert.ok(!states.includes("Offline"), states.join(", "));
  assert.equal((await until("a measure", measured, 30000)).video, "h264 1280x720");
});

test("End ends it at once, without a grace", async () => {
  await model.page.click("[data-end]");
  await until("the end", async () => (await said()).includes("ended"));
  await until("the room to be offline", async () =>
    /data-state="offline"/.test(await (await fetch(`${site}/r/${slug}`)).text()), 10000);
  assert.equal(await model.page.locator("[data-go]").isEnabled(), true);
});

test("the studio tells what is wrong with another program's stream, and the browser takes its place", async () => {
  const { page } = model;
  await page.goto(`${site}/studio`);
  await page.click('form[action="/studio/key"] button[type=submit]');
  const address = `${await page.inputValue("#server")}/${await page.inputValue("#new-key")}`;
  encoder = spawn("ffmpeg", ["-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25",
    "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "150", "-an",
    "-f", "flv", address], { stdio: "ignore" });
  const advice = page.locator("[data-advice]");
  await until("both advices", async () => {
    const text = await advice.innerText();
    return /No sound arrives/.test(text) && /keyframe interval to 2 seconds/.test(text);
  }, 40000);
  assert.match(await health("seen"), /^640×360, \d+ frames/);
  // The browser takes the place of that program; who watches stays.
  await page.goto(`${site}/studio/broadcast`);
  await until("the offer", () => page.locator("[data-elsewhere]").isVisible());
  assert.deepEqual(await audit(page), []);
  await page.click("[data-elsewhere] [value=take]");
  await until("the state Live", async () => (await health("state")) === "Live" &&
    (await page.locator("[data-broadcast]").getAttribute("data-uplink")) === "live", 20000);
  await until("the other program's end", () => encoder.exitCode !== null);
  assert.equal(await page.locator("[data-elsewhere]").isVisible(), false);
  await page.click("[data-end]");
  await until("the end", async () => (await said()).includes("ended"));
  await page.goto(`${site}/studio`);
  encoder = spawn(encoder.spawnargs[0], encoder.spawnargs.slice(1), { stdio: "ignore" });
  await until("advice again", async () => (await advice.locator("li").count()) > 0, 40000);
  encoder.kill("SIGTERM");
  await until("the advice to go", async () => (await advice.locator("li").count()) === 0, 20000);
});

test("no page complained", () => {
  const offline = /ERR_INTERNET_DISCONNECTED/; // what the cut line was meant to be
  assert.deepEqual([...model.complaints, ...viewer.complaints].filter((each) => !offline.test(each)), []);
});
