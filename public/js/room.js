// The room: picture, state, meter, tips. The chat is in chat.js, playing itself in player.js.
import { startChat } from "./chat.js";
import { send } from "./forms.js";
import { createPlayer } from "./player.js";
import { followBalance, session } from "./session.js";
import { followShows } from "./show.js";

const root = document.querySelector("[data-room]");
const strings = document.querySelector("[data-strings]").dataset;
const box = root.querySelector("[data-player]");
const video = box.querySelector("video");
const note = box.querySelector("[data-player-note]");
const noteText = box.querySelector("[data-note-text]");
const retry = box.querySelector("[data-retry]");
const watchForm = box.querySelector("[data-watch-form]");
const meter = root.querySelector("[data-meter]");
const slug = root.dataset.room;
const rate = Number(box.dataset.rate);
const inShow = box.dataset.inShow !== undefined;
const showArea = root.querySelector("[data-show-area]"); // not in her own room: that has the studio's panel
const shows = showArea && followShows(showArea, {
  address: `/r/${slug}/show`, account: root.querySelector("[data-chat]").dataset.me, slug, strings,
});
let player = null;
let state = root.dataset.state;
let stopped = false; // by the viewer, or because the credits ran out

function say(text, { again = false } = {}) {
  noteText.textContent = text;
  note.hidden = !text;
  note.classList.toggle("over-poster", Boolean(video.poster));
  retry.classList.toggle("hidden", !again);
}

// ---- picture ---------------------------------------------------------------------------------------

async function freshTicket() {
  const headers = { accept: "application/json" };
  const token = document.querySelector("input[name=csrf_token]");
  if (token) headers["x-csrf-token"] = token.value;
  const body = new URLSearchParams({ rate: String(rate) });
  const answer = await fetch(`/r/${slug}/watch`, { method: "POST", headers, body });
  const result = await answer.json().catch(() => ({}));
  if (!answer.ok || !result.ok) throw new Error(result.error || strings.failed);
  return result.ticket;
}

function play(ticket) {
  player?.destroy();
  stopped = false;
  video.controls = true;
  box.classList.toggle("metered", inShow || (rate > 0 && !box.dataset.ticket));
  meter.hidden = !(rate > 0 && watchForm) || inShow;
  player = createPlayer(video, {
    ticket, mpegts: box.dataset.mpegts, hls: box.dataset.hls, hlsWorker: box.dataset.hlsWorker,
    onPlaying: () => say(""),
    onEnded,
    onError: () => finish(strings.failed),
  });
}

/** Ends playing. With a text, it is for the viewer to begin again; without, the state decides. */
function finish(text) {
  player?.destroy();
  player = null;
  box.classList.remove("metered");
  meter.hidden = true;
  stopped = Boolean(text);
  if (text) say(text, { again: true });
  else describe();
}

function onEnded(reason) {
  if (reason === "cut") finish(strings.cut);
  else if (reason === "offline") finish(null);
  else finish(strings.failed);
}

async function start() {
  try {
    play(await freshTicket());
  } catch (error) {
    say(error.message, { again: true });
  }
}

watchForm?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const answer = await send(watchForm, strings.failed);
    watchForm.hidden = true;
    play(answer.ticket);
  } catch (error) {
    say(error.message);
  }
});
retry.addEventListener("click", start);
root.querySelector("[data-meter-end]").addEventListener("click", () => finish(strings.ended));
addEventListener("pagehide", () => player?.destroy());

// ---- state -----------------------------------------------------------------------------------------

function describe() {
  box.querySelector("[data-live-badge]").hidden = state !== "live" && state !== "grace";
  const tips = root.querySelector("[data-tips=live]");
  if (watchForm) watchForm.classList.toggle("hidden", state !== "live");
  if (tips) tips.hidden = state !== "live" && state !== "grace";
  if (stopped) return;
  if (state === "offline") say(strings.offline);
  else if (state === "starting") say(strings.starting);
  else if (state === "grace") say(strings.grace);
}

function onStatus(message) {
  if (message.type !== "status") return;
  // Another show, or none: who may watch what, and for how much, is the server's to say.
  if ((message.show ?? root.dataset.showState) !== root.dataset.showState ||
      String(message.away ?? root.dataset.away) !== root.dataset.away) {
    player?.destroy();
    setTimeout(() => location.reload(), Math.random() * 700);
    return;
  }
  if (message.show !== undefined) setTimeout(() => shows?.refresh(), Math.random() * 2500);
  if (message.state === state) return;
  const before = state;
  state = message.state;
  if (state === "offline") {
    player?.destroy();
    player = null;
    stopped = false;
    meter.hidden = true;
  } else if (state === "live" && !player) {
    if (before === "grace" || rate === 0 || watchForm === null) start();
    // A paid show is never begun by itself; the page that offers it comes from the server.
    else location.reload();
  }
  describe();
}

// ---- tips ------------------------------------------------------------------------------------------

function sheets() {
  for (const link of document.querySelectorAll("[data-open]")) {
    const sheet = document.getElementById(link.dataset.open);
    if (!sheet) continue;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      sheet.showModal();
      sheet.querySelector("input:not([type=hidden])")?.focus();
    });
    sheet.querySelector("[data-close]").addEventListener("click", () => sheet.close());
    sheet.addEventListener("click", (event) => event.target === sheet && sheet.close());
    const form = sheet.querySelector("[data-tip-form]");
    const error = form.querySelector("[data-tip-error]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      error.textContent = "";
      try {
        await send(form, strings.refused);
        form.elements.message.value = "";
        sheet.close();
      } catch (reason) {
        error.textContent = reason.message;
      }
    });
  }
}

sheets();
startChat(slug, strings, {
  onPresence: (count) => {
    const badge = box.querySelector("[data-watching]");
    badge.hidden = count < 1 || state !== "live";
    badge.textContent = strings.watching.replace("%s", count);
  },
});
session().subscribe(`status:${slug}`, onStatus);
followBalance((balance) => {
  if (!player || rate === 0 || meter.hidden) return;
  const seconds = Math.floor(((balance.paid + balance.bonus + balance.held) / rate) * 60);
  const text = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  root.querySelector("[data-meter-left]").textContent = strings.timeLeft.replace("%s", text);
});
if (box.dataset.ticket) play(box.dataset.ticket);
else describe();
