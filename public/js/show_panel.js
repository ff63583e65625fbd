// The panel of shows on a model's pages: requests come in while she broadcasts, and are answered without
// leaving the page.
import { send } from "./forms.js";
import { followShows } from "./show.js";

const area = document.querySelector("[data-show-panel]");
const plain = document.title;

function changed() {
  // In the tab too: she may have another window in front.
  const asking = area.querySelector("[data-request]");
  document.title = asking ? `● ${asking.dataset.request} – ${plain}` : plain;
}

if (area) {
  const strings = area.parentElement.querySelector("[data-panel-strings]").dataset;
  const { refresh } = followShows(area, {
    address: area.dataset.address, account: area.dataset.account, slug: area.dataset.showPanel, strings, changed,
  });
  area.addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = event.submitter;
    let text = "";
    try {
      await send(event.target, strings.failed, { [data.name]: data.value });
    } catch (error) {
      text = error.message;
    }
    await refresh();
    area.querySelector("[data-panel-problem]").textContent = text;
  });
}
