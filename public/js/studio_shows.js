// The studio's page of shows: countdowns, the live meter, and a fresh page when something changed.
import { followBalance, session } from "./session.js";
import { countdowns, followShows, showMeter } from "./show.js";

const root = document.querySelector("[data-studio-shows]");
const strings = root.querySelector("[data-strings]").dataset;

countdowns(root, strings.seconds);
session();
followShows(root.dataset.me, root.dataset.studioShows);
showMeter(root, strings);
followBalance();
