// SPDX-License-Identifier: Apache-2.0
// Errors, as people can read them: what failed, the condition to look up, what to do.

import { h } from "./dom.js";

/** A Problem in full. */
export function explained(problem, title = "") {
  return h("div", { class: "explained" },
    title && h("strong", {}, title),
    h("p", {}, problem.condition && h("code", { class: "condition" }, problem.condition), problem.message),
    problem.hint && h("p", { class: "hint" }, h("b", {}, "Hint "), problem.hint));
}

const toasts = () => document.getElementById("toasts");

/** Say in passing what has come of something; a failure stays until it is dismissed. */
export function toast(text, problem) {
  const away = () => one.remove();
  const close = h("button", { type: "button", class: "small", "aria-label": "Dismiss", on: { click: away } }, "✕");
  const one = h("div", { class: `toast ${problem ? "bad" : "ok"}` }, problem ? explained(problem, text) : h("p", {}, text), close);
  while (toasts().children.length > 3) toasts().firstChild.remove();
  toasts().append(one);
  if (!problem) setTimeout(away, 8000);
}
