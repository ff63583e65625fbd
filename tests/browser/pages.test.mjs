// Every page at two sizes in both themes: nothing that axe objects to, nothing wider than the screen,
// one h1, a title, and a console that stays silent. And the basics without JavaScript.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { audit, join, launch, liveRoom, newName, site, sizes, visitor } from "./helpers.mjs";

let browser, room, state;

before(async () => {
  browser = await launch();
  const viewer = await visitor(browser);
  room = await liveRoom(viewer.page);
  await join(viewer.page, newName());
  state = await viewer.context.storageState();
  await viewer.context.close();
});
after(() => browser?.close());

const guestPages = ["/", "/tags/no-such-tag", "/search?q=zzzz", "/login", "/signup", "/forgot", "/help",
  "/legal/terms", "/legal/privacy", "/mailbox", "/no-such-page", "/activate?t=expired"];
const viewerPages = ["/", "/credits", "/account", "/models/apply"];

async function check(context, path) {
  const { page } = context;
  await page.goto(site + path);
  assert.deepEqual(await audit(page), [], `axe on ${path}`);
  const facts = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth - innerWidth,
    headings: document.querySelectorAll("h1").length,
    title: document.title,
  }));
  assert.ok(facts.wide <= 0, `${path} is ${facts.wide} px too wide`);
  assert.equal(facts.headings, 1, `${path} has one h1`);
  assert.ok(facts.title.length > 3, `${path} has a title`);
}

for (const viewport of sizes) {
  for (const colorScheme of ["dark", "light"]) {
    test(`guests' pages at ${viewport.width} px, ${colorScheme}`, async () => {
      const guest = await visitor(browser, { viewport, colorScheme });
      for (const path of [...guestPages, room]) await check(guest, path);
      assert.deepEqual(guest.complaints, []);
      await guest.context.close();
    });
    test(`viewers' pages at ${viewport.width} px, ${colorScheme}`, async () => {
      const viewer = await visitor(browser, { viewport, colorScheme, storageState: state });
      for (const path of [...viewerPages, room, `${room}/tip`]) await check(viewer, path);
      assert.deepEqual(viewer.complaints, []);
      await viewer.context.close();
    });
  }
}

test("forms come back with what was typed, a linked summary, and no password", async () => {
  const { page, context } = await visitor(browser, { javaScriptEnabled: false });
  await page.goto(`${site}/signup`);
  await page.locator("form[action='/signup']").evaluate((form) => { form.noValidate = true; });
  await page.fill("#field-name", "No Such Name!");
  await page.fill("#field-email", "nobody@example.org");
  await page.fill("#field-password", "short");
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.request().method() === "POST"),
    page.click("main form button[type=submit]"),
  ]);
  assert.equal(answer.status(), 422);
  assert.equal(await page.inputValue("#field-name"), "No Such Name!");
  assert.equal(await page.inputValue("#field-password"), "");
  assert.equal(await page.getAttribute("#field-name", "aria-invalid"), "true");
  assert.ok(await page.locator('.error-summary a[href="#field-password"]').count());
  await context.close();
});

test("the theme switch works without scripts and stays", async () => {
  const { page, context } = await visitor(browser, { javaScriptEnabled: false, colorScheme: "dark" });
  await page.goto(`${site}/help`);
  await page.click(".theme button[value=light]");
  assert.equal(new URL(page.url()).pathname, "/help");
  assert.equal(await page.getAttribute("html", "data-theme"), "light");
  await page.goto(`${site}/`);
  assert.equal(await page.getAttribute("html", "data-theme"), "light");
  await context.close();
});

test("the front page and a room can be read without scripts", async () => {
  const { page, context } = await visitor(browser, { javaScriptEnabled: false });
  await page.goto(`${site}/`);
  assert.ok(await page.locator("a.card.live").count());
  await page.goto(site + room);
  assert.match(await page.locator("noscript").first().innerText(), /JavaScript/);
  await context.close();
});

test("by keyboard alone: the skip link leads into the page, the menu opens and closes", async () => {
  const { page, context } = await visitor(browser, { storageState: state });
  await page.goto(`${site}/`);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.focus(".menu > summary");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator(".menu-panel").isVisible(), true);
  await context.close();
});

test("by keyboard alone: the tip sheet opens, holds the focus, and gives it back", async () => {
  const { page, context, complaints } = await visitor(browser, { storageState: state });
  await page.goto(site + room);
  await page.focus("[data-open=tip-sheet]");
  await page.keyboard.press("Enter");
  await page.locator("#tip-sheet[open]").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.name), "amount");
  assert.deepEqual(await audit(page), []);
  for (let i = 0; i < 12; i++) {
    await page.keyboard.press("Tab");
    // Outside of the sheet there is nothing but the browser's own controls.
    assert.ok(await page.evaluate(() => document.activeElement === document.body
      || document.activeElement.closest("#tip-sheet") !== null));
  }
  await page.keyboard.press("Escape");
  await page.locator("#tip-sheet[open]").waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.dataset.open), "tip-sheet");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("nothing is wider than a screen of 320 px", async () => {
  const { page, context } = await visitor(browser, { viewport: { width: 320, height: 640 }, storageState: state });
  for (const path of [...viewerPages, room, `${room}/tip`, "/help"]) {
    await page.goto(site + path);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${path} is ${wide} px too wide`);
  }
  await context.close();
});

test("pages for staff do not exist for others", async () => {
  for (const storageState of [undefined, state]) {
    const { page, context } = await visitor(browser, { storageState });
    const answer = await page.goto(`${site}/admin/models`);
    assert.equal(answer.status(), 404);
    await context.close();
  }
});
