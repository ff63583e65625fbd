// The studio's page of shows: the balance in the header, and a fresh page when a group or ticket show moves.
import { followBalance, session } from "./session.js";

const root = document.querySelector("[data-studio-shows]");
const planned = root.querySelector("[data-planned]");

session().subscribe(`user:${root.dataset.me}`, async (message) => {
  if (message.type !== "show" || message.kind === "private") return;
  const answer = await fetch(location.pathname, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  // Only this part: what she is typing below stays.
  planned.replaceChildren(...page.querySelector("[data-planned]").childNodes);
});
followBalance();
