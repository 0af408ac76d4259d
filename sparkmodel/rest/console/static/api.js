// SPDX-License-Identifier: Apache-2.0
// Requests to the gateway, and the errors that it answers.

const ROOT = new URL("..", import.meta.url); // of the gateway, wherever a proxy has it
const KEY = "sparkmodel-token";

/** The token of this tab: it ends with the tab, and is never part of an address. */
export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** What the gateway says is wrong; status 0 if it says nothing. */
export class Problem extends Error {
  constructor(status, message, condition = "") {
    const parts = /^(?:\[(\w+)\]\s*)?(.*?)(?:\s*Hint: (.*))?$/s.exec(message);
    super(parts[2]);
    this.status = status;
    this.condition = parts[1] ?? condition;
    this.hint = parts[3] ?? "";
  }
}

/** Send a request; the response, or a Problem. Without a limit it waits as long as the gateway works. */
export async function send(path, { method = "GET", body, signal, limit_s = 15 } = {}) {
  const headers = new Headers();
  if (token.get()) headers.set("Authorization", `Bearer ${token.get()}`);
  if (body !== undefined) headers.set("Content-Type", "application/json");
  const signals = [signal, limit_s ? AbortSignal.timeout(limit_s * 1000) : undefined].filter(Boolean);
  const ask = { method, headers, body, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.any(signals) };
  let response;
  let text;
  try {
    response = await fetch(new URL(path, ROOT), ask);
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error; // by ourselves: whoever did it knows
    const late = error.name === "TimeoutError";
    throw new Problem(0, late ? `The gateway did not answer within ${limit_s} s.` : "The gateway cannot be reached.");
  }
  if (!response.ok) throw problemOf(response.status, text);
  return { text, headers: response.headers };
}

/** The JSON that a request is answered with. */
export async function json(path, options) {
  const { text } = await send(path, options);
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem(502, `What answers at '${path}' is no gateway: it sent no JSON.`);
  }
}

/** A change; it may take as long as a model loads. */
export const change = (method, path, body) =>
  json(path, { method, body: body && JSON.stringify(body), limit_s: 0 });

export const pathOf = (name, rest = "") => `admin/models/${encodeURIComponent(name)}${rest}`;

/** The value, or the Problem in its place: one part of the page may fail alone. */
export const orProblem = (promise) =>
  promise.catch((error) => {
    if (error instanceof Problem) return error;
    throw error;
  });

function problemOf(status, text) {
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    said = {}; // a proxy's page
  }
  const message = said?.message ?? said?.error ?? said?.detail;
  return new Problem(status, typeof message === "string" && message ? message : `It answered ${status}.`, said?.condition);
}
