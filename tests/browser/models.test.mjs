// A model's way: apply, be approved by staff, get a key, broadcast, appear on the front page by
// itself, be watched for money until the viewer's credits are used up.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { audit, join, launch, newName, signIn, site, until, visitor } from "./helpers.mjs";

const RATE = 600; // credits a minute: ten a second, so that little money is soon spent
let browser, model, staff, viewer, ffmpeg, address, key;
const slug = `room-${newName().slice(2)}`;

function demoAccount(name) {
  const folder = process.env.FOOTLIGHT_VAR;
  if (!folder) throw new Error("FOOTLIGHT_VAR says where the site keeps its demo accounts, and is not set");
  const line = readFileSync(`${folder}/demo-accounts.txt`, "utf8")
    .split("\n").find((each) => each.startsWith(`${name} `));
  return line.trim().split(/\s+/);
}

before(async () => {
  browser = await launch();
  model = await visitor(browser);
  staff = await visitor(browser);
  viewer = await visitor(browser);
});
after(async () => {
  ffmpeg?.kill("SIGTERM");
  await browser?.close();
});

test("an applicant applies and waits", async () => {
  const { page } = model;
  await join(page, newName(), "/models/apply");
  await page.fill("#field-stage_name", "Rosalind Test");
  await page.fill("#field-slug", slug);
  await page.fill("#field-legal_name", "Rosalind Example");
  await page.fill("#field-born", "1990-05-05");
  await page.check("#field-agreement");
  await page.click('form[action="/models/apply"] button[type=submit]');
  await page.locator(".notice", { hasText: "Waiting for review" }).waitFor();
  const answer = await page.goto(`${site}/r/${slug}`);
  assert.equal(answer.status(), 404);
});

test("staff finds and approves her", async () => {
  const { page } = staff;
  const [name, , secret] = demoAccount("demo_admin");
  await signIn(page, name, secret);
  await page.goto(`${site}/admin/models?state=submitted&q=${slug}`);
  assert.deepEqual(await audit(page), []);
  await page.click(`a.button[href="/admin/models/${slug}"]`);
  assert.match(await page.locator(".facts").innerText(), /Rosalind Example/);
  assert.deepEqual(await audit(page), []);
  await page.click("button[value=approved]");
  await page.locator("h1 .badge", { hasText: "Approved" }).waitFor();
});

test("the studio gives her a price and a key that is shown once", async () => {
  const { page } = model;
  await page.goto(`${site}/studio`);
  await page.fill("#field-title", "A test of lamps");
  await page.fill("#field-tags", "lamps, Test Room");
  await page.fill("#field-rate", String(RATE));
  await page.click('form[action="/studio/room"] button[type=submit]');
  await page.locator(".notice", { hasText: "saved" }).waitFor();
  await page.click('form[action="/studio/key"] button[type=submit]');
  key = await page.inputValue("#new-key");
  address = await page.inputValue("#server");
  assert.ok(key.length >= 24);
  assert.deepEqual(await audit(page), []);
  await page.reload();
  assert.equal(await page.locator("#new-key").count(), 0);
});

test("once she broadcasts, the front page and the studio show it without a reload", async () => {
  await viewer.page.goto(`${site}/`);
  assert.equal(await viewer.page.locator(`li[data-slug="${slug}"] a.live`).count(), 0);
  await model.page.goto(`${site}/studio`);
  ffmpeg = spawn("ffmpeg", ["-nostdin", "-loglevel", "error", "-re",
    "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine=frequency=300",
    "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "25",
    "-c:a", "aac", "-f", "flv", `${address}/${key}`], { stdio: "ignore" });
  await viewer.page.locator(`li[data-slug="${slug}"] a.live`).waitFor({ timeout: 30000 });
  await model.page.locator("[data-studio-state].good", { hasText: "You are live" }).waitFor({ timeout: 30000 });
  // A paid show has no picture for those who have not paid.
  assert.equal(await viewer.page.locator(`li[data-slug="${slug}"] img`).count(), 0);
});

test("a guest is asked to sign in, and plays nothing", async () => {
  const { page } = viewer;
  await page.goto(`${site}/r/${slug}`);
  assert.match(await page.locator("[data-note-text]").innerText(), /paid show/);
  assert.equal(await page.locator("[data-watch-form]").count(), 0);
  assert.equal(await page.locator("[data-ticket]").count(), 0);
});

test("a viewer without credits is refused kindly", async () => {
  const { page } = viewer;
  await join(page, newName(), `/r/${slug}`);
  await page.click("[data-watch-form] button");
  await page.locator("[data-note-text]", { hasText: "credits" }).waitFor();
  assert.equal(await page.locator("video").evaluate((video) => video.currentTime), 0);
});

test("with credits it plays, the meter runs, and the picture stops when they are used up", async () => {
  const { page } = viewer;
  await page.goto(`${site}/credits`);
  await page.locator('.pack:has(input[value="starter"]) button').click();
  await page.click("main form button[type=submit]");
  await page.waitForURL(/\/credits\/return\//);
  await page.goto(`${site}/r/${slug}`);
  assert.equal(await page.locator("[data-balance-sum]").innerText(), "50");
  await page.click("[data-watch-form] button");
  await page.locator("[data-meter]").waitFor({ state: "visible" });
  await until("the picture", () => page.locator("video").evaluate((video) => video.currentTime > 0.5));
  assert.equal(await page.locator(".player.metered").count(), 1);
  await page.locator("[data-meter-left]", { hasText: /\d:\d\d/ }).waitFor();
  await page.locator("[data-note-text]", { hasText: "credits ran out" }).waitFor({ timeout: 40000 });
  assert.equal(await page.locator("[data-balance-sum]").innerText(), "0");
  assert.equal(await page.locator("[data-meter]").isVisible(), false);
  const stopped = await page.locator("video").evaluate((video) => video.currentTime);
  assert.equal(await page.locator("video").evaluate((video) => video.currentTime), stopped);
});

test("a new key ends the broadcast, and the room says so", async () => {
  const { page } = model;
  await viewer.page.goto(`${site}/r/${slug}`);
  await page.goto(`${site}/studio`);
  await page.click('form[action="/studio/key"] button[type=submit]');
  assert.notEqual(await page.inputValue("#new-key"), key);
  await until("the end of the broadcast", () => ffmpeg.exitCode !== null);
  await viewer.page.locator("[data-note-text]", { hasText: /offline|interrupted/ }).waitFor();
  assert.equal(await viewer.page.locator("[data-watch-form]").isVisible(), false);
});

test("no page complained", () => {
  assert.deepEqual([...model.complaints, ...staff.complaints, ...viewer.complaints], []);
});
