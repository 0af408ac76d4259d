// SPDX-License-Identifier: Apache-2.0
// The page: which part of it is shown, and when it asks again.

import { Problem, token } from "./api.js";
import { askForToken } from "./dialogs.js";
import { button, h, show } from "./dom.js";
import { explained } from "./explained.js";
import { detail } from "./model.js";
import { overview } from "./models.js";

const EVERY_S = 3;
const LONGEST_S = 15;
const main = document.getElementById("main");
const banner = document.getElementById("banner");
const pulse = document.getElementById("pulse");
const pulseText = document.getElementById("pulse-text");
const tokenButton = document.getElementById("token");

let view = null;
let timer = 0;
let asking = null;
let failures = 0;

/** Ask once, and again later: more seldom while nobody answers, not at all while nobody looks. */
async function turn() {
  clearTimeout(timer);
  asking?.abort();
  if (document.hidden) return;
  const controller = new AbortController();
  asking = controller;
  let wait = EVERY_S;
  try {
    await view.refresh(controller.signal);
    if (controller.signal.aborted) return;
    failures = 0;
    tell(null);
  } catch (error) {
    if (controller.signal.aborted) return;
    failures += 1;
    wait = Math.min(EVERY_S * 2 ** Math.min(failures - 1, 5), LONGEST_S);
    tell(error instanceof Problem ? error : new Problem(-1, `The console itself failed: ${error.message}`), wait);
    if (error.status === 401 || error.status === 403) return; // no use to ask again with the same token
  }
  timer = setTimeout(turn, wait * 1000);
}

/** Show how it stands with the gateway. */
function tell(problem, wait = 0) {
  main.classList.toggle("stale", problem !== null);
  pulse.className = problem ? "pulse bad" : "pulse ok";
  const denied = problem?.status === 401 || problem?.status === 403;
  main.hidden = denied; // what one token may see is not for the next
  pulseText.textContent = !problem ? "live" : denied ? "no access" : "not live";
  tokenButton.textContent = token.get() ? "Change token" : "Enter token";
  show(banner, problem && [problem.message, problem.status, failures], () => {
    if (!problem) return null;
    const title = problem.status === 401 ? "This gateway wants a token"
      : problem.status === 403 ? "This token may not look at models"
        : problem.status === 0 ? "The gateway does not answer" : "The gateway cannot tell";
    const next = denied ? null : h("p", { class: "hint" }, `Tried ${failures === 1 ? "once" : `${failures} times`}; next in ${wait} s. What is below was so before.`);
    const help = denied
      ? button(problem.status === 401 ? "Enter token" : "Use another token", () => askForToken(), { class: "primary", "data-key": "help" })
      : button("Try now", turn, { "data-key": "help" });
    return h("div", { class: "notice bad" }, h("div", {}, explained(problem, title), next), help);
  });
}

function go() {
  const [, name] = /^#\/models\/([^/]+)$/.exec(location.hash) ?? [];
  const again = view !== null;
  let decoded;
  try {
    decoded = name && decodeURIComponent(name);
  } catch {
    decoded = name; // a stray %
  }
  view = decoded ? detail(decoded) : overview();
  document.title = `${view.title} · sparkmodel`;
  main.replaceChildren(view.element);
  if (again) {
    scrollTo(0, 0);
    (main.querySelector("h1") ?? main).focus(); // screen readers begin at the new page
  }
  turn();
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash is the address of a model
  main.focus();
});
tokenButton.addEventListener("click", () => askForToken());
addEventListener("hashchange", go);
addEventListener("token", turn);
addEventListener("changed", turn);
document.addEventListener("visibilitychange", turn);
go();
