// How a broadcast arrives where viewers get it: the media service measures it while somebody looks, and
// tells the model's own channel (docs/streaming.md). For browser and OBS alike.
import { session } from "./session.js";

const ASK_MS = 5000;
const STALE_MS = 12000; // without a report the last one is no longer true

/** root: an element with the partial studio/health in it. token: async () => an ingest token.
 *  Returns { live(boolean) }: whether there is a broadcast to look at. */
export function watchHealth(root, { account, slug, token }) {
  const texts = {};
  for (const each of root.querySelector("[data-health-strings]").content.children) {
    texts[each.dataset.name] = each.textContent;
  }
  const seen = root.querySelector("[data-health=seen]");
  const list = root.querySelector("[data-advice]");
  let permit = null;
  let timer = 0;
  let heard = 0;

  function clear() {
    if (seen.textContent !== "–") seen.textContent = "–";
    list.replaceChildren();
  }

  function show(report) {
    heard = Date.now();
    const size = report.width ? `${report.width}×${report.height}` : "?";
    const values = { size, fps: Math.round(report.fps), kbit: report.kbit + report.audio_kbit, gap: (report.gap_ms / 1000).toFixed(1) };
    seen.textContent = texts.seen.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
    // The list is a live region: what is still true is not said again.
    const now = report.advice.map((name) => texts[name]).filter(Boolean);
    if (now.length === 0) now.push(texts.fine);
    for (const item of [...list.children]) if (!now.includes(item.textContent)) item.remove();
    const there = [...list.children].map((item) => item.textContent);
    for (const text of now) {
      if (there.includes(text)) continue;
      const item = document.createElement("li");
      item.textContent = text;
      list.append(item);
    }
  }

  async function ask() {
    try {
      permit ??= await token();
      const answer = await fetch(`/media/health/${permit}`, { cache: "no-store" });
      if (answer.status === 403) permit = null;
    } catch { /* the line or the service is away: the next time may work */ }
    if (heard && Date.now() - heard > STALE_MS) clear();
  }

  session().subscribe(`user:${account}`, (message) => {
    if (message.type === "health" && message.slug === slug && timer) show(message);
  });
  return {
    live(now) {
      if (now && !timer) {
        timer = setInterval(ask, ASK_MS);
        ask();
      } else if (!now && timer) {
        clearInterval(timer);
        timer = 0;
        clear();
      }
    },
  };
}

/** Asks the site for an ingest token. Throws with `final` if the answer will not change. */
export async function ingestToken(root) {
  const answer = await fetch("/studio/broadcast/token", {
    method: "POST",
    headers: { accept: "application/json", "x-csrf-token": root.querySelector("input[name=csrf_token]").value },
  });
  const result = await answer.json().catch(() => ({}));
  if (answer.ok && result.ok) return result.token;
  const refused = answer.status >= 400 && answer.status < 500 && answer.status !== 429;
  throw Object.assign(new Error(result.error ?? ""), { final: refused });
}
