// SPDX-License-Identifier: Apache-2.0
// Dialogs: the browser's own, which keep the focus and end with Escape.

import { Problem, token } from "./api.js";
import { button, h } from "./dom.js";
import { explained, toast } from "./explained.js";

let made = 0; // for ids

/**
 * Ask for something, do it, and show how it goes.
 *
 * @param {object} what
 * @param {string} what.title
 * @param {(Node|string)[]} what.content fields, and words about them
 * @param {string} what.verb on the button that does it
 * @param {() => Promise<string>} what.act does it; gives what is to be said of it
 * @param {boolean} what.dangerous
 * @returns {Promise<boolean>} whether it was done
 */
export function dialog({ title, content, verb, act, dangerous = false }) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const id = `dialog-${++made}`;
    const said = h("div", { class: "said", role: "alert" });
    const progress = h("p", { class: "progress", role: "status", hidden: true });
    const cancel = button("Cancel", () => box.close());
    const go = h("button", { type: "submit", class: dangerous ? "danger" : "primary" }, verb);
    const form = h("form", {}, h("h2", { id }, title), h("div", { class: "fields" }, content),
      progress, said, h("div", { class: "buttons" }, cancel, go));
    const box = h("dialog", { "aria-labelledby": id }, form);
    let done = false;

    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      said.replaceChildren();
      go.disabled = true;
      cancel.textContent = "Close";
      const since = Date.now();
      const tick = () => {
        const seconds = Math.round((Date.now() - since) / 1000);
        progress.replaceChildren(h("span", { class: "spinner", "aria-hidden": "true" }), `Working… ${seconds ? `${seconds} s` : ""}`);
      };
      tick();
      progress.hidden = false;
      const ticking = setInterval(tick, 1000);
      try {
        const text = await act();
        done = true;
        if (text) toast(text);
        box.close();
      } catch (error) {
        const problem = error instanceof Problem ? error : new Problem(0, String(error.message ?? error));
        if (box.open) said.replaceChildren(explained(problem), ...againWithToken(problem));
        else toast(`${title}: it failed`, problem); // it was closed meanwhile
      } finally {
        clearInterval(ticking);
        progress.hidden = true;
        go.disabled = false;
        cancel.textContent = "Cancel";
      }
    });
    box.addEventListener("keydown", (event) => event.key === "Tab" && turn(event, box));
    box.addEventListener("close", () => {
      box.remove();
      if (before?.isConnected) before.focus();
      resolve(done);
    });
    document.body.append(box);
    box.showModal();
    (box.querySelector("input, select, textarea") ?? go).focus();
  });
}

/** From the last element to the first one, and back, instead of out of the page. */
function turn(event, box) {
  const all = [...box.querySelectorAll("button, input, select, textarea")].filter((one) => !one.disabled && one.offsetParent);
  const [from, to] = event.shiftKey ? [all[0], all.at(-1)] : [all.at(-1), all[0]];
  if (document.activeElement !== from) return;
  event.preventDefault();
  to.focus();
}

const againWithToken = ({ status }) =>
  status === 401 || status === 403 ? [button("Use another token", () => askForToken(), { class: "small" })] : [];

/** A labelled field. */
export function field(label, control, help = "") {
  const id = `field-${++made}`;
  control.setAttribute("id", id);
  if (help) control.setAttribute("aria-describedby", `${id}-help`);
  return h("div", { class: "field" }, h("label", { for: id }, label), control,
    help && h("small", { id: `${id}-help` }, help));
}

/** Ask for the token of this tab. */
export function askForToken(why = "") {
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true });
  return dialog({
    title: "Token of the gateway",
    content: [
      why && h("p", {}, why),
      field("Token", input, "Kept in this tab only, until it is closed. Changes need one with the scope admin."),
    ],
    verb: "Use token",
    act: async () => {
      token.set(input.value.trim());
      dispatchEvent(new Event("token"));
      return "";
    },
  });
}
