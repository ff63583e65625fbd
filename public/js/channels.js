// What a page listens to: for each channel its handlers, and how far it has come.

export function channelTable() {
  const channels = new Map(); // name → { handlers, offset, epoch }

  function tell(name, kind, ...values) {
    for (const handler of channels.get(name)?.handlers ?? []) handler[kind]?.(...values);
  }

  /** Adds a handler; true if the channel is new. more: as subscribe() of realtime.js takes it. */
  function add(name, entry, more) {
    const fresh = !channels.has(name);
    if (fresh) channels.set(name, { handlers: new Set(), offset: more.offset ?? 0, epoch: more.epoch });
    channels.get(name).handlers.add(entry);
    return fresh;
  }

  /** Takes a handler away; true if it was the channel's last. */
  function remove(name, entry) {
    const channel = channels.get(name);
    if (!channel?.handlers.delete(entry) || channel.handlers.size > 0) return false;
    return channels.delete(name);
  }

  function position(name) {
    const { offset, epoch } = channels.get(name);
    return epoch === undefined ? {} : { o: offset, e: epoch };
  }

  function positions() {
    return Object.fromEntries([...channels.keys()].map((name) => [name, position(name)]));
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
    tell(name, "message", message, { channel: name, offset });
  }

  /** The service has ended the subscription. */
  function end(name, details) {
    tell(name, "denied", { channel: name, ...details });
    channels.delete(name);
  }

  /**
   * What the reply to a subscription says: position, what was missed, state, members. False if it
   * is to be asked for again.
   */
  function joined(name, result) {
    const channel = channels.get(name);
    if (!channel) return true;
    if (result.error === "unavailable") return false;
    if (result.error) {
      tell(name, "denied", { channel: name, code: result.error });
      return true;
    }
    if (result.e !== undefined) {
      const moved = result.recovered === false;
      if (moved) channel.offset = 0;
      channel.epoch = result.e;
      for (const past of result.pubs ?? []) take(name, past.d, past.o);
      channel.offset = result.o;
      if (moved) tell(name, "gap", { channel: name });
    }
    if (result.v !== undefined) tell(name, "message", result.d, { channel: name });
    if (result.n !== undefined) tell(name, "presence", result.n);
    return true;
  }

  return {
    add, remove, position, positions, take, end, joined, tell,
    has: (name) => channels.has(name),
    names: () => [...channels.keys()],
  };
}
