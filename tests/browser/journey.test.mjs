// A viewer's first evening: join, confirm, buy credits, watch, chat with another viewer, tip.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join, launch, liveRoom, newName, site, until, visitor } from "./helpers.mjs";

let browser, ava, ben, room;
const name = newName();

before(async () => {
  browser = await launch();
  ava = await visitor(browser);
  ben = await visitor(browser);
});
after(() => browser?.close());

test("the front page shows a live card with a picture", async () => {
  room = await liveRoom(ava.page);
  await until("a thumbnail", async () => {
    await ava.page.goto(`${site}/`);
    return ava.page.locator(`a.card.live[href="${room}"] img`).evaluateAll(
      (images) => images.some((image) => image.complete && image.naturalWidth === 640));
  }, 90000);
});

test("joining goes by the mail in the mailbox and comes back to the room", async () => {
  await join(ava.page, name, room);
  assert.equal(new URL(ava.page.url()).pathname, room);
  assert.match(await ava.page.locator(".menu > summary").innerText(), new RegExp(name));
});

test("a paid sandbox order credits the wallet once, with its bonus", async () => {
  const { page } = ava;
  await page.goto(`${site}/credits?next=${encodeURIComponent(room)}`);
  assert.equal(await page.locator(".balance .amount").innerText(), "0");
  await page.locator('.pack:has(input[value="regular"]) button').click();
  await page.waitForURL(/\/sandbox\/pay\//);
  await page.check('input[value="twice"]');
  await page.click("main form button[type=submit]");
  await page.waitForURL(/\/credits\/return\//);
  await until("the credits", async () => {
    await page.reload();
    return (await page.locator("dd .badge").innerText()) === "Credited";
  });
  assert.equal(await page.locator("[data-balance-sum]").innerText(), "105");
});

test("a declined order credits nothing", async () => {
  const { page } = ava;
  await page.goto(`${site}/credits`);
  await page.locator('.pack:has(input[value="starter"]) button').click();
  await page.check('input[value="declined"]');
  await page.click("main form button[type=submit]");
  await page.waitForURL(/\/credits\/return\//);
  assert.equal(await page.locator("dd .badge").innerText(), "Declined");
  assert.equal(await page.locator("[data-balance-sum]").innerText(), "105");
});

test("the room plays: the picture advances", async () => {
  const { page } = ava;
  await page.goto(site + room);
  const time = () => page.locator("video").evaluate((video) => video.currentTime);
  const first = await until("the picture", time);
  await until("the picture to go on", async () => (await time()) > first + 1);
});

test("what one viewer says the other reads at once", async () => {
  await ben.page.goto(site + room);
  const text = `hello from ${name}`;
  await ava.page.waitForSelector("[data-chat-form]:not(.hidden)");
  await ava.page.fill("#chat-text", text);
  await ava.page.press("#chat-text", "Enter");
  await ben.page.locator("[data-chat-log] li", { hasText: text }).waitFor();
  assert.equal(await ava.page.locator("[data-chat-log] li", { hasText: text }).count(), 1);
});

test("a chat line is still there for those who come later", async () => {
  await ben.page.reload();
  await ben.page.locator("[data-chat-log] li", { hasText: `hello from ${name}` }).waitFor();
});

test("a tip shows in both rooms and the balance follows without a reload", async () => {
  const { page } = ava;
  await page.click("[data-open=tip-sheet]");
  await page.click('[data-amounts] button[value="25"]');
  await page.fill("#tip-sheet #field-message", `encore, ${name}!`);
  await page.click("#tip-sheet button[type=submit]");
  for (const each of [ava, ben]) {
    await each.page.locator("[data-chat-log] li.tip", { hasText: `encore, ${name}!` }).waitFor();
  }
  await until("the balance", async () =>
    (await page.locator("[data-balance-sum]").innerText()) === "80");
});

test("a tip that is too large says what is missing, and takes nothing", async () => {
  const { page } = ava;
  await page.goto(`${site}${room}/tip`);
  await page.fill("#field-amount", "5000");
  await page.click("main form button[type=submit]");
  assert.equal(await page.locator(".error-summary").evaluate(
    (summary) => summary === document.activeElement), true);
  assert.match(await page.locator(".notice.warn").innerText(), /4,920/);
  assert.equal(await page.locator("[data-balance-sum]").innerText(), "80");
});

test("signing out leaves a guest", async () => {
  const { page } = ava;
  await page.click(".menu > summary");
  await page.click('form[action="/logout"] button');
  await page.waitForSelector('.site-nav a[href^="/signup"]');
});

test("no page complained: no console errors, no CSP reports", () => {
  assert.deepEqual([...ava.complaints, ...ben.complaints], []);
});
