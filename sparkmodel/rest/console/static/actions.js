// SPDX-License-Identifier: Apache-2.0
// What an administrator can do with a model.

import { change, pathOf, Problem, token } from "./api.js";
import { askForToken, dialog, field } from "./dialogs.js";
import { count, h, percent } from "./dom.js";

const DONE = () => dispatchEvent(new Event("changed"));

/** Open a dialog, after asking for the token if there is none yet. */
async function changing(model, make) {
  if (!token.get() && !(await askForToken("Changes need a token with the scope admin."))) return;
  if (await dialog(make(model))) DONE();
}

const whole = (input) => (input.value.trim() === "" ? undefined : Number(input.value));
const share = (input) => (input.value.trim() === "" ? undefined : Number(input.value) / 100);

function updating(model) {
  const source = h("input", { type: "text", placeholder: model.source, autocomplete: "off", spellcheck: "false" });
  const swap = h("input", { type: "radio", name: "how", id: "how-swap", checked: true });
  const canary = h("input", { type: "radio", name: "how", id: "how-canary" });
  const traffic = h("input", { type: "number", min: 0.1, max: 99.9, step: "any", value: 10 });
  const errors = h("input", { type: "number", min: 0, max: 100, step: "any" });
  const more = h("div", { class: "pair", hidden: true },
    field("Share of calls, %", traffic), field("Most errors, %", errors, "Beyond this the canary is ended."));
  for (const one of [swap, canary]) {
    one.addEventListener("change", () => {
      more.hidden = !canary.checked;
      traffic.required = canary.checked;
    });
  }
  return {
    title: `Update ${model.name}`,
    content: [
      field("New source", source, "Such as models:/wine/2. Empty: what the present source means now."),
      h("fieldset", {}, h("legend", {}, "How"),
        h("label", { class: "choice", for: "how-swap" }, swap, "Swap: all calls, once its workers are loaded"),
        h("label", { class: "choice", for: "how-canary" }, canary, "Canary: a share of calls, beside the present version")),
      more,
    ],
    verb: "Update",
    act: async () => {
      const body = { source: source.value.trim() || undefined };
      if (canary.checked) Object.assign(body, { traffic: share(traffic), max_error_rate: share(errors) });
      const card = await change("POST", pathOf(model.name, "/update"), body);
      return canary.checked && card.canary
        ? `${model.name}: canary v${card.canary.version} gets ${percent(card.canary.traffic)} of calls.`
        : `${model.name} serves v${card.version}.`;
    },
  };
}

function scaling(model) {
  const [low, high = ""] = String(model.workers).split("..");
  const least = h("input", { type: "number", min: 0, max: 10000, step: 1, required: true, value: low });
  const most = h("input", { type: "number", min: 1, max: 10000, step: 1, value: high });
  return {
    title: `Scale ${model.name}`,
    content: [
      h("div", { class: "pair" }, field("Workers", least, "At least."), field("At most", most, "Empty: always as many.")),
      h("p", { class: "hint" }, `${count(model.running)} run now.`),
    ],
    verb: "Scale",
    act: async () => {
      const [from, to] = [whole(least), whole(most)];
      if (to !== undefined && to < from) throw new Problem(0, "At most is less than at least.");
      const workers = to === undefined || to === from ? from : [from, to];
      const card = await change("POST", pathOf(model.name, "/scale"), { workers });
      return `${model.name}: ${card.workers} workers.`;
    },
  };
}

function rollingBack(model) {
  const others = [...new Set((model.versions ?? []).map(({ version }) => version))].filter((one) => one !== model.version);
  const to = h("select", {}, h("option", { value: "" }, "the one before"),
    others.reverse().map((version) => h("option", { value: version }, `v${version}`)));
  return {
    title: `Roll back ${model.name}`,
    content: [field("Version that is to serve again", to),
      h("p", { class: "hint" }, `v${model.version} serves now${model.canary ? `; its canary v${model.canary.version} ends` : ""}.`)],
    verb: "Roll back",
    act: async () => {
      const card = await change("POST", pathOf(model.name, "/rollback"), to.value ? { to: Number(to.value) } : {});
      return `${model.name} serves v${card.version}.`;
    },
  };
}

const promoting = (model) => ({
  title: `Promote the canary of ${model.name}`,
  content: [h("p", {}, `v${model.canary.version} has ${percent(model.canary.traffic)} of calls; it is to get all of them, instead of v${model.version}.`)],
  verb: "Promote",
  act: async () => {
    const card = await change("POST", pathOf(model.name, "/promote"), {});
    return `${model.name} serves v${card.version}.`;
  },
});

function dropping(model) {
  const name = h("input", { type: "text", autocomplete: "off", spellcheck: "false", required: true });
  return {
    title: `Drop ${model.name}`,
    content: [
      h("p", {}, "Its workers end, and calls of it fail from then on. This cannot be taken back."),
      field(`Type ${model.name} to confirm`, name),
    ],
    verb: "Drop model",
    dangerous: true,
    act: async () => {
      if (name.value !== model.name) throw new Problem(0, "That is not its name.");
      await change("DELETE", pathOf(model.name));
      location.hash = "#/";
      return `${model.name} is dropped.`;
    },
  };
}

/** The actions that make sense for a model now: `[text, what happens, class]`. */
export function actionsOf(model) {
  const of = (make) => () => changing(model, make);
  return [
    model.canary && ["Promote canary", of(promoting), "primary"],
    ["Update", of(updating), ""],
    ["Scale", of(scaling), ""],
    (model.version > 1 || model.canary) && ["Roll back", of(rollingBack), ""],
    ["Drop", of(dropping), "danger-quiet"],
  ].filter(Boolean);
}
