// A private show in three browsers: a viewer asks, the model accepts in the studio, a guest who was watching
// loses the picture, both sides see the same meter, and when it ends the guest sees the stage again.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { audit, join, launch, newName, signIn, site, until, visitor } from "./helpers.mjs";

const NAME = "mara_lind"; // of the demo: the one who broadcasts
let browser, model, viewer, guest, room;

function secretOf(name) {
  const lines = readFileSync(`${process.env.FOOTLIGHT_VAR}/demo-accounts.txt`, "utf8").split("\n");
  return lines.map((line) => line.trim().split(/\s+/)).find(([each]) => each === name)[2];
}

const playing = (page) => page.locator("video").evaluate((video) => video.currentTime > 0.5 && !video.paused);

before(async () => {
  browser = await launch();
  model = await visitor(browser);
  viewer = await visitor(browser);
  guest = await visitor(browser);
});
after(() => browser?.close());

test("the model offers private shows", async () => {
  const { page } = model;
  await signIn(page, NAME, secretOf(NAME));
  await page.goto(`${site}/studio/shows`);
  assert.deepEqual(await audit(page), []);
  await page.fill("#field-private_rate", "20");
  await page.fill("#field-private_minimum", "1");
  await page.fill("#field-spy_rate", "6");
  await page.click('form[action="/studio/shows/prices"] button[type=submit]');
  await page.locator(".notice", { hasText: "saved" }).waitFor();
  room = `${site}/r/${await page.locator("[data-studio-shows]").getAttribute("data-studio-shows")}`;
});

test("a viewer asks, and the model sees it without a reload", async () => {
  await until("her stream", async () => {
    await guest.page.goto(room);
    return (await guest.page.locator("[data-player][data-ticket]").count()) > 0;
  }, 60000);
  await until("the guest's picture", () => playing(guest.page), 30000);
  const { page } = viewer;
  await join(page, newName(), "/credits");
  await page.goto(`${site}/credits`);
  await page.locator('.pack:has(input[value="starter"]) button').click();
  await page.click("main form button[type=submit]");
  await page.waitForURL(/\/credits\/return\//);
  await page.goto(room);
  assert.deepEqual(await audit(page), []);
  await page.click("[data-show-private] button");
  await page.locator("[data-countdown]").waitFor();
  assert.deepEqual(await audit(page), []);
  await model.page.locator(".request button[value=accept]").waitFor();
  assert.deepEqual(await audit(model.page), []);
});

test("accepted, it is theirs: the viewer plays, the guest does not", async () => {
  await model.page.click(".request button[value=accept]");
  await until("the viewer's picture", async () => (await viewer.page.locator("[data-show-kind=private]").count()) > 0 &&
    playing(viewer.page), 20000);
  await guest.page.locator("[data-note-text]", { hasText: "in a private show" }).waitFor();
  assert.equal(await guest.page.locator("[data-ticket]").count(), 0);
  assert.deepEqual(await audit(guest.page), []);
  assert.deepEqual(await audit(viewer.page), []);
  for (const { page } of [viewer, model]) {
    await page.locator("[data-show-time]", { hasText: /^0:\d\d$/ }).waitFor();
    await page.locator("[data-show-cost]", { hasText: "credits so far" }).waitFor();
  }
  await guest.page.goto(`${site}/`);
  await guest.page.locator("a.card", { hasText: "In private" }).waitFor();
  await guest.page.goto(room);
});

test("the model ends it, and the stage is everybody's again", async () => {
  await model.page.click(".show-running button[value=end]");
  await until("the guest's picture", () => playing(guest.page), 30000);
  await until("the viewer's picture", async () => (await viewer.page.locator("[data-show-kind]").count()) === 0 &&
    playing(viewer.page), 30000);
  for (const each of [model, viewer, guest]) assert.deepEqual(each.complaints, []);
});
