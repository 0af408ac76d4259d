// SPDX-License-Identifier: Apache-2.0
// Small line charts. A value that is not known is a gap, never a zero.

import { h } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 120;

/** The next round number: 1, 2 or 5 times a power of ten. */
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

/** The path of a line; a known value between two gaps is a short stroke. */
export function lineOf(values, most, width = WIDTH, height = HEIGHT) {
  const step = width / Math.max(values.length - 1, 1);
  let path = "";
  values.forEach((value, i) => {
    if (value === null || value === undefined) return;
    const [x, y] = [i * step, height - (value / most) * (height - 2) - 1].map((one) => one.toFixed(1));
    const begins = (values[i - 1] ?? null) === null;
    path += `${begins ? "M" : "L"}${x} ${y}`;
    if (begins && (values[i + 1] ?? null) === null) path += `h2`;
  });
  return path;
}

/** A line without axes, for a row of a table. */
export function spark(values, label) {
  const most = Math.max(...values, 0) || 1;
  return h("svg", { class: "spark", viewBox: "0 0 100 22", preserveAspectRatio: "none", role: "img", "aria-label": label },
    h("path", { d: lineOf(values, most, 100, 22), class: "line one" }));
}

/**
 * A chart that is updated in place.
 *
 * @param {string} title what it shows
 * @param {{name: string, kind: string}[]} lines at most three; `kind` is `one`, `two` or `bad`
 * @param {(value: number) => string} text a value as people read it
 */
export function chart(title, lines, text) {
  const paths = lines.map(({ kind }) => h("path", { class: `line ${kind}` }));
  const cursor = h("line", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  const grid = [0.25, 0.5, 0.75].map((part) =>
    h("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part }));
  const svg = h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title },
    grid, paths, cursor);
  const [top, begin, end] = [h("span", { class: "top" }), h("span"), h("span", {}, "now")];
  const nothing = h("span", { class: "nothing" }, "no requests in this time");
  const readings = lines.map(() => h("b"));
  const legend = lines.map(({ name, kind }, i) => h("span", { class: "key" }, h("i", { class: kind }), name, " ", readings[i]));
  const element = h("figure", { class: "chart" },
    h("figcaption", {}, h("span", { class: "title" }, title), h("span", { class: "legend" }, legend)),
    h("div", { class: "plot" }, svg, top, nothing),
    h("div", { class: "axis", "aria-hidden": "true" }, begin, end));
  let now = { series: lines.map(() => []), step_s: 5 };

  const last = (values) => values.at(-1) ?? null;
  const read = (place) => {
    now.series.forEach((values, i) => {
      const value = place === null ? last(values) : values[place] ?? null;
      readings[i].textContent = value === null ? "–" : text(value);
    });
    const of = now.series[0].length;
    end.textContent = place === null ? "now" : `${(of - place) * now.step_s} s ago`;
    const x = place === null ? -9 : (place * WIDTH) / Math.max(of - 1, 1);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
  };
  const placeOf = (event) => {
    const { left, width } = svg.getBoundingClientRect();
    const of = now.series[0].length;
    return of ? Math.min(of - 1, Math.max(0, Math.round(((event.clientX - left) / width) * (of - 1)))) : null;
  };
  let at = null;
  svg.addEventListener("pointermove", (event) => read((at = placeOf(event))));
  svg.addEventListener("pointerleave", () => read((at = null)));

  /** Show series, one for each line, of values a step apart; the newest last. */
  const update = (series, step_s) => {
    now = { series, step_s };
    const known = series.flat().filter((value) => value !== null);
    const most = roundUp(Math.max(...known, 0));
    series.forEach((values, i) => {
      const calm = lines[i].kind === "bad" && !values.some((value) => value > 0); // a red line along the ground alarms
      paths[i].setAttribute("d", calm ? "" : lineOf(values, most));
    });
    top.textContent = known.length ? text(most) : "";
    nothing.hidden = known.some((value) => value > 0);
    begin.textContent = `${Math.round((series[0].length * step_s) / 60)} min ago`;
    const words = lines.map(({ name }, i) => {
      const value = last(series[i]);
      return `${name} now ${value === null ? "unknown" : text(value)}, highest ${text(Math.max(...series[i].map((one) => one ?? 0), 0))}`;
    });
    svg.setAttribute("aria-label", `${title}: ${words.join("; ")}`);
    read(at);
  };
  return { element, update };
}
