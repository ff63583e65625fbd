// The studio: copy buttons, and the banner that follows the broadcast.
import { ingestToken, watchHealth } from "./health.js";
import { followBalance, session } from "./session.js";

for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  button.classList.remove("hidden");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      field.select(); // no permission: at least it is marked
      return;
    }
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

const root = document.querySelector("[data-studio]");
const slug = root.dataset.studio;
const check = root.querySelector("[data-check]");
const health = check && watchHealth(check, { account: root.dataset.account, slug, token: () => ingestToken(check) });
health?.live(root.dataset.state === "live");
const banner = document.querySelector("[data-studio-state]");
session().subscribe(`status:${slug}`, (message) => {
  if (message.type === "status") health?.live(message.state === "live");
  const text = banner.dataset[message.state];
  if (message.type !== "status" || !text) return;
  banner.querySelector("[data-studio-state-text]").textContent = text;
  banner.classList.toggle("good", message.state === "live");
  banner.classList.toggle("warn", message.state === "starting" || message.state === "grace");
});
followBalance();
