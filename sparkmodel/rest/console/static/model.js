// SPDX-License-Identifier: Apache-2.0
// One model: what it does, who works for it, what was before, and what can be done.

import { actionsOf } from "./actions.js";
import { json, orProblem, pathOf, Problem } from "./api.js";
import { chart } from "./charts.js";
import { badge, bytes, button, count, duration, h, number, percent, show, table, time } from "./dom.js";
import { explained } from "./explained.js";
import { predictForm } from "./form.js";
import { stateOf } from "./models.js";

const MOST = 50; // events that are shown

const WORKERS = [
  ["Worker", (one) => [h("b", {}, one.pid ?? "–"), " ", one.answers === false && badge("bad", "does not answer")]],
  ["Version", (one) => `v${one.version}`],
  ["Node", (one) => h("span", { class: "clip", title: one.node }, one.node ?? "–")],
  ["Rows", (one) => count(one.rows), "number"],
  ["Batches", (one) => count(one.batches), "number"],
  ["Errors", (one) => h("span", { class: one.errors ? "bad-text" : "" }, count(one.errors)), "number"],
  ["Queued", (one) => count(one.queued), "number"],
  ["In the model", (one) => duration(one.predict_s), "number"],
  ["Loaded in", (one) => duration(one.load_s), "number"],
];
const MEMORY = ["Memory", (one) => bytes(one.memory_bytes), "number"];

const KINDS = { serving: "ok", canary: "warn", failed: "bad" };
const VERSIONS = [
  ["Version", (one) => h("b", {}, `v${one.version}`)],
  ["State", (one) => badge(KINDS[one.state] ?? "idle", one.state === "canary" && one.weight ? `canary ${percent(one.weight)}` : one.state)],
  ["Source", (one) => [h("span", { class: "break" }, one.source), one.note && h("span", { class: "beside" }, one.note)], "wide"],
  ["By", (one) => [one.by, one.intent && h("span", { class: "beside" }, one.intent)]],
  ["Since", (one) => time(one.since)],
  ["Rows", (one) => count(one.rows), "number"],
  ["Errors", (one) => h("span", { class: one.errors ? "bad-text" : "" }, one.error_rate ? percent(one.error_rate) : count(one.errors)), "number"],
  ["p95", (one) => duration(one.latency?.p95_s), "number"],
];

const SPARES = [
  ["Node", ([node]) => h("span", { class: "clip", title: node }, node)],
  ["Ready", ([, one]) => count(one.ready), "number"],
  ["Taken so far", ([, one]) => count(one.taken), "number"],
  ["Memory of their own", ([, one]) => bytes(one.memory_bytes), "number"],
];

const event = (one) => h("li", {}, time(one.time), h("span", { class: "tag" }, one.kind), h("span", { class: "break" }, one.text));

