// What pages share: one realtime connection, and the balance in the header that follows it.
import { connect } from "./realtime.js";

const CREDIT = 1000000;
let connection = null;
let last = null; // the token that we were given last: good for a while, also when pages are not

async function token() {
  try {
    const answer = await fetch("/realtime-token", { headers: { accept: "application/json" } });
    if (!answer.ok) throw new Error(`no token: ${answer.status}`);
    const { token: text, seconds } = await answer.json();
    last = { text, until: Date.now() + seconds * 1000 };
  } catch (error) {
    if (!last || Date.now() > last.until) throw error;
  }
  return last.text;
}

/** The page's connection. The token is asked for when it is needed and again before it expires. */
export function session(options = {}) {
  connection ??= connect({ token, ...options });
  return connection;
}

/** Credits as people read them: at most two decimals, never rounded up. */
export function credits(amount) {
  const hundredths = Math.floor(amount / (CREDIT / 100));
  return (hundredths / 100).toLocaleString(document.documentElement.lang || "en", {
    minimumFractionDigits: hundredths % 100 ? 2 : 0,
    maximumFractionDigits: 2,
  });
}

/** Keeps the pill in the header true; calls back with each balance. */
export function followBalance(changed = () => {}) {
  const pill = document.querySelector("[data-balance]");
  if (!pill) return;
  const sum = pill.querySelector("[data-balance-sum]");
  let newest = -1;
  session().subscribe(`bal:${pill.dataset.account}`, (message) => {
    // Absolute amounts with a version: late and repeated ones change nothing.
    if (message.type !== "balance" || message.version <= newest) return;
    newest = message.version;
    const text = credits(message.paid + message.bonus);
    if (sum.textContent !== text) {
      sum.textContent = text;
      pill.classList.remove("changed");
      void pill.offsetWidth; // restarts the glint
      pill.classList.add("changed");
    }
    changed(message);
  });
}
