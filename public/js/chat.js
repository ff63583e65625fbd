// The chat of a room: rows as the server makes them (templates/partials/chat_row.html), kept short,
// readable by keyboard, and silent about what has already been said.
import { credits, session } from "./session.js";

const MOST_ROWS = 300;
const NEAR_END = 48; // pixels: closer than this counts as reading along

export function startChat(slug, strings, { onPresence = () => {} } = {}) {
  const root = document.querySelector("[data-chat]");
  const log = root.querySelector("[data-chat-log]");
  const list = log.querySelector("ol");
  const state = root.querySelector("[data-chat-state]");
  const more = root.querySelector("[data-chat-new]");
  const form = root.querySelector("[data-chat-form]");
  const error = root.querySelector("[data-chat-error]");
  const me = root.dataset.me;
  const channel = `chat:${slug}`;

  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
  const toEnd = () => {
    log.scrollTop = log.scrollHeight;
    more.hidden = true;
  };

  function span(kind, text) {
    const element = document.createElement("span");
    if (kind) element.className = kind;
    element.textContent = text;
    return element;
  }

  function row(message) {
    const from = message.from ?? {};
    const item = document.createElement("li");
    const role = strings[`role${(from.role ?? "")[0]?.toUpperCase()}${(from.role ?? "").slice(1)}`];
    if (role) item.append(span("role", role), " ");
    item.append(span("who", from.name ?? ""), " ");
    if (message.type === "tip") {
      item.className = "tip";
      item.append(span("sum", strings.tipped.replace("%s", credits(message.amount))), " ");
    }
    item.append(span("", message.text ?? ""));
    if (me && String(from.id) === me) item.classList.add("mine");
    return item;
  }

  function note(text) {
    const item = document.createElement("li");
    item.className = "note";
    item.textContent = text;
    list.append(item);
  }

  function add(message, meta = {}) {
    if (message.type === "clear") {
      list.replaceChildren();
      return;
    }
    if (message.type === "system") {
      note(message.text);
      return;
    }
    if (message.type === "remove") {
      list.querySelector(`[data-offset="${Number(message.offset)}"]`)?.remove();
      return;
    }
    if (message.type !== "chat" && message.type !== "tip") return;
    root.querySelector("[data-chat-empty]")?.remove();
    const follow = atEnd();
    const item = row(message);
    if (meta.offset) item.dataset.offset = meta.offset;
    list.append(item);
    while (list.children.length > MOST_ROWS) list.firstElementChild.remove();
    if (follow) toEnd();
    else more.hidden = false;
  }

  const connection = session();
  connection.subscribe(channel, add, {
    offset: Number(root.dataset.offset) || 0,
    epoch: root.dataset.epoch || undefined,
    onPresence,
    // What was missed cannot be had any more: say so where it is missing.
    onGap: () => note(strings.gap),
  });
  connection.onState((now) => {
    state.textContent = strings[now] ?? "";
  });

  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = form.elements.text;
    const text = field.value.trim();
    if (!text) return;
    error.textContent = "";
    try {
      field.value = "";
      const { held, reason } = await connection.publish(channel, { text });
      if (held) note(reason || strings.held);
      toEnd();
    } catch (reason) {
      // Give the text back, unless something new was typed in the meantime.
      if (!field.value) field.value = text;
      error.textContent = reason?.message || strings.refused;
    }
  });

  more.addEventListener("click", () => {
    toEnd();
    log.focus();
  });
  log.addEventListener("scroll", () => {
    if (atEnd()) more.hidden = true;
  });

  // One tab stop: arrows go from message to message, Escape leaves.
  log.addEventListener("keydown", (event) => {
    const current = event.target.closest("li");
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Escape" && current) {
      log.focus();
    } else if (step) {
      const next = current
        ? (step < 0 ? current.previousElementSibling : current.nextElementSibling)
        : list.lastElementChild;
      if (!next) return;
      event.preventDefault();
      next.tabIndex = -1;
      next.focus();
    }
  });
  form?.classList.remove("hidden");
  toEnd();
}
