// What is said while there is no connection: it waits for one, but not for ever.
import { failure } from "./socket.js";

const MOST = 20;
const LIMIT = 60000; // ms

export function outbox() {
  let items = [];

  /** A promise of what send() will make of the body once it goes out. */
  function hold(body) {
    if (items.length >= MOST) return Promise.reject(failure("offline", "Not connected."));
    return new Promise((resolve, reject) => {
      const item = { body, resolve, reject };
      item.timer = setTimeout(() => {
        items = items.filter((other) => other !== item);
        reject(failure("offline", "Not connected; the message was not sent."));
      }, LIMIT);
      items.push(item);
    });
  }

  function flush(send) {
    for (const item of items.splice(0)) {
      clearTimeout(item.timer);
      send(item.body).then(item.resolve, item.reject);
    }
  }

  function refuse(error) {
    flush(() => Promise.reject(error));
  }

  return { hold, flush, refuse };
}
