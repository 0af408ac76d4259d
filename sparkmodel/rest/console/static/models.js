// SPDX-License-Identifier: Apache-2.0
// What all models are doing: the first page.

import { json, orProblem, Problem } from "./api.js";
import { chart, spark } from "./charts.js";
import { badge, copyable, count, duration, h, number, percent, show, table } from "./dom.js";
import { explained } from "./explained.js";

/** A model's state in a word, and how good it is. A cold model has no workers and needs none yet. */
export function stateOf(card) {
  if (card.problem) return ["bad", "degraded"];
  if (card.state === "ready") {
    const least = Number.parseInt(card.workers, 10);
    return card.running < least ? ["warn", "starting"] : ["ok", "ready"];
  }
  if (card.state === "loading" || card.state === "placing") return ["warn", card.state];
  return [card.state === "failed" ? "bad" : "idle", card.state ?? "unknown"];
}

/** The last reading of a model: requests a second, errors a minute, p99 in seconds. */
function readings(figures, step_s) {
  if (!figures) return { rate: null, errors: 0, p99: null };
  const latest = figures.p99_ms.slice(-12).filter((value) => value !== null).at(-1);
  return {
    rate: (figures.requests.at(-1) ?? 0) / step_s,
    errors: figures.errors.slice(-60 / step_s).reduce((sum, one) => sum + one, 0),
    p99: latest === undefined ? null : latest / 1e3,
  };
}

export const linkOf = (name) => `#/models/${encodeURIComponent(name)}`;

const canaryOf = ({ canary }) => canary && h("span", { class: "tag" }, `canary v${canary.version} ${percent(canary.traffic)}`);

const COLUMNS = [
  ["Model", ({ card }) => [h("a", { href: linkOf(card.name), "data-key": card.name, class: "name" }, card.name),
    card.comment && h("span", { class: "beside" }, card.comment)], "wide"],
  ["State", ({ card }) => badge(...stateOf(card))],
  ["Version", ({ card }) => [`v${card.version} `, canaryOf(card)]],
  ["Workers", ({ card }) => `${count(card.running)} of ${card.workers}`, "number"],
  ["Requests/s", ({ rate }) => number(rate), "number"],
  ["Last 5 min", ({ card, requests }) => (requests ? spark(requests, `Requests to ${card.name} in the last 5 minutes`) : "–")],
  ["p99", ({ p99 }) => duration(p99 ?? NaN), "number"],
  ["Errors/min", ({ errors }) => h("span", { class: errors ? "bad-text" : "" }, count(errors)), "number"],
  ["Rows", ({ card }) => count(card.rows), "number"],
];

function empty() {
  return h("section", { class: "card empty" },
    h("h2", {}, "No model is served yet"),
    h("p", {}, "Register one, and it shows up here within seconds. From a shell:"),
    copyable("sparkmodel register wine models:/wine/1", "shell command"),
    h("p", {}, "or from Python, with a Spark session:"),
    copyable('sm.register(spark, "wine", "models:/wine/1")', "Python line"));
}

const sum = (figures, key) =>
  figures.length ? figures[0][key].map((_, i) => figures.reduce((total, one) => total + one[key][i], 0)) : [];

/** The page of all models. */
export function overview() {
  const numbers = h("dl", { class: "numbers" });
  const filter = h("input", { type: "search", id: "filter", placeholder: "Filter by name or comment", autocomplete: "off" });
  const list = h("div", { class: "card flush", id: "models" }, h("p", { class: "waiting" }, "Loading models…"));
  const rates = chart("Requests per second, all models", [{ name: "requests", kind: "one" }, { name: "errors", kind: "bad" }], number);
  const figuresAside = h("section", { class: "card", hidden: true }, rates.element);
  const tools = h("div", { class: "tools", hidden: true }, h("label", { for: "filter", class: "unseen" }, "Filter models"), filter);
  const element = h("div", { class: "page" },
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Models"), tools), numbers, figuresAside, list);
  let rows = [];

  const draw = () => {
    const words = filter.value.trim().toLowerCase();
    const chosen = rows.filter(({ card }) => `${card.name} ${card.comment ?? ""}`.toLowerCase().includes(words));
    show(list, [chosen, rows.length], () => {
      if (!rows.length) return empty();
      return chosen.length ? table("Models", COLUMNS, chosen) : h("p", { class: "waiting" }, "No model matches the filter.");
    });
    list.classList.toggle("bare", !rows.length);
  };
  filter.addEventListener("input", draw);

  const refresh = async (signal) => {
    const [{ models = [] }, live] = await Promise.all([
      json("admin/models", { signal }),
      orProblem(json("admin/live?seconds=300", { signal })),
    ]);
    const known = live instanceof Problem ? { step_s: 5, models: {} } : live;
    rows = models.map((card) => {
      const figures = known.models[card.name];
      return { card, requests: figures?.requests, ...readings(figures, known.step_s) };
    });
    const total = (key) => rows.reduce((all, row) => all + (row[key] ?? 0), 0);
    const troubled = rows.filter(({ card }) => stateOf(card)[0] === "bad").length;
    show(numbers, [rows.length, troubled, rows.map(({ card }) => card.running), total("rate"), total("errors")], () => rows.length > 0 && [
      ["Models", count(rows.length)],
      ["Degraded", h("span", { class: troubled ? "bad-text" : "" }, count(troubled))],
      ["Workers running", count(rows.reduce((all, { card }) => all + (card.running ?? 0), 0))],
      ["Requests/s", number(total("rate"))],
      ["Errors/min", h("span", { class: total("errors") ? "bad-text" : "" }, count(total("errors")))],
    ].map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
    tools.hidden = figuresAside.hidden = !rows.length;
    const all = Object.values(known.models);
    const rate = (key) => sum(all, key).map((value) => value / known.step_s);
    if (live instanceof Problem) show(figuresAside, live.message, () => explained(live, "The charts cannot be drawn"));
    else rates.update([rate("requests"), rate("errors")], known.step_s);
    draw();
  };
  return { element, refresh, title: "Models" };
}
