// Forms work as plain HTML; this makes some of them nicer.

const idempotent = "key"; // the field that makes a repeated money form harmless

/** Buttons with amounts that fill a field. */
export function amountButtons(form) {
  const row = form.querySelector("[data-amounts]");
  const field = form.elements.amount;
  if (!row || !field) return;
  row.classList.remove("hidden");
  const mark = () => {
    for (const button of row.children) {
      button.setAttribute("aria-pressed", String(button.value === field.value));
    }
  };
  row.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    field.value = button.value;
    mark();
  });
  field.addEventListener("input", mark);
}

/** Sends a form (and `more`, such as the button that was pressed) and returns the answer's JSON, or
    throws with a text for people. */
export async function send(form, fallback, more = {}) {
  const button = form.querySelector("[type=submit]");
  if (button) button.disabled = true;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { accept: "application/json" },
      body: new URLSearchParams([...new FormData(form), ...Object.entries(more)]),
    });
    const type = answer.headers.get("content-type") ?? "";
    const body = type.includes("json") ? await answer.json() : {};
    if (!answer.ok || !body.ok) throw new Error(body.error || fallback);
    if (body.key && form.elements[idempotent]) form.elements[idempotent].value = body.key;
    return body;
  } catch (error) {
    throw error instanceof TypeError ? new Error(fallback) : error;
  } finally {
    if (button) button.disabled = false;
  }
}

for (const form of document.querySelectorAll("[data-tip-form]")) amountButtons(form);
