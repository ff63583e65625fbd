// The pages about money, as staff, a model and a viewer see them: at two sizes, in both themes, nothing that axe
// objects to, nothing wider than the screen, and a console that stays silent.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { audit, launch, signIn, site, sizes, visitor } from "./helpers.mjs";

let browser;
const states = {};

function passwordOf(name) {
  const lines = readFileSync(`${process.env.FOOTLIGHT_VAR}/demo-accounts.txt`, "utf8").split("\n");
  return lines.map((line) => line.split(/\s+/)).find((words) => words[0] === name)[2];
}

before(async () => {
  browser = await launch();
  for (const name of ["demo_admin", "mara_lind"]) {
    const { page, context } = await visitor(browser);
    await signIn(page, name, passwordOf(name));
    states[name] = await context.storageState();
    await context.close();
  }
});
after(() => browser?.close());

const pages = {
  demo_admin: ["/admin", "/admin/finances", "/admin/ledger", "/admin/ledger?q=mara_lind&type=tip", "/admin/ledger/1",
    "/admin/wallets/mara_lind", "/admin/wallets/demo_admin", "/admin/orders", "/admin/disputes", "/admin/promos",
    "/admin/payouts", "/credits/statement"],
  mara_lind: ["/studio/earnings", "/studio/payouts", "/credits/statement"],
};

for (const [name, paths] of Object.entries(pages)) {
  for (const viewport of sizes) {
    for (const colorScheme of ["dark", "light"]) {
      test(`the pages of ${name} at ${viewport.width} px, ${colorScheme}`, async () => {
        const { page, context, complaints } = await visitor(browser, { viewport, colorScheme, storageState: states[name] });
        for (const path of paths) {
          const answer = await page.goto(site + path);
          assert.equal(answer.status(), 200, path);
          assert.deepEqual(await audit(page), [], `axe on ${path}`);
          const facts = await page.evaluate(() => ({
            wide: document.documentElement.scrollWidth - innerWidth, headings: document.querySelectorAll("h1").length,
          }));
          assert.ok(facts.wide <= 0, `${path} is ${facts.wide} px too wide`);
          assert.equal(facts.headings, 1, `${path} has one h1`);
        }
        assert.deepEqual(complaints, []);
        await context.close();
      });
    }
  }
}
