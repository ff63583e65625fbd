// The front page follows the lobby: cards come, go and get new pictures without a reload.
import { followBalance, session } from "./session.js";

const QUIET_MS = 1500; // changes come in bursts; and not every reader asks in the same moment
let timer = null;

function schedule() {
  timer ??= setTimeout(refresh, QUIET_MS + Math.random() * QUIET_MS);
}

async function refresh() {
  timer = null;
  if (document.hidden) return; // caught up when it is looked at again
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    replace(page);
  } catch {
    schedule();
  }
}

// The server's grid, with the cards that did not change kept: focus and pictures stay.
function replace(page) {
  const fresh = page.querySelector("#rooms");
  const shown = document.querySelector("#rooms");
  if (!fresh || !shown) return;
  const known = new Map();
  for (const card of shown.querySelectorAll("[data-slug]")) known.set(card.dataset.slug, card);
  for (const card of fresh.querySelectorAll("[data-slug]")) {
    const old = known.get(card.dataset.slug);
    if (!old) continue;
    if (old.innerHTML === card.innerHTML) {
      card.replaceWith(old);
    } else {
      update(old, card);
      card.replaceWith(old);
    }
  }
  const focused = document.activeElement;
  shown.replaceChildren(...fresh.childNodes);
  if (shown.contains(focused)) focused.focus({ preventScroll: true });
  const count = page.querySelector(".section-head .numbers");
  if (count) document.querySelector(".section-head .numbers").textContent = count.textContent;
}

// A new picture replaces the old one once it is there, so that the card never blinks.
function update(old, card) {
  const before = old.querySelector("img");
  const after = card.querySelector("img");
  const link = old.querySelector("a");
  const next = card.querySelector("a");
  if (before && after && before.getAttribute("src") !== after.getAttribute("src")) {
    const source = after.getAttribute("src");
    after.setAttribute("src", before.getAttribute("src"));
    const loader = new Image();
    loader.addEventListener("load", () => after.setAttribute("src", source));
    loader.src = source;
  }
  link.className = next.className;
  link.replaceChildren(...next.childNodes);
}

session().subscribe("lobby", schedule);
document.addEventListener("visibilitychange", () => document.hidden || schedule());
followBalance();
