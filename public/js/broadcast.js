// The studio's broadcaster: settings, preview, Go live, and how it goes. Taking the picture is capture.js,
// packing it recorder.js or encoder.js, sending it uplink.js.
import { capture, listDevices, release, watchLevel } from "./capture.js";
import { encoderSource, encoderWorks } from "./encoder.js";
import { ingestToken, watchHealth } from "./health.js";
import { recorderSource, recorderType } from "./recorder.js";
import { followBalance, session } from "./session.js";
import { createUplink } from "./uplink.js";

const root = document.querySelector("[data-broadcast]");
const slug = root.dataset.broadcast;
const strings = {};
for (const each of root.querySelector("[data-strings]").content.children) {
  strings[each.dataset.name] = each.textContent;
}
const form = root.querySelector("[data-settings]");
const field = form.elements;
const buttons = {
  camera: root.querySelector("[data-camera]"),
  go: root.querySelector("[data-go]"),
  end: root.querySelector("[data-end]"),
};
const video = root.querySelector("[data-preview]");
const KEPT = "footlight.broadcast";
const LEVELS = [[95, "loud"], [35, "good"], [5, "quiet"], [-1, "none"]];
const LOWER = 0.6; // of the bit rate, when the line does not carry it
const LEAST_KBIT = 200;
const approved = root.dataset.approved !== undefined;

let stream = null;
let stopLevel = null;
let uplink = null;
let onAir = root.dataset.state; // what the server says of the room
let direct = false; // whether this browser has the direct way
let lowered = 0; // kbit that the line carried, 0: as set

function say(text, tone = "") {
  const box = root.querySelector("[data-say]");
  box.classList.toggle("hidden", !text);
  for (const each of ["good", "warn", "bad"]) box.classList.toggle(each, each === tone);
  box.querySelector("p").textContent = text;
}

function show(name, text) {
  const place = root.querySelector(`[data-health=${name}]`);
  if (place.textContent !== text) place.textContent = text;
}

// ---- settings --------------------------------------------------------------------------------------

function settings() {
  const [width, height] = field.size.value.split("x").map(Number);
  return {
    camera: field.camera.value, microphone: field.microphone.value, width, height,
    fps: Number(field.fps.value), kbit: lowered || Number(field.kbit.value), audioKbit: Number(field.audio.value),
    echo: field.echo.checked, noise: field.noise.checked, gain: field.gain.checked,
  };
}

function usePreset() {
  const { size, fps, kbit } = field.preset.selectedOptions[0].dataset;
  if (!size) return;
  field.size.value = size;
  field.fps.value = fps;
  field.kbit.value = kbit;
}

function keep() {
  const kept = {};
  for (const each of form.querySelectorAll("[name]")) {
    kept[each.name] = each.type === "checkbox" ? each.checked : each.value;
  }
  try {
    localStorage.setItem(KEPT, JSON.stringify(kept));
  } catch { /* a browser that keeps nothing: the settings hold for this visit */ }
}

function recall() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch { /* none, or not ours */ }
  for (const each of form.querySelectorAll("[name]")) {
    const value = kept[each.name];
    if (each.type === "checkbox" && typeof value === "boolean") each.checked = value;
    else if (each.type === "number" && Number(value) > 0) each.value = value;
    else if (each.tagName === "SELECT" && [...each.options].some((option) => option.value === value)) each.value = value;
  }
}

// One device chosen anew needs the camera again, and a run of its own on the line.
async function apply() {
  lowered = 0;
  keep();
  if (!stream) return;
  if (!(await turnOn())) return;
  uplink?.restart();
}

form.addEventListener("change", (event) => {
  if (event.target === field.preset) usePreset();
  else if (["size", "fps", "kbit"].includes(event.target.name)) field.preset.value = "own";
  if (form.reportValidity()) apply();
});
form.addEventListener("submit", (event) => event.preventDefault());
root.querySelector("[data-live-form]").addEventListener("submit", (event) => event.preventDefault());

// ---- camera ----------------------------------------------------------------------------------------

async function turnOn() {
  let taken;
  try {
    // Some cameras give one picture size at a time, so the old stream is let go of first.
    release(stream);
    taken = await capture(settings());
  } catch (error) {
    stream = null;
    uplink?.end();
    buttons.go.disabled = true;
    say(strings[error.key] ?? strings.camera_missing, "bad");
    return false;
  }
  stopLevel?.();
  stream = taken;
  video.srcObject = stream;
  root.querySelector("[data-preview-note]").hidden = true;
  video.play().catch(() => {}); // a browser that wants a click shows the first frame
  const meter = root.querySelector("#level");
  const word = root.querySelector("[data-level-word]");
  stopLevel = watchLevel(stream, (percent) => {
    meter.value = percent;
    const text = strings[`level_${LEVELS.find(([from]) => percent > from)[1]}`];
    if (word.textContent !== text) word.textContent = text;
  });
  await listDevices(field.camera, field.microphone, strings.device);
  buttons.camera.hidden = true;
  buttons.go.disabled = !approved || uplink !== null;
  if (!uplink) show("state", strings.waiting);
  return true;
}

