// Plays one ticket in one <video>: WebSocket-FLV by mpegts.js first (half a second behind the
// camera), HLS by hls.js next, the browser's own HLS last. The scripts are loaded when they are
// needed. What became of the ticket is asked of the server, never guessed from an error code.
//
//   const player = createPlayer(video, {
//     ticket,                          // the text from the page or from POST /r/<slug>/watch
//     mpegts, hls, hlsWorker,          // addresses of the vendor scripts
//     onPlaying(way),                  // the picture moves: "flv", "hls" or "native"
//     onEnded(reason),                 // "cut" (credits or time used up), "offline", or a word of the server
//     onError(),                       // no way works here
//   });
//   player.destroy();

const FIRST_PICTURE_MS = { flv: 6000, hls: 15000, native: 15000 };
const STALL_MS = 8000;
const RETRIES = 3;
// The last way is tried for 15 s. Chromium's native player cannot read the first segment of a broadcast
// whose sound comes before its picture (DEMUXER_ERROR_COULD_NOT_PARSE), and that segment stays listed so long.
const LAST_RETRIES = 4;
const CUT = new Set(["funds", "limit", "daily", "paused", "frozen", "unavailable"]);
const GONE = new Set(["ended", "left", "lost"]);

let mpegtsLoading = null;

function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`cannot load ${src}`));
    document.head.append(script);
  });
}

function loadMpegts(src) {
  mpegtsLoading ??= loadScript(src).then(
    () => window.mpegts,
    (error) => {
      mpegtsLoading = null;
      throw error;
    },
  );
  return mpegtsLoading;
}

// Each way returns a function that stops it, or null if this browser has not got it.

async function playFlv(video, options, fail) {
  if (!options.mpegts || !("MediaSource" in window || "ManagedMediaSource" in window)) return null;
  const mpegts = await loadMpegts(options.mpegts);
  if (!mpegts?.isSupported()) return null;
  mpegts.LoggingControl.enableAll = false; // the console is for errors of ours
  const url = new URL(`/media/flv/${options.ticket}`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  // Which tracks there are stands in the FLV header, which the server writes when it knows.
  const player = mpegts.createPlayer(
    { type: "flv", isLive: true, url: url.href },
    {
      enableWorker: false, // its worker is made from a blob, which our CSP does not allow
      enableStashBuffer: false,
      liveBufferLatencyChasing: true,
      liveBufferLatencyMaxLatency: 1.5,
      liveBufferLatencyMinRemain: 0.4,
      // It begins with the frames since the last key frame: what that is behind is made good by playing
      // a little faster, which nobody notices, and not by a jump.
      liveSync: true,
      liveSyncMaxLatency: 0.6,
      liveSyncTargetLatency: 0.4,
      liveSyncPlaybackRate: 1.2,
      autoCleanupSourceBuffer: true,
      autoCleanupMaxBackwardDuration: 30,
      autoCleanupMinBackwardDuration: 15,
    },
  );
  player.on(mpegts.Events.ERROR, () => fail());
  player.on(mpegts.Events.LOADING_COMPLETE, () => fail());
  player.attachMediaElement(video);
  player.load();
  return () => player.destroy();
}

async function playHls(video, options, fail) {
  if (!options.hls) return null;
  const { default: Hls } = await import(options.hls);
  if (!Hls.isSupported()) return null;
  const player = new Hls({
    workerPath: options.hlsWorker,
    // Of segments of 2 s: one and a third behind the newest. More only where the line needs it.
    liveSyncDuration: 2.6,
    liveMaxLatencyDuration: 12,
    maxLiveSyncPlaybackRate: 1.1,
    maxBufferLength: 12,
    backBufferLength: 15,
    manifestLoadPolicy: {
      default: {
        maxTimeToFirstByteMs: 8000,
        maxLoadTimeMs: 10000,
        timeoutRetry: { maxNumRetry: 2, retryDelayMs: 500, maxRetryDelayMs: 2000 },
        // A stream that has just begun has no playlist until its first segment is whole.
        errorRetry: {
          maxNumRetry: 8, retryDelayMs: 1000, maxRetryDelayMs: 1500,
          shouldRetry: (policy, count, timeout, response) =>
            count < policy.maxNumRetry && (timeout || !response || response.code === 404 || response.code >= 500),
        },
      },
    },
  });
  player.on(Hls.Events.ERROR, (_event, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && player.recoverMediaError && !player.recovered) {
      player.recovered = true;
      player.recoverMediaError();
    } else {
      fail();
    }
  });
  player.loadSource(`/media/hls/${options.ticket}/index.m3u8`);
  player.attachMedia(video);
  return () => player.destroy();
}

