"use strict";

// Everything that comes from a document or an answer is put into the page as text, never as markup.

const HTTP = ["get", "post", "put", "patch", "delete"];
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function headers(more = {}) {
  const token = byId("token").value.trim();
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

function resolved(schema, root, depth = 0) {
  if (!schema || depth > 8) return {};
  if (schema.$ref) {
    const found = schema.$ref.split("/").slice(1).reduce((at, key) => at && at[key], root);
    return resolved(found, root, depth + 1);
  }
  return schema;
}

function example(schema, root, depth = 0) {
  const found = resolved(schema, root);
  if (depth > 5) return null;
  if ("default" in found) return found.default;
  if ("const" in found) return found.const;
  if (found.enum) return found.enum[0];
  const choice = found.anyOf || found.oneOf;
  if (choice) return example(choice[0], root, depth + 1);
  const type = Array.isArray(found.type) ? found.type[0] : found.type;
  if (type === "object") {
    const made = {};
    const required = new Set(found.required || []);
    for (const [key, value] of Object.entries(found.properties || {}))
      if (required.has(key)) made[key] = example(value, root, depth + 1);
    return made;
  }
  return { array: [], string: "", integer: 0, number: 0, boolean: false }[type] ?? null;
}

function place(parameter) {
  const label = `${parameter.name}${parameter.required ? " *" : ""} (${parameter.in})`;
  const input = element("input", { name: parameter.name, spellcheck: "false" });
  if (parameter.required) input.required = true;
  return [element("label", {}, label, input), input];
}

async function send(method, path, parameters, inputs, body, media, out) {
  let url = path;
  const query = new URLSearchParams();
  const own = {};
  parameters.forEach((parameter, index) => {
    const value = inputs[index].value;
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value === "") return;
    else if (parameter.in === "query") query.append(parameter.name, value);
    else if (parameter.in === "header") own[parameter.name] = value;
  });
  if (String(query)) url += `?${query}`;
  const options = { method: method.toUpperCase(), headers: headers(own) };
  if (body && body.value) {
    options.body = body.value;
    options.headers["Content-Type"] = media.value;
  }
  out.textContent = "…";
  try {
    const answer = await fetch(`..${url}`, options);
    const shown = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    let text = await answer.text();
    if ((answer.headers.get("content-type") || "").startsWith("application/json"))
      try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* as it is */ }
    out.textContent = `${answer.status} ${answer.statusText}\n${shown}\n\n${text.slice(0, 100000)}`;
  } catch (error) {
    out.textContent = String(error);
  }
}

function fill(inside, method, path, operation, root) {
  const parameters = operation.parameters || [];
  if (operation.description) inside.append(element("p", {}, operation.description));
  const form = element("form");
  const inputs = [];
  for (const parameter of parameters) {
    const [label, input] = place(parameter);
    form.append(label);
    inputs.push(input);
  }
  let body = null;
  let media = null;
  const content = (operation.requestBody || {}).content;
  if (content) {
    media = element("select", { "aria-label": "type of the body" });
    for (const type of Object.keys(content)) media.append(element("option", {}, type));
    body = element("textarea", { "aria-label": "body", spellcheck: "false" });
    const first = Object.values(content)[0];
    if (first && first.schema) body.value = JSON.stringify(example(first.schema, root), null, 2);
    form.append(element("label", { class: "body" }, "body", media, body));
  }
  const out = element("pre", { "aria-live": "polite" });
  out.hidden = true;
  form.append(element("button", {}, "Send"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    out.hidden = false;
    send(method, path, parameters, inputs, body, media, out);
  });
  const answers = Object.entries(operation.responses || {})
    .map(([status, each]) => `${status} ${resolved(each, root).description || ""}`)
    .join(" · ");
  inside.append(form, element("p", {}, answers), out);
}

function show(root) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(root.paths))
    for (const method of HTTP)
      if (methods[method]) {
        const operation = methods[method];
        const tag = (operation.tags || ["other"])[0];
        if (!groups.has(tag)) groups.set(tag, []);
        groups.get(tag).push([method, path, operation]);
      }
  const main = byId("operations");
  main.replaceChildren();
  for (const [tag, operations] of groups) {
    const section = element("section", {}, element("h2", {}, tag));
    for (const [method, path, operation] of operations) {
      const name = element("code", operation.deprecated ? { class: "deprecated" } : {}, path);
      const verb = element("span", { class: "method" }, method.toUpperCase());
      const box = element("details", {}, element("summary", {}, verb, name, operation.summary || ""));
      box.addEventListener("toggle", () => {
        if (!box.open || box.children.length > 1) return;
        const inside = element("div", { class: "inside" });
        fill(inside, method, path, operation, root);
        box.append(inside);
      });
      section.append(box);
    }
    main.append(section);
  }
  filter();
}

function filter() {
  const wanted = byId("find").value.toLowerCase();
  for (const box of document.querySelectorAll("details"))
    box.hidden = !box.firstChild.textContent.toLowerCase().includes(wanted);
}

async function load() {
  const workspace = byId("workspace").value.trim();
  const url = workspace ? `../v1/ws/${encodeURIComponent(workspace)}/openapi.json` : "../openapi.json";
  const state = byId("state");
  try {
    const answer = await fetch(url, { headers: headers() });
    const found = await answer.json();
    if (!answer.ok) {
      state.textContent = `${answer.status}: ${found.message || answer.statusText}`;
      return;
    }
    state.textContent = `${found.info.title} ${found.info.version}`;
    show(found);
  } catch (error) {
    state.textContent = String(error);
  }
}

byId("source").addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
byId("find").addEventListener("input", filter);
load();
