// What shows look like while they run, on the room page and in the studio: one part of the page that is
// asked for again when something changed, countdowns, and the meter. The server decides everything.
import { credits, session } from "./session.js";

const WARNINGS = [180, 60]; // seconds left

export function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Texts with a number of milliseconds count down to zero. */
function countdowns(root, text) {
  for (const place of root.querySelectorAll("[data-countdown]")) {
    const ends = Date.now() + Number(place.dataset.countdown);
    const timer = setInterval(() => {
      const left = Math.max(0, Math.ceil((ends - Date.now()) / 1000));
      if (!place.isConnected || left === 0) clearInterval(timer);
      place.textContent = text.replace("%s", left);
    }, 500);
  }
}

/** Shows meter messages of the show that runs in `area`; the warning is said once a step. */
function meters(area, strings) {
  let warned = Infinity;
  return (message) => {
    const running = area.querySelector("[data-show-running]");
    if (!running || running.dataset.show !== String(message.show)) return;
    running.querySelector("[data-show-time]").textContent = clock(message.seconds);
    running.querySelector("[data-show-cost]").textContent = strings.cost.replace("%s", credits(message.cost));
    const people = running.querySelector("[data-show-people]");
    if (message.kind !== "private") people.textContent = strings.people.replace("%s", message.people);
    else people.textContent = message.spies > 0 ? strings.spies.replace("%s", message.spies) : "";
    const warning = area.querySelector("[data-show-warning]");
    const step = WARNINGS.filter((each) => message.left !== undefined && message.left <= each).pop();
    if (!warning || step === undefined) {
      if (warning) warning.hidden = true;
      warned = Infinity;
    } else if (step < warned) {
      warned = step;
      warning.querySelector("[data-show-warning-text]").textContent = strings.left.replace("%s", clock(message.left));
      warning.hidden = false;
    }
  };
}

/**
 * Keeps `area` true. address: where its content is asked for. account: whose messages to hear.
 * Returns { refresh } for other reasons to look again.
 */
export function followShows(area, { address, account, slug, strings, changed = () => {} }) {
  let asked = 0;
  async function refresh() {
    const mine = ++asked;
    const answer = await fetch(address, { headers: { accept: "text/html" } }).catch(() => null);
    if (!answer?.ok || mine !== asked) return; // the next message, or a reload, will do
    const text = await answer.text();
    const at = area.contains(document.activeElement) && document.activeElement.form?.action;
    const value = document.activeElement?.value;
    area.innerHTML = text;
    // Who was on a button stays on it, if it is still there.
    if (at) [...area.querySelectorAll("button")].find((each) => each.form?.action === at && each.value === value)?.focus();
    countdowns(area, strings.seconds);
    changed(area);
  }
  countdowns(area, strings.seconds);
  changed(area);
  if (account) {
    const meter = meters(area, strings);
    session().subscribe(`user:${account}`, (message) => {
      if (message.slug !== slug) return;
      if (message.type === "meter") meter(message);
      if (message.type === "show") refresh();
    });
  }
  return { refresh };
}
