// The browser's end of docs/realtime-protocol.md: one connection with many channels, which comes
// back by itself, gets what it missed, and says honestly when it could not.

import { channelTable } from "./channels.js";
import { outbox } from "./outbox.js";
import { failure, openSocket } from "./socket.js";

const FIRST_DELAY = 500; // ms; doubles up to LONGEST_DELAY, each time a random part of it
const LONGEST_DELAY = 30000;
const OPEN_LIMIT = 10000;
const QUIET = 30000; // silence before we ask whether the other side still lives
const ANSWER_LIMIT = 10000;

/**
 * options.token: async () => the token of the visitor (null: a guest without one);
 * options.url: the service ("/realtime"); options.sockjs: where sockjs-client lies, if it is not
 * loaded yet (default: the page's [data-sockjs]).
 */
export function connect(options = {}) {
  const base = options.url ?? "/realtime";
  const sockjs = options.sockjs ?? document.querySelector("[data-sockjs]")?.dataset.sockjs;
  const channels = channelTable();
  const waitingToGo = outbox(); // publications that wait for a connection
  const watchers = new Set();
  const waiting = new Map(); // number of a command → { resolve, reject }
  let socket = null;
  let state = "connecting";
  let number = 0;
  let failures = 0;
  let opened = false; // whether this socket got as far as opening
  let ended = false;
  let delay = null; // told by the server
  let retry = 0;
  let watch = 0;
  let generation = 0;

  function become(now) {
    if (now === state) return;
    state = now;
    for (const watcher of watchers) watcher(now);
  }

  function send(message) {
    socket.send(JSON.stringify(message));
  }

  function ask(name, body) {
    const i = ++number;
    return new Promise((resolve, reject) => {
      waiting.set(i, { resolve, reject, name });
      send({ i, [name]: body });
    });
  }

  function joined(name, result) {
    if (!channels.joined(name, result)) resubscribe(name);
  }

  function resubscribe(name) {
    const now = generation;
    setTimeout(() => {
      if (now === generation && state === "connected" && channels.has(name)) join(name);
    }, 2000 + Math.random() * 3000);
  }

  function join(name) {
    ask("sub", { c: name, ...channels.position(name) }).then(
      (reply) => joined(name, reply[name] ?? {}),
      () => {},
    );
  }

  // ---- the connection -------------------------------------------------------------------------

  function receive(text) {
    alive();
    const message = JSON.parse(text);
    if (message.i !== undefined) {
      const asked = waiting.get(message.i);
      waiting.delete(message.i);
      if (!asked) return;
      if (message.error) asked.reject(failure(message.error.code, message.error.message));
      else asked.resolve(message[asked.name] ?? {});
    } else if (message.pub) {
      channels.take(message.pub.c, message.pub.d, message.pub.o, message.pub.e);
    } else if (message.state) {
      channels.take(message.state.c, message.state.d);
    } else if (message.pres) {
      channels.tell(message.pres.c, "presence", message.pres.n, message.pres);
    } else if (message.gap) {
      // Messages were passed over. What is still kept comes with the reply.
      if (channels.has(message.gap.c)) join(message.gap.c);
    } else if (message.unsub) {
      channels.end(message.unsub.c, message.unsub);
    } else if (message.expire) {
      refresh();
    } else if (message.disc) {
      if (message.disc.reconnect) delay = message.disc.after;
      else ended = true;
    }
  }

  async function refresh() {
    try {
      await ask("refresh", { token: await options.token() });
    } catch {
      // The service closes when the token has run out, and connecting again asks for another.
    }
  }

  /** Any byte shows that the other side lives; after silence it is asked, and then given up. */
  function alive() {
    clearTimeout(watch);
    const current = socket;
    watch = setTimeout(() => {
      send({ ping: {} });
      watch = setTimeout(() => {
        if (current === socket) drop(current);
      }, ANSWER_LIMIT);
    }, QUIET);
  }

  function drop(current) {
    current.onclose = current.onmessage = current.onopen = null;
    current.close();
    closed();
  }

  function closed() {
    socket = null;
    generation++;
    clearTimeout(watch);
    for (const asked of waiting.values())
      asked.reject(failure("lost", "The connection was lost; this may not have been sent."));
    waiting.clear();
    if (ended) {
      become("closed");
      waitingToGo.refuse(failure("closed", "Not connected."));
      return;
    }
    become("lost");
    const most = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** failures);
    const wait = delay ?? Math.random() * most;
    delay = null;
    failures++;
    clearTimeout(retry);
    retry = setTimeout(open, wait);
  }

  function introduce(token) {
    const subs = channels.positions();
    return ask("connect", token ? { token, subs } : { subs });
  }

  async function open() {
    if (socket || ended) return;
    const mine = ++generation;
    if (state === "lost") become("connecting");
    let token;
    try {
      token = options.token ? await options.token() : null;
      if (mine !== generation) return;
      // Every third attempt tries the better transport again: a fallback is for bad networks, not
      // for good.
      socket = await openSocket(base, failures > 0 && !opened && failures % 3 !== 0, sockjs);
    } catch {
      if (mine === generation) closed();
      return;
    }
    opened = false;
    const current = socket;
    watch = setTimeout(() => drop(current), OPEN_LIMIT);
    socket.onmessage = (event) => receive(event.data);
    socket.onclose = closed;
    socket.onopen = async () => {
      opened = true;
      alive();
      try {
        const reply = await introduce(token);
        failures = 0;
        become("connected");
        for (const [name, result] of Object.entries(reply.subs ?? {})) joined(name, result);
        // Subscribed while the reply was on its way:
        for (const name of channels.names()) if (!(name in (reply.subs ?? {}))) join(name);
        waitingToGo.flush((body) => ask("pub", body));
      } catch (error) {
        if (error.code !== "lost" && current === socket) drop(current);
      }
    };
  }

  // ---- what pages use -------------------------------------------------------------------------

  /**
   * handler(message, { channel, offset }). more: offset and epoch of what the page shows already;
   * onGap: what was missed cannot be had; onPresence(count); onDenied({ code }). Returns a function
   * that ends the subscription.
   */
  function subscribe(name, handler, more = {}) {
    const entry = {
      message: handler, gap: more.onGap, presence: more.onPresence, denied: more.onDenied,
    };
    if (channels.add(name, entry, more) && state === "connected") join(name);
    return () => {
      if (channels.remove(name, entry) && state === "connected") ask("unsub", { c: name }).catch(() => {});
    };
  }

  /** Resolves with { o } (or { held, reason }); rejects with an Error with a `code`. */
  function publish(name, data) {
    const body = { c: name, d: data };
    if (state === "connected") return ask("pub", body);
    if (ended) return Promise.reject(failure("offline", "Not connected."));
    return waitingToGo.hold(body);
  }

  /** Calls back with "connecting", "connected", "lost" or "closed" (for good), now and on change. */
  function onState(watcher) {
    watchers.add(watcher);
    watcher(state);
    return () => watchers.delete(watcher);
  }

  function close() {
    ended = true;
    clearTimeout(retry);
    if (socket) drop(socket);
    else become("closed");
  }

  addEventListener("online", () => {
    if (state !== "lost") return;
    clearTimeout(retry);
    failures = 0;
    open();
  });
  // A page that goes to the back-forward cache must not hold a socket; it comes back on return.
  addEventListener("pagehide", () => {
    clearTimeout(retry);
    if (socket && !ended) drop(socket);
    clearTimeout(retry);
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) open();
  });

  open();
  return { subscribe, publish, onState, close };
}
