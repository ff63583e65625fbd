// Sends what a source makes to /media/ingest/<token>: one WebSocket for each run of the source, because
// each run begins with its own file header. When the line breaks it connects again with a new token, and
// the server goes on with the same broadcast as long as its viewers wait (docs/streaming.md).
//
//   const uplink = createUplink({
//     source: (send) => ({ query, start(), stop(), congested() }),  // makes one run; see recorder.js
//     token: async () => "…",
//     onState(state, detail),   // "connecting", "live", "reconnecting", "ended" { code, reason, why }
//     onProgress(numbers),      // each second: { fps, kbit, queued, reconnects, slow }
//   });
//   uplink.end(); uplink.restart();

const DELAYS = [300, 1000, 2000, 3000, 5000];
const GIVE_UP_MS = 60000;
const OPEN_MS = 10000;
const QUIET_MS = 5000; // the server speaks each second
const CONGESTED_S = 1.5; // seconds of the bit rate in the browser's own queue
const FINAL = new Set([4002, 4004, 4005, 4007, 4010]);
const LIVE_ELSEWHERE = 4003;
const RESTART = 4000; // ours: other settings

export function createUplink({ source, token, onState, onProgress }) {
  let run = null;
  let over = false;
  let lostAt = 0;
  let attempts = 0;
  let reconnects = 0;
  let wasLive = false;
  let retry = 0;
  let generation = 0;
  let numbers = { fps: 0, kbit: 0, dropped: 0 };

  function finish(why, code = 0, reason = "") {
    if (over) return;
    over = true;
    clearTimeout(retry);
    clearInterval(ticker);
    stopRun();
    onState("ended", { why, code, reason });
  }

  function stopRun() {
    const old = run;
    run = null;
    generation += 1;
    if (!old) return;
    old.source?.stop();
    return old;
  }

  function again(code, reason) {
    stopRun();
    if (over) return;
    if (FINAL.has(code) || (code === LIVE_ELSEWHERE && !wasLive)) {
      finish("refused", code, reason);
      return;
    }
    lostAt ||= Date.now();
    if (Date.now() - lostAt > GIVE_UP_MS || (!wasLive && attempts >= DELAYS.length)) {
      finish("gave_up", code, reason);
      return;
    }
    if (wasLive && code !== RESTART && attempts === 0) reconnects += 1;
    onState(wasLive ? "reconnecting" : "connecting", { code });
    retry = setTimeout(connect, code === RESTART ? 0 : DELAYS[Math.min(attempts, DELAYS.length - 1)]);
    attempts += 1;
  }

  async function connect() {
    const mine = ++generation;
    let text;
    try {
      text = await token();
    } catch (error) {
      if (mine !== generation || over) return;
      if (error.final) finish("refused", 4002, error.message);
      else again(0, "");
      return;
    }
    if (mine !== generation || over) return;
    const made = source((data) => send(made, data));
    const url = new URL(`/media/ingest/${text}?${made.query}`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    const opened = { socket, source: made, sent: 0, ready: false, heard: 0 };
    run = opened;
    opened.heard = performance.now() + OPEN_MS - QUIET_MS;
    socket.addEventListener("message", (event) => {
      if (run === opened) hear(JSON.parse(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (run === opened) again(event.code, event.reason);
    });
  }

  function hear(message) {
    run.heard = performance.now();
    if (message.type === "ready") {
      run.ready = true;
      wasLive = true;
      lostAt = 0;
      run.source.start();
      onState("live", {});
    } else if (message.type === "progress") {
      attempts = 0; // it works: the next loss begins from a short delay
      numbers = message;
    }
  }

  function send(made, data) {
    if (run?.source !== made || run.socket.readyState !== WebSocket.OPEN) return;
    run.sent += data.size ?? data.byteLength;
    run.socket.send(data);
  }

  let before = { at: performance.now(), sent: 0, run: null };
  const ticker = setInterval(() => {
    const now = performance.now();
    const sent = run?.sent ?? 0;
    const kbit = before.run === run ? Math.round(((sent - before.sent) * 8) / (now - before.at)) : 0;
    before = { at: now, sent, run };
    // A line that died without a word: the browser would wait for minutes, also for the end of a close.
    if (run && now - run.heard > QUIET_MS) {
      run.socket.close(RESTART, "nothing was heard");
      again(0, "");
    }
    const queued = run?.socket.bufferedAmount ?? 0;
    const slow = queued > CONGESTED_S * 125 * (run?.source.kbit ?? 1000);
    if (run?.ready) run.source.congested(slow);
    onProgress({ kbit, queued, slow, reconnects, fps: run?.ready ? numbers.fps : 0 });
  }, 1000);

  onState("connecting", {});
  connect();

  return {
    /** The broadcast is over, and nobody is to wait for it. */
    end() {
      const old = stopRun();
      old?.socket.close(1000, "ended");
      finish("ended", 1000);
    },
    /** The source has other settings: begins a new run. */
    restart() {
      if (over) return;
      clearTimeout(retry);
      const old = stopRun();
      old?.socket.close(RESTART, "other settings");
      again(RESTART, "");
    },
    /** For tests: cuts the line as a network does. */
    get socket() { return run?.socket; },
  };
}
