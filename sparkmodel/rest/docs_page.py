# SPDX-License-Identifier: Apache-2.0
"""The page at `/docs`: lists what can be called, and calls it. It loads nothing from elsewhere."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sparkmodel: API</title>
<style nonce="NONCE">
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
summary { cursor: pointer; padding: .4rem 0; } code, pre, textarea { font: 14px/1.4 ui-monospace, monospace; }
textarea { width: 100%; box-sizing: border-box; min-height: 9rem; } pre { background: #f2f2f2; padding: .6rem; }
pre { overflow: auto; max-height: 24rem; } input { width: 24rem; max-width: 100%; } button { padding: .3rem 1rem; }
</style>
<h1>API</h1>
<p><label>Token, where one is needed: <input id="token" type="password" autocomplete="off"></label>
<button id="load">Load</button></p>
<p>The document itself: <a href="openapi.json">openapi.json</a></p>
<p id="state" role="status"></p>
<div id="operations"></div>
<script nonce="NONCE">
const $ = (id) => document.getElementById(id);
const make = (tag, parent, text) => {
  const node = parent.appendChild(document.createElement(tag));
  if (text !== undefined) node.textContent = text;
  return node;
};
const headers = () => ($('token').value ? { Authorization: 'Bearer ' + $('token').value } : {});
function show(path, method, operation) {
  const box = make('details', $('operations'));
  const head = make('summary', box);
  make('code', head, method.toUpperCase() + ' ' + path);
  make('span', head, ' ' + operation.summary);
  if (operation.description) make('p', box, operation.description);
  const content = operation.requestBody && operation.requestBody.content['application/json'];
  let body;
  if (content) {
    const label = make('label', box, 'Body');
    body = make('textarea', label);
    body.value = JSON.stringify(content.example, null, 2);
    const schema = make('details', box);
    make('summary', schema, 'Schema');
    make('pre', schema, JSON.stringify(content.schema, null, 2));
  }
  const button = make('button', box, 'Call');
  const answer = make('pre', box, '');
  answer.setAttribute('aria-live', 'polite');
  button.onclick = async () => {
    button.disabled = true;
    answer.textContent = '...';
    try {
      const sent = { method: method.toUpperCase(), headers: headers() };
      if (body) { sent.body = body.value; sent.headers['Content-Type'] = 'application/json'; }
      const reply = await fetch(path, sent);
      answer.textContent = reply.status + ' ' + reply.statusText + '\\n' + (await reply.text());
    } catch (error) { answer.textContent = String(error); }
    button.disabled = false;
  };
}
async function load() {
  $('operations').replaceChildren();
  try {
    const reply = await fetch('openapi.json', { headers: headers() });
    const told = await reply.json();
    if (!reply.ok) { $('state').textContent = told.message || reply.statusText; return; }
    const paths = Object.entries(told.paths);
    $('state').textContent = paths.length ? '' : 'Nothing can be called yet: register a model.';
    for (const [path, item] of paths) for (const [method, one] of Object.entries(item)) show(path, method, one);
  } catch (error) { $('state').textContent = String(error); }
}
$('load').onclick = load;
load();
</script>
</html>
"""
