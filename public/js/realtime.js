// The browser's end of docs/realtime-protocol.md: one connection with many channels, which comes
// back by itself, gets what it missed, and says honestly when it could not.

import { failure, openSocket } from "./socket.js";

const FIRST_DELAY = 500; // ms; doubles up to LONGEST_DELAY, each time a random part of it
const LONGEST_DELAY = 30000;
const OPEN_LIMIT = 10000;
const QUIET = 30000; // silence before we ask whether the other side still lives
const ANSWER_LIMIT = 10000;
const QUEUE_MOST = 20;
const QUEUE_LIMIT = 60000;
/**
 * options.token: async () => the token of the visitor (null: a guest without one);
 * options.url: the service ("/realtime"); options.sockjs: where sockjs-client lies, if it is not
 * loaded yet (default: the page's [data-sockjs]).
 */
export function connect(options = {}) {
  const base = options.url ?? "/realtime";
  const sockjs = options.sockjs ?? document.querySelector("[data-sockjs]")?.dataset.sockjs;
  const channels = new Map(); // name → { handlers, offset, epoch }
  const watchers = new Set();
  const waiting = new Map(); // number of a command → { resolve, reject }
  let queue = []; // publications that wait for a connection
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

  // ---- what channels receive ----------------------------------------------------------------

  function tell(channel, kind, ...values) {
    for (const handler of channel.handlers) handler[kind]?.(...values);
  }

  function take(name, message, offset, epoch) {
    const channel = channels.get(name);
    if (!channel) return;
    if (epoch && epoch !== channel.epoch) {
      channel.epoch = epoch; // the first message of a numbering brings its name
      channel.offset = 0;
    }
    if (offset) {
      if (offset <= channel.offset) return; // had it already
      channel.offset = offset;
    }
    tell(channel, "message", message, { channel: name, offset });
  }

  function gap(name) {
    const channel = channels.get(name);
    if (channel) tell(channel, "gap", { channel: name });
  }

  /** What the reply to a subscription says: position, what was missed, state, members. */
  function joined(name, result) {
    const channel = channels.get(name);
    if (!channel) return;
    if (result.error) {
      if (result.error === "unavailable") resubscribe(name);
      else tell(channel, "denied", { channel: name, code: result.error });
      return;
    }
    if (result.e !== undefined) {
      const moved = result.recovered === false;
      if (moved) channel.offset = 0;
      channel.epoch = result.e;
      for (const past of result.pubs ?? []) take(name, past.d, past.o);
      channel.offset = result.o;
      if (moved) gap(name);
    }
    if (result.v !== undefined) tell(channel, "message", result.d, { channel: name });
    if (result.n !== undefined) tell(channel, "presence", result.n);
  }

  function position(channel) {
    return channel.epoch === undefined ? {} : { o: channel.offset, e: channel.epoch };
  }

  function resubscribe(name) {
    const now = generation;
    setTimeout(() => {
      if (now === generation && state === "connected" && channels.has(name)) join(name);
    }, 2000 + Math.random() * 3000);
  }

  function join(name) {
    ask("sub", { c: name, ...position(channels.get(name)) }).then(
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
      take(message.pub.c, message.pub.d, message.pub.o, message.pub.e);
    } else if (message.state) {
      take(message.state.c, message.state.d);
    } else if (message.pres) {
      const channel = channels.get(message.pres.c);
      if (channel) tell(channel, "presence", message.pres.n);
    } else if (message.gap) {
      // Messages were passed over. What is still kept comes with the reply.
      if (channels.has(message.gap.c)) join(message.gap.c);
    } else if (message.unsub) {
      const channel = channels.get(message.unsub.c);
      channels.delete(message.unsub.c);
      if (channel) tell(channel, "denied", { channel: message.unsub.c, ...message.unsub });
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
      for (const item of queue.splice(0)) item.reject(failure("closed", "Not connected."));
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
    const subs = {};
    for (const [name, channel] of channels) subs[name] = position(channel);
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
        for (const name of channels.keys()) if (!(name in (reply.subs ?? {}))) join(name);
        flush();
      } catch (error) {
        if (error.code !== "lost" && current === socket) drop(current);
      }
    };
  }

  function flush() {
    for (const item of queue.splice(0)) {
      clearTimeout(item.timer);
      ask("pub", item.body).then(item.resolve, item.reject);
    }
  }

  // ---- what pages use -------------------------------------------------------------------------

  /**
   * handler(message, { channel, offset }). more: offset and epoch of what the page shows already;
   * onGap: what was missed cannot be had; onPresence(count); onDenied({ code }). Returns a function
   * that ends the subscription.
   */
  function subscribe(name, handler, more = {}) {
    let channel = channels.get(name);
    const fresh = !channel;
    if (fresh) {
      channel = { handlers: new Set(), offset: more.offset ?? 0, epoch: more.epoch };
      channels.set(name, channel);
    }
    const entry = {
      message: handler, gap: more.onGap, presence: more.onPresence, denied: more.onDenied,
    };
    channel.handlers.add(entry);
    if (fresh && state === "connected") join(name);
    return () => {
      channel.handlers.delete(entry);
      if (channel.handlers.size > 0 || channels.get(name) !== channel) return;
      channels.delete(name);
      if (state === "connected") ask("unsub", { c: name }).catch(() => {});
    };
  }

  /** Resolves with { o } (or { held, reason }); rejects with an Error with a `code`. */
  function publish(name, data) {
    const body = { c: name, d: data };
    if (state === "connected") return ask("pub", body);
    if (ended || queue.length >= QUEUE_MOST)
      return Promise.reject(failure("offline", "Not connected."));
    return new Promise((resolve, reject) => {
      const item = { body, resolve, reject };
      item.timer = setTimeout(() => {
        queue = queue.filter((other) => other !== item);
        reject(failure("offline", "Not connected; the message was not sent."));
      }, QUEUE_LIMIT);
      queue.push(item);
    });
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
