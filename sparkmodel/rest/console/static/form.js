// SPDX-License-Identifier: Apache-2.0
// A form that calls a model: with its input example, or with fields made from its signature.

import { Problem, send } from "./api.js";
import { button, duration, h } from "./dom.js";
import { explained } from "./explained.js";
import { field } from "./dialogs.js";

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const NUMERIC = /^(tinyint|smallint|int|bigint|float|double|decimal)/i;
const MOST = 20000;

/** JSON with line breaks. Only spaces are changed: a number stays as it was written, whatever a double makes of it. */
export function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s"[\]{},:]+/g);
  const broken = []; // of each container that is open, whether its members have lines of their own
  const line = () => `\n${" ".repeat(broken.length)}`;
  return tokens.map((token, i) => {
    if (token === "{" || token === "[") {
      broken.push(token === "{" ? tokens[i + 1] !== "}" : "[{".includes(tokens[i + 1]));
      return token + (broken.at(-1) ? line() : "");
    }
    if (token === "}" || token === "]") return (broken.pop() ? line() : "") + token;
    if (token === ",") return broken.at(-1) ? `,${line()}` : ", ";
    return token === ":" ? ": " : token;
  }).join("");
}

/** One value of a row as JSON text; a number stays as it was typed, whatever its length. */
function valueOf({ name, type, required }, text) {
  const typed = text.trim();
  if (typed === "") {
    if (required === false) return "null";
    throw new Problem(0, `Cannot send '${name}': it is required and empty.`);
  }
  if (NUMERIC.test(type ?? "")) {
    if (!NUMBER.test(typed)) throw new Problem(0, `Cannot send '${name}': '${typed}' is no number.`);
    return typed;
  }
  if (/^boolean/i.test(type ?? "")) return typed === "true" ? "true" : "false";
  if (/^(array|struct|map)/i.test(type ?? "")) {
    try {
      JSON.parse(typed);
      return typed;
    } catch {
      throw new Problem(0, `Cannot send '${name}': '${typed}' is not JSON.`);
    }
  }
  return JSON.stringify(text);
}

function fieldsOf(inputs) {
  const made = inputs.map((input) => {
    const control = /^boolean/i.test(input.type ?? "")
      ? h("select", {}, h("option", { value: "" }, ""), h("option", {}, "true"), h("option", {}, "false"))
      : h("input", { type: "text", autocomplete: "off", spellcheck: "false", inputmode: NUMERIC.test(input.type ?? "") ? "decimal" : "text" });
    return { input, control, element: field(input.name, control, `${input.type ?? "any"}${input.required === false ? ", may be empty" : ""}`) };
  });
  const body = () => {
    const columns = JSON.stringify(inputs.map(({ name }) => name));
    const row = made.map(({ input, control }) => valueOf(input, control.value)).join(", ");
    return `{"dataframe_split": {"columns": ${columns}, "data": [[${row}]]}}`;
  };
  return { element: h("div", { class: "inputs" }, made.map(({ element }) => element)), body };
}

/** The form of a model. It is made once: what is typed stays while the page goes on. */
export function predictForm(card) {
  const named = card.inputs?.length > 0 && card.inputs.every(({ name }) => name);
  const text = h("textarea", { spellcheck: "false", autocomplete: "off" });
  text.value = card.example ? pretty(card.example) : '{"inputs": []}';
  text.rows = Math.min(16, text.value.split("\n").length + 1);
  const asText = field("Request, JSON", text, card.example ? "The input example that the model was registered with." : "One of MLflow's forms: dataframe_split, dataframe_records, instances or inputs.");
  const fields = named && !card.example ? fieldsOf(card.inputs) : null;
  asText.hidden = fields !== null;
  const answer = h("div", { class: "answer", role: "status" });
  const go = h("button", { type: "submit", class: "primary" }, "Predict");
  const switched = fields && button("Edit as JSON", () => {
    try {
      text.value = fields.body();
    } catch {
      text.value = `{"dataframe_split": {"columns": ${JSON.stringify(card.inputs.map(({ name }) => name))}, "data": [[]]}}`;
    }
    fields.element.remove();
    switched.remove();
    asText.hidden = false;
    text.focus();
  });
  const form = h("form", { class: "predict" }, fields?.element, asText, h("div", { class: "buttons" }, switched, go), answer);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    const since = performance.now();
    const taken = () => duration((performance.now() - since) / 1e3);
    try {
      const body = asText.hidden ? fields.body() : text.value;
      const path = `models/${encodeURIComponent(card.name)}/invocations`;
      const got = await send(path, { method: "POST", body, limit_s: 120 });
      const shown = got.text.length > MOST ? `${got.text.slice(0, MOST)}\n… ${got.text.length - MOST} characters more` : pretty(got.text);
      answer.replaceChildren(
        h("p", { class: "meta" }, h("b", {}, "Answer"), ` v${got.headers.get("X-Model-Version") ?? "?"} · ${taken()}`),
        h("pre", { tabindex: "0", "aria-label": "Answer" }, shown));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      answer.replaceChildren(explained(error, error.status ? `Answered ${error.status} after ${taken()}` : ""));
    } finally {
      go.disabled = false;
    }
  });
  return form;
}
