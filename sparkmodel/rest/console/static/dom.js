// SPDX-License-Identifier: Apache-2.0
// Elements and texts. Text becomes a text node, never markup: names, comments and errors are other people's words.

const SVG = new Set(["svg", "path", "line"]);

/** An element. `on` has listeners, `data` a key by which it is found again; other properties are attributes. */
export function h(tag, properties = {}, ...children) {
  const element = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

const shown = new WeakMap();

/** Show data in a container; what has not changed is not touched, so that focus and selection stay. */
export function show(container, data, make) {
  const key = JSON.stringify(data);
  if (shown.get(container) === key) return;
  shown.set(container, key);
  const focused = container.contains(document.activeElement) ? document.activeElement.getAttribute("data-key") : null;
  const open = [...container.querySelectorAll("details[open][data-key]")].map((one) => one.getAttribute("data-key"));
  container.replaceChildren(...[make(data)].flat(Infinity).filter(Boolean));
  for (const one of container.querySelectorAll("details[data-key]")) one.open = open.includes(one.getAttribute("data-key"));
  if (focused !== null) container.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** A short word with a dot: `ok`, `warn`, `bad` or `idle`. */
export const badge = (kind, text) => h("span", { class: `badge ${kind}` }, h("span", { class: "dot", "aria-hidden": "true" }), text);

export const button = (text, listener, properties = {}) =>
  h("button", { type: "button", ...properties, on: { click: listener } }, text);

/** A table: `columns` are `[title, cell of a row, "number" or other class]`. On small screens rows become cards. */
export function table(label, columns, rows) {
  const head = columns.map(([title, , kind]) => h("th", { scope: "col", class: kind, role: "columnheader" }, title));
  const body = rows.map((row) =>
    h("tr", { role: "row" }, columns.map(([title, cell, kind]) => h("td", { class: kind, role: "cell", "data-title": title }, cell(row)))));
  // the roles are told, as what is laid out as a card is no table to the browser
  return h("table", { "aria-label": label, role: "table" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)), h("tbody", { role: "rowgroup" }, body));
}

/** A line to copy. */
export function copyable(text, what) {
  const code = h("code", {}, text);
  const copy = button("Copy", async () => {
    const selection = getSelection();
    selection.selectAllChildren(code); // also what is left to do where a page may not write to the clipboard
    const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    copy.textContent = copied ? "Copied" : "Selected";
  }, { class: "small", "aria-label": `Copy: ${what}` });
  return h("div", { class: "copyable" }, code, copy);
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const moment = new Intl.DateTimeFormat("en", {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const NONE = "–";

export const count = (value) => (Number.isFinite(value) ? whole.format(value) : NONE);
export const number = (value) => (Number.isFinite(value) ? (value >= 100 ? whole : short).format(value) : NONE);
export const percent = (share) => (Number.isFinite(share) ? `${short.format(share * 100)}%` : NONE);

/** Seconds, in the unit that suits them. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  if (seconds < 0.001) return `${short.format(seconds * 1e6)} µs`;
  return seconds < 1 ? `${short.format(seconds * 1e3)} ms` : `${short.format(seconds)} s`;
}

export const bytes = (value) => (Number.isFinite(value) ? `${short.format(value / 2 ** 20)} MB` : NONE);

/** A point in time: seconds since 1970, or ISO 8601. */
export function time(value) {
  const date = new Date(typeof value === "number" ? value * 1000 : value ?? NaN);
  if (Number.isNaN(date.valueOf())) return NONE;
  return h("time", { datetime: date.toISOString(), title: date.toISOString() }, moment.format(date));
}