buttons.camera.addEventListener("click", async () => {
  say("");
  await turnOn();
});
navigator.mediaDevices?.addEventListener?.("devicechange", () => {
  if (stream) listDevices(field.camera, field.microphone, strings.device);
});

// ---- the line --------------------------------------------------------------------------------------

function source(send) {
  const now = settings();
  if (direct && field.method.value === "direct") {
    return encoderSource(stream, now, {
      onFailed() {
        field.method.value = "recorder"; // which every browser has that has a camera
        say(strings.not_direct, "warn");
        uplink?.restart();
      },
    })(send);
  }
  const make = recorderSource(stream, now, {
    onCongested() {
      lowered = Math.max(LEAST_KBIT, Math.round(now.kbit * LOWER));
      say(strings.lowered, "warn");
      uplink?.restart();
    },
    onFailed: () => uplink?.restart(),
  });
  return make(send);
}

function onState(state, { why, code, reason }) {
  root.dataset.uplink = state;
  buttons.end.disabled = state === "ended";
  buttons.go.disabled = state !== "ended" || !stream || !approved;
  if (state === "connecting") say(strings.connecting);
  else if (state === "live" && lowered) say(strings.lowered, "warn");
  else if (state === "live") say("");
  else if (state === "reconnecting") say(strings.reconnecting, "warn");
  else if (why === "ended") say(strings.ended);
  else if (why === "refused") say([strings[`close_${code}`], code === 4002 ? reason : ""].join(" ").trim(), "bad");
  else say(strings[`close_${code}`] ?? strings.gave_up, "bad");
  if (state === "ended") {
    uplink = null;
    lowered = 0;
    for (const name of ["fps", "kbit", "queue"]) show(name, "–");
  }
  showState();
}

function onProgress({ kbit, queued, slow, reconnects, fps }) {
  if (slow && field.method.value === "direct") say(strings.slow, "warn");
  show("fps", fps ? String(Math.round(fps)) : "–");
  show("kbit", `${kbit} kbit/s`);
  show("queue", `${slow ? strings.behind : strings.keeps_up} (${Math.round(queued / 1024)} KiB)`);
  show("reconnects", String(reconnects));
}

function goLive() {
  if (!recorderType()) {
    say(strings.unsupported, "bad");
    return;
  }
  uplink ??= createUplink({ source, token: () => ingestToken(root), onState, onProgress });
  globalThis.footlightUplink = uplink; // for the console, and tests that cut the line
}
buttons.go.addEventListener("click", goLive);
buttons.end.addEventListener("click", () => uplink?.end());

// Live with another program: it gives way to this page, or is ended.
const elsewhere = root.querySelector("[data-elsewhere]");
elsewhere.addEventListener("submit", async (event) => {
  event.preventDefault();
  const take = event.submitter.value === "take";
  // Its viewers wait for half a minute only, so the camera comes first.
  if (take && !stream && !(await turnOn())) return;
  const answer = await fetch(elsewhere.getAttribute("action"), {
    method: "POST",
    headers: { accept: "application/json" },
    body: new URLSearchParams({ csrf_token: elsewhere.elements.csrf_token.value, action: event.submitter.value }),
  }).catch(() => null);
  if (!answer?.ok) say(strings.gave_up, "bad");
  else if (take) goLive();
});
addEventListener("beforeunload", (event) => {
  if (uplink) event.preventDefault();
});

// ---- what the server says --------------------------------------------------------------------------

function showState() {
  elsewhere.classList.toggle("hidden", uplink !== null || onAir === "offline" || onAir === "grace");
  show("state", uplink || onAir !== "offline" ? strings[`state_${onAir}`] ?? onAir : strings[stream ? "waiting" : "state_offline"]);
}

const health = watchHealth(root, { account: root.dataset.account, slug, token: () => ingestToken(root) });
health.live(onAir === "live");
session().subscribe(`status:${slug}`, (message) => {
  if (message.type !== "status") return;
  onAir = message.state;
  health.live(onAir === "live");
  showState();
});
recall();
encoderWorks().then((works) => {
  direct = works;
  field.method.querySelector("[value=direct]").disabled = !works;
  if (!works) field.method.value = "recorder";
});
showState();
followBalance();
