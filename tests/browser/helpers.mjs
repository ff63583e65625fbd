// What the browser tests share: Chromium, pages that remember every complaint, mails, new accounts.
import { existsSync, readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { chromium } from "playwright-core";

export const site = process.env.FOOTLIGHT_URL?.replace(/\/$/, "");
if (!site) throw new Error("FOOTLIGHT_URL says which running site to test, and is not set");

const axeSource = readFileSync(new URL("../../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const LIMIT = 15000; // of one step

export const sizes = [{ width: 1366, height: 768 }, { width: 390, height: 844 }];

/** `extra`: more switches for Chromium, such as a camera that it makes up. */
export function launch(extra = []) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) throw new Error(`no browser at ${executablePath}`);
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", ...extra],
  });
}

/** A context whose pages write down console errors, failed scripts and CSP reports. */
export async function visitor(browser, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: sizes[0], ...options });
  context.setDefaultTimeout(LIMIT);
  const complaints = [];
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  context.on("page", (page) => {
    page.on("console", (message) => {
      // An answer of 4xx, to a request or a WebSocket's handshake, is part of what is tested: a stream that is
      // interrupted just now refuses who asks for it.
      if (message.type() === "error" && !/(status of|response code:) 4\d\d/.test(message.text())) {
        complaints.push(`${page.url()}: ${message.text()}`);
      }
    });
    page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error.message}`));
  });
  return { context, complaints, page: await context.newPage() };
}

/** What axe finds wrong with the page, one line each. */
export async function audit(page) {
  await page.evaluate(`${axeSource};0`);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  return violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.target.join(" ")).join(", ")}`);
}

/** Asks again until it gets something, with a limit. */
export async function until(what, ask, limit = LIMIT) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > end) throw new Error(`gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** The address of the first room that is live. */
export async function liveRoom(page) {
  return until("a live room", async () => {
    await page.goto(`${site}/`);
    const card = page.locator("a.card.live").first();
    return (await card.count()) > 0 && card.getAttribute("href");
  }, 60000);
}

export const newName = () => `t_${randomBytes(5).toString("hex")}`;
export const password = "correct horse battery staple";

/** Joins, confirms by the mail in the mailbox, and signs in, all by forms. */
export async function join(page, name, next = "/") {
  const email = `${name}@example.org`;
  await page.goto(`${site}/signup?next=${encodeURIComponent(next)}`);
  const began = Date.now();
  await page.fill("#field-name", name);
  await page.fill("#field-email", email);
  await page.fill("#field-password", password);
  await page.check("#field-adult");
  await page.check("#field-terms");
  // The form refuses what no person could fill in so fast.
  await until("the least time that the form wants", () => Date.now() - began > 3000);
  await page.click("main form button[type=submit]");
  await page.waitForURL(`${site}/signup**`);
  const link = await until("the mail", async () => {
    await page.goto(`${site}/mailbox`);
    const mail = page.locator(`[data-mail-to="${email}"] a[href^="/activate"]`).first();
    return (await mail.count()) > 0 && mail.getAttribute("href");
  });
  await page.goto(site + link);
  await page.click("main form button[type=submit]");
  await page.waitForURL(/\/login/);
  await signIn(page, name, password);
  return email;
}

export async function signIn(page, name, secret) {
  if (!page.url().includes("/login")) await page.goto(`${site}/login`);
  await page.fill("#field-login", name);
  await page.fill("#field-password", secret);
  await page.click("main form button[type=submit]");
  await page.waitForSelector(".menu > summary");
}