async function playNative(video, options, fail) {
  if (!video.canPlayType("application/vnd.apple.mpegurl")) return null;
  video.addEventListener("error", fail);
  video.src = `/media/hls/${options.ticket}/index.m3u8`;
  return () => {
    video.removeEventListener("error", fail);
    video.removeAttribute("src");
    video.load();
  };
}

const WAYS = [["flv", playFlv], ["hls", playHls], ["native", playNative]];

export function createPlayer(video, options) {
  let destroyed = false;
  let way = 0;
  let attempt = 0; // counts every start, so that late events of a former one are known
  let retries = 0;
  let stop = null;
  let moved = false; // the picture of this attempt has moved
  let last = { time: 0, at: 0 };

  async function ended() {
    try {
      const answer = await fetch(`/media/state/${options.ticket}`, { cache: "no-store" });
      const { state, reason } = await answer.json();
      if (state !== "over") return false;
      if (!destroyed) {
        destroy();
        options.onEnded?.(CUT.has(reason) ? "cut" : GONE.has(reason) ? "offline" : reason);
      }
      return true;
    } catch {
      return false; // the server is away: retrying tells more
    }
  }

  function halt() {
    const halting = stop;
    stop = null;
    try {
      halting?.();
    } catch {
      // A library that fails while it is being destroyed has nothing left to lose.
    }
  }

  async function failed(of) {
    if (destroyed || of !== attempt) return;
    attempt++;
    halt();
    if (await ended()) return;
    if (destroyed) return;
    const most = moved ? RETRIES : way === WAYS.length - 1 ? LAST_RETRIES : 0;
    if (retries < most) retries++;
    else {
      way++;
      retries = 0;
    }
    setTimeout(start, retries ? 500 * 2 ** retries : 0);
  }

  async function start() {
    if (destroyed) return;
    if (way >= WAYS.length) {
      destroy();
      options.onError?.();
      return;
    }
    const mine = ++attempt;
    const [name, play] = WAYS[way];
    moved = false;
    last = { time: video.currentTime, at: performance.now() };
    let halting = null;
    try {
      halting = await play(video, options, () => failed(mine));
    } catch {
      halting = null;
    }
    if (destroyed || mine !== attempt) {
      halting?.();
      return;
    }
    if (!halting) {
      way++;
      start();
      return;
    }
    stop = halting;
    video.dataset.way = name;
    // Without a gesture browsers play muted pictures only; the viewer turns the sound on.
    video.play().catch(() => {
      video.muted = true;
      video.play().catch(() => {});
    });
  }

  // Browsers report trouble in many ways, and sometimes not at all: a picture that stands is one.
  const watch = setInterval(() => {
    const now = performance.now();
    if (video.currentTime !== last.time) {
      last = { time: video.currentTime, at: now };
      if (!moved && stop && video.readyState >= 2) {
        moved = true;
        options.onPlaying?.(WAYS[way][0]);
      }
      return;
    }
    if (!stop || document.hidden || (video.paused && moved)) {
      last.at = now;
      return;
    }
    if (now - last.at > (moved ? STALL_MS : FIRST_PICTURE_MS[WAYS[way][0]])) failed(attempt);
  }, 250);

  function destroy() {
    if (destroyed) return;
    destroyed = true;
    attempt++;
    clearInterval(watch);
    halt();
    delete video.dataset.way;
  }

  start();
  return { destroy, get way() { return WAYS[way]?.[0] ?? null; } };
}
