// A form made of a JSON Schema. Each control has `node`, and `read`, which answers a value, or undefined for none.

import { parse } from "../api.js";
import { button, choice, field, h, unique } from "../dom.js";

const INTEGER = /^-?(0|[1-9][0-9]*)$/;
const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

// What a control holds is not what is wanted.
class Wrong extends Error {
  constructor(control, message) {
    super(message);
    this.title = "This cannot be sent yet";
    this.control = control;
    control.setAttribute("aria-invalid", "true");
    control.addEventListener("input", () => control.removeAttribute("aria-invalid"), { once: true });
  }
}

// The control for a value of that schema. `label` names it; `needed` says whether it must be given.
export function control(schema, label, needed = true) {
  const make = kind(schema ?? {});
  return make(schema ?? {}, label, needed);
}

function kind(schema) {
  const pattern = schema.properties?._rmx_type?.pattern;
  if (pattern?.includes("db\\.ref")) return ref;
  if (pattern?.includes("bin")) return binary;
  if (pattern) return json;
  if (schema.enum || "const" in schema) return literal;
  if (schema.anyOf ?? schema.oneOf) return union;
  switch (schema.type) {
    case "string": return text;
    case "integer": return number;
    case "number": return number;
    case "boolean": return bool;
    case "array": return list;
    case "object": return schema.properties && schema.additionalProperties !== true ? record : json;
    default: return json;
  }
}

const hint = (schema, needed, more) =>
  [schema.description, more, !needed && "Left empty, it is left out."].filter(Boolean).join(" ") || undefined;

function text(schema, label, needed) {
  const made = h("textarea", { rows: "1" });
  return { node: field(label, made, hint(schema, needed)), read: () => made.value || (needed ? "" : undefined) };
}

function number(schema, label, needed) {
  const isWhole = schema.type === "integer";
  const made = h("input", { class: "code", inputmode: isWhole ? "numeric" : "decimal", autocomplete: "off" });
  return {
    node: field(label, made, hint(schema, needed, isWhole ? "A whole number." : "A number.")),
    read: () => {
      const given = made.value.trim();
      if (!given && !needed) return undefined;
      if (!(isWhole ? INTEGER : NUMBER).test(given)) throw new Wrong(made, `${label}: expected a ${isWhole ? "whole " : ""}number, found ${given ? `“${given}”` : "nothing"}.`);
      return parse(given);
    },
  };
}

function bool(schema, label, needed) {
  if (!needed) {
    const made = choice([["", "left out"], ["true", "true"], ["false", "false"]], "");
    return { node: field(label, made, schema.description), read: () => made.value ? made.value === "true" : undefined };
  }
  const id = unique("field");
  const made = h("input", { type: "checkbox", id });
  const node = h("div", { class: "field" }, h("div", { class: "check" }, made, h("label", { for: id }, label)));
  if (schema.description) {
    made.setAttribute("aria-describedby", `${id}-hint`);
    node.append(h("span", { class: "hint", id: `${id}-hint` }, schema.description));
  }
  return { node, read: () => made.checked };
}

function literal(schema, label, needed) {
  const values = schema.enum ?? [schema.const];
  const options = values.map((value, at) => [String(at), typeof value === "string" ? value : JSON.stringify(value)]);
  const made = choice(needed ? options : [["", "left out"], ...options], needed ? "0" : "");
  return { node: field(label, made, schema.description), read: () => made.value === "" ? undefined : values[Number(made.value)] };
}

function ref(schema, label, needed) {
  const made = h("input", { class: "code", autocomplete: "off", spellcheck: "false" });
  return {
    node: field(label, made, hint(schema, needed, "The id of a record.")),
    read: () => {
      const id = made.value.trim();
      if (!id && !needed) return undefined;
      if (!id) throw new Wrong(made, `${label}: expected the id of a record, found nothing.`);
      return { _rmx_type: "{tag}case:db.ref", _rmx_value: id };
    },
  };
}

