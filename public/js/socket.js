// How the realtime connection gets a socket: a WebSocket where that works, SockJS where it does not.

// No iframe transports: they need a page of the service's inside ours, which its CSP forbids.
const FALLBACKS = ["websocket", "xhr-streaming", "eventsource", "xhr-polling"];

/** An Error with a code, for what pages tell apart. */
export function failure(code, message) {
  return Object.assign(new Error(message), { code });
}

function loadScript(url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(failure("script", `cannot load ${url}`)));
    document.head.append(script);
  });
}

/** A socket of the kind that is due: plain WebSocket first, SockJS where that did not open. */
export async function openSocket(base, fallback, sockjs) {
  if (!fallback) {
    const url = new URL(`${base}/websocket`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return new WebSocket(url);
  }
  if (!globalThis.SockJS && sockjs) await loadScript(sockjs);
  if (!globalThis.SockJS) return openSocket(base, false);
  return new globalThis.SockJS(`${base}/sockjs`, null, { transports: FALLBACKS });
}
