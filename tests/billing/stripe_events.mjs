// Events as Stripe signs them, made with Stripe's own library, and forged or stale ones. Reads
// { secret, now, events: [object, …] } from standard input and writes { good: […], bad: […] } of
// { name, header, body }: the first must be accepted, the others refused.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import Stripe from "stripe";

const { secret, now, events } = JSON.parse(readFileSync(0, "utf8"));
const stripe = new Stripe("sk_test_none");
const sign = (payload, more = {}) =>
  stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: now, ...more });
const mac = (key, text, encoding = "hex") => createHmac("sha256", key).update(text).digest(encoding);

const good = events.map((event) => {
  const body = JSON.stringify(event, null, 2);
  const header = sign(body);
  stripe.webhooks.constructEvent(body, header, secret, 300, undefined, now * 1000); // it is what we think
  return { name: event.type, header, body };
});

const body = JSON.stringify(events[0]);
const other = JSON.stringify({ ...events[0], id: "evt_other" });
const right = mac(secret, `${now}.${body}`);
const bad = [
  ["no signature at all", "", body],
  ["the key of somebody else", sign(body, { secret: "whsec_of_somebody_else" }), body],
  ["an amount that was changed", sign(body), body.replace('"amount_total":', '"amount_total":1')],
  ["a line feed at the end", sign(body), `${body}\n`],
  ["the signature of another event", sign(other), body],
  ["ten minutes old", sign(body, { timestamp: now - 600 }), body],
  ["ten minutes ahead", sign(body, { timestamp: now + 600 }), body],
  ["an old signature with a new time", sign(body, { timestamp: now - 600 }).replace(/t=\d+/, `t=${now}`), body],
  ["a signature of the body without the time", `t=${now},v1=${mac(secret, body)}`, body],
  ["a signature of nothing", `t=${now},v1=${mac(secret, `${now}.`)}`, body],
  ["a signature that is cut short", `t=${now},v1=${right.slice(0, 32)}`, body],
  ["an empty signature", `t=${now},v1=`, body],
  ["a signature in base64", `t=${now},v1=${mac(secret, `${now}.${body}`, "base64")}`, body],
  ["the scheme v0 only", `t=${now},v0=${right}`, body],
  ["no time", `v1=${right}`, body],
  ["two times", `t=${now - 600},t=${now},v1=${right}`, body],
  ["a time that is no number", `t=0x${now.toString(16)},v1=${right}`, body],
  ["the empty key", `t=${now},v1=${mac("", `${now}.${body}`)}`, body],
].map(([name, header, text]) => ({ name, header, body: text }));

process.stdout.write(JSON.stringify({ good, bad }));