function facts(model) {
  const options = Object.entries(model.options ?? {}).map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const latency = model.latency ?? {};
  return h("dl", { class: "facts" }, [
    ["Source", model.source], ["Kind", model.kind], ["Signature", model.signature], ["Result", model.result_type],
    ["Options", options.join(", ") || "none beyond the defaults"],
    ["In the model", `p50 ${duration(latency.p50_s)}, p95 ${duration(latency.p95_s)}, p99 ${duration(latency.p99_s)} a batch`],
    ["Restarts", count(model.restarts)],
  ].map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", { class: "break" }, value ?? "–"))));
}

const lastError = (one) => one && h("details", { class: "explained", "data-key": "last-error" },
  h("summary", {}, "Last error ", time(one.at ?? one.time)),
  h("p", { class: "break" }, one.message), one.details && h("pre", { tabindex: "0", "aria-label": "Traceback" }, one.details));

const section = (title, ...children) => h("section", { class: "card" }, h("h2", {}, title), children);

/** The page of one model. */
export function detail(name) {
  const slots = Object.fromEntries(["head", "trouble", "workers", "versions", "events", "spares", "facts", "form"].map((key) => [key, h("div", { class: `part-${key}` })]));
  let seconds = 300;
  const rates = chart("Requests per second", [{ name: "requests", kind: "one" }, { name: "errors", kind: "bad" }], number);
  const times = chart("Latency at the gateway", [{ name: "p50", kind: "two" }, { name: "p99", kind: "one" }], (ms) => duration(ms / 1e3));
  const ranges = h("div", { class: "ranges", role: "group", "aria-label": "Time that charts show" }, [[300, "5 min"], [1800, "30 min"]].map(([range, text]) =>
    button(text, () => {
      seconds = range;
      for (const one of ranges.children) one.setAttribute("aria-pressed", String(one.textContent === text));
      dispatchEvent(new Event("changed"));
    }, { class: "small", "aria-pressed": String(range === seconds) })));
  const chartsProblem = h("div");
  const body = h("div", { class: "body", hidden: true },
    slots.trouble,
    h("section", { class: "card" }, h("div", { class: "head" }, h("h2", {}, "Live"), ranges), chartsProblem,
      h("div", { class: "charts" }, rates.element, times.element)),
    h("div", { class: "columns" },
      h("div", {}, section("Try it", slots.form)),
      h("div", {}, section("Events", slots.events), section("About", slots.facts))),
    section("Workers", slots.workers), section("Versions", slots.versions), section("Spare processes", slots.spares));
  const waiting = h("p", { class: "waiting" }, `Loading ${name}…`);
  const element = h("div", { class: "page" }, h("a", { href: "#/", class: "back" }, "← All models"), slots.head, waiting, body);

  const draw = (model, live, events) => {
    show(slots.head, [model.name, model.version, model.state, model.running, model.workers, model.canary, model.problem, model.comment, model.versions?.length], () => [
      h("div", { class: "head" },
        h("div", {}, h("h1", { tabindex: "-1" }, model.name), " ", badge(...stateOf(model)), h("span", { class: "tag" }, `v${model.version}`),
          model.canary && h("span", { class: "tag" }, `canary v${model.canary.version} ${percent(model.canary.traffic)}`)),
        h("div", { class: "buttons", role: "group", "aria-label": `Change ${model.name}` },
          actionsOf(model).map(([text, act, kind]) => button(text, act, { class: kind, "data-key": text })))),
      model.comment && h("p", { class: "comment" }, model.comment),
    ]);
    show(slots.trouble, [model.problem, model.last_error], () => [
      model.problem && h("div", { class: "notice bad", role: "alert" }, explained(new Problem(0, model.problem), "Workers are missing")),
      lastError(model.last_error)]);
    show(slots.facts, [model.source, model.kind, model.signature, model.result_type, model.options, model.latency, model.restarts], () => facts(model));
    const workers = model.workers_now ?? [];
    show(slots.workers, workers, () => workers.length
      ? table("Workers", workers.some((one) => Number.isFinite(one.memory_bytes)) ? [...WORKERS, MEMORY] : WORKERS, workers)
      : h("p", { class: "waiting" }, "No worker runs. The first call starts one."));
    const versions = [...(model.versions ?? [])].reverse();
    show(slots.versions, versions, () => table("Versions, newest first", VERSIONS, versions));
    const spares = Object.entries(model.spares ?? {});
    show(slots.spares, spares, () => spares.length ? table("Spare processes", SPARES, spares) : h("p", { class: "waiting" }, "None are kept."));
    show(slots.events, events instanceof Problem ? events.message : events, () => {
      if (events instanceof Problem) return explained(events, "Events cannot be shown");
      const some = (events.events ?? []).slice(0, MOST);
      return some.length ? h("ul", { class: "list", tabindex: "0", "aria-label": "Events, newest first" }, some.map(event)) : h("p", { class: "waiting" }, "Nothing has happened to it yet.");
    });
    show(slots.form, [model.name, model.example, model.inputs], () => predictForm(model));
    show(chartsProblem, live instanceof Problem ? live.message : "", () => live instanceof Problem && explained(live, "The charts cannot be drawn"));
    const known = live instanceof Problem ? { step_s: 5, models: {} } : live;
    const none = Array(Math.floor(seconds / known.step_s)).fill(null);
    const own = known.models[model.name] ?? { requests: none, errors: none, p50_ms: none, p99_ms: none };
    const rate = (values) => values.map((value) => (value === null ? null : value / known.step_s));
    rates.update([rate(own.requests), rate(own.errors)], known.step_s);
    times.update([own.p50_ms, own.p99_ms], known.step_s);
  };

  const refresh = async (signal) => {
    try {
      const [model, live, events] = await Promise.all([
        json(pathOf(name), { signal }),
        orProblem(json(`admin/live?seconds=${seconds}`, { signal })),
        orProblem(json(pathOf(name, "/events"), { signal })),
      ]);
      draw(model, live, events);
      body.hidden = false;
      waiting.hidden = true;
    } catch (error) {
      if (error.status !== 404) throw error;
      body.hidden = true;
      waiting.hidden = false;
      show(waiting, error.message, () => explained(error, `There is no model ${name}`));
    }
  };
  return { element, refresh, title: name };
}