function binary(schema, label, needed) {
  const made = h("input", { type: "file" });
  return {
    node: field(label, made, hint(schema, needed, "A file, sent as it is.")),
    read: async () => {
      const file = made.files[0];
      if (!file && !needed) return undefined;
      if (!file) throw new Wrong(made, `${label}: expected a file, found none.`);
      const bytes = new Uint8Array(await file.arrayBuffer());
      let octets = "";
      for (let at = 0; at < bytes.length; at += 32768) octets += String.fromCharCode(...bytes.subarray(at, at + 32768));
      return { _rmx_type: "{tag}bin", _rmx_value: btoa(octets) };
    },
  };
}

function json(schema, label, needed) {
  if (schema.type === "null") return { node: h("p", { class: "quiet" }, `${label}: null`), read: () => null };
  const made = h("textarea", { class: "code", rows: "2", spellcheck: "false" });
  return {
    node: field(label, made, hint(schema, needed, schema.type === "object" ? "A JSON object." : "A JSON value; texts in quotation marks.")),
    read: () => {
      if (!made.value.trim() && !needed) return undefined;
      return readJSON(made, label);
    },
  };
}

export function readJSON(made, label) {
  try {
    return parse(made.value);
  } catch (error) {
    throw new Wrong(made, `${label}: expected JSON. ${error.message}.`);
  }
}

function list(schema, label, needed) {
  const items = [];
  const legend = h("legend", {}, label);
  const add = button("Add one", () => {
    const item = control(schema.items, `${label} ${items.length + 1}`);
    items.push(item);
    const remove = button("Remove", () => {
      items.splice(items.indexOf(item), 1);
      line.remove();
      add.focus();
    }, { "aria-label": `Remove ${label} ${items.length}` });
    const line = h("div", { class: "item" }, item.node, remove);
    add.before(line);
    line.querySelector("input, textarea, select")?.focus();
  }, { "aria-label": `Add one to ${label}` });
  const node = h("fieldset", {}, legend, schema.description && h("p", { class: "hint" }, schema.description), add);
  return {
    node,
    read: async () => {
      if (!items.length && !needed) return undefined;
      const found = [];
      for (const item of items) found.push(await item.read());
      return found;
    },
  };
}

function record(schema, label, needed) {
  const given = fields(schema);
  const node = h("fieldset", {}, h("legend", {}, label), schema.description && h("p", { class: "hint" }, schema.description), given.node);
  if (needed) return { node, read: given.read };
  const id = unique("field");
  const wanted = h("input", { type: "checkbox", id, change: () => { given.node.hidden = !wanted.checked; } });
  given.node.hidden = true;
  given.node.before(h("div", { class: "check" }, wanted, h("label", { for: id }, `Give ${label}`)));
  return { node, read: () => wanted.checked ? given.read() : undefined };
}

function union(schema, label, needed) {
  const options = (schema.anyOf ?? schema.oneOf).map((each) => control(each, label));
  const names = (schema.anyOf ?? schema.oneOf).map((each, at) => [String(at), named(each)]);
  const place = h("div", { class: "stack" });
  const chosen = choice(needed ? names : [["", "left out"], ...names], needed ? "0" : "");
  const show = () => place.replaceChildren(...(chosen.value === "" ? [] : [options[Number(chosen.value)].node]));
  chosen.addEventListener("change", show);
  show();
  return {
    node: h("fieldset", {}, h("legend", {}, label), field(`Kind of ${label}`, chosen, schema.description), place),
    read: () => chosen.value === "" ? undefined : options[Number(chosen.value)].read(),
  };
}

function named(schema) {
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(", ");
  return schema.properties?._rmx_type ? "tagged value" : schema.type ?? "any value";
}

// The controls for the fields of an object.
export function fields(schema) {
  const needed = new Set(schema.required ?? []);
  const made = Object.entries(schema.properties ?? {}).map(([key, each]) => [key, control(each, key, needed.has(key))]);
  return {
    node: h("div", { class: "stack" }, made.map(([, each]) => each.node)),
    read: async () => {
      const found = [];
      for (const [key, each] of made) {
        const value = await each.read();
        if (value !== undefined) found.push([key, value]);
      }
      return Object.fromEntries(found);
    },
  };
}
