// What a show looks like while it runs: the time and price that both sides see, warnings before the
// credits end, countdowns of requests. The server decides; a change of state loads the page again.
import { credits, session } from "./session.js";

const WARNINGS = [180, 60]; // seconds left

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Texts with a number of milliseconds count down to zero. */
export function countdowns(root, text) {
  for (const place of root.querySelectorAll("[data-countdown]")) {
    const ends = Date.now() + Number(place.dataset.countdown);
    const timer = setInterval(() => {
      const left = Math.max(0, Math.ceil((ends - Date.now()) / 1000));
      place.textContent = text.replace("%s", left);
      if (left === 0) clearInterval(timer);
    }, 500);
  }
}

/** The meter of the show that runs, from its own channel. */
export function showMeter(root, strings) {
  const meter = root.querySelector("[data-show-time]")?.closest("[data-show]");
  if (!meter || meter.dataset.showHeard === undefined && root.dataset.studioShows === undefined) return;
  const warning = root.querySelector("[data-show-warning]");
  let warned = Infinity;
  session().subscribe(`show:${meter.dataset.show}`, (message) => {
    if (message.type !== "meter") return;
    meter.querySelector("[data-show-time]").textContent = clock(message.seconds);
    meter.querySelector("[data-show-cost]").textContent = strings.cost.replace("%s", credits(message.cost));
    const step = WARNINGS.filter((each) => message.left !== undefined && message.left <= each).pop();
    if (step === undefined) {
      warning.hidden = true;
      warned = Infinity;
    } else if (step < warned) { // once a step: it is read aloud
      warned = step;
      warning.textContent = strings.left.replace("%s", clock(message.left));
      warning.hidden = false;
    }
  });
}

/** Loads the page again when a show of this room moves on. */
export function followShows(account, slug) {
  if (!account) return;
  session().subscribe(`user:${account}`, (message) => {
    if (message.type === "show" && message.slug === slug) location.reload();
  });
}
