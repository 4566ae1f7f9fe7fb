// One record: its fields, a way to change it, and its history.

import { ask, get, of, write } from "../api.js";
import { button, empty, field, form, h, heading, moment, name, notice, put, say } from "../dom.js";
import { again, go, to } from "../place.js";
import { confirm } from "./confirm.js";
import { readJSON } from "./parameters.js";
import { brief, idOf, reference, same } from "./value.js";

const isOwn = (key) => key.startsWith("_rmx_") && key !== "_rmx_type";

export async function view(place, signal) {
  if (place.id === "new") return create(place);
  let found = null, gone = null;
  try {
    found = await ask("GET", of(place, "documents", place.id), { signal });
  } catch (error) {
    // Of one that was deleted there is a history.
    if (![404, 410].includes(error.status)) throw error;
    gone = error;
  }
  const past = h("div", { class: "stack" });
  const history = async () => {
    const value = await get(of(place, "documents", place.id, "history"), {}, signal);
    put(past, versions(Array.isArray(value) ? value : value.versions ?? value.history ?? []));
  };
  await history().catch((error) => {
    if (error.name === "AbortError" || gone) throw gone ?? error;
    put(past, empty(error.message));
  });
  return [
    gone ? notice("", "This record was deleted", h("p", {}, "Its history is below.")) : [shown(place, found.value), place.may("write") && edit(place, found)],
    h("section", {}, heading("History"), past),
  ];
}

const link = (place, id) => h("a", { href: to([...Object.entries(place.names).flat(), "records", id]) }, name(id));

function value(place, each) {
  const id = reference(each);
  if (id !== null) return link(place, id);
  if (each !== null && typeof each === "object" && !JSON.isRawJSON?.(each)) return h("pre", { tabindex: "0" }, write(each, 2));
  return brief(each, 4000);
}

function shown(place, record) {
  return h("section", { "aria-label": "Fields" }, h("dl", { class: "facts" },
    Object.entries(record).map(([key, each]) => [h("dt", {}, name(key)), h("dd", {}, value(place, each))])));
}

function edit(place, { value: record, headers }) {
  const tag = headers.get("ETag");
  const plain = Object.fromEntries(Object.entries(record).filter(([key]) => !isOwn(key)));
  const text = h("textarea", { class: "code", rows: "8", spellcheck: "false", value: write(plain, 2) });
  const path = of(place, "documents", place.id);
  return h("section", {}, h("details", {}, h("summary", {}, "Change"),
    form("Change the record", "Save", async () => {
      await ask("PUT", path, { body: readJSON(text, "Record"), headers: tag ? { "If-Match": tag } : {} });
      say("Saved");
      again();
    }, field("Record", text, "All fields, as JSON. What is left out is taken away."))),
    h("div", {}, button("Delete this record…", async () => {
      if (!await confirm("Delete this record?", "Its history stays until the database is compacted.", "Delete the record")) return;
      await ask("DELETE", path, { headers: tag ? { "If-Match": tag } : {} });
      again();
    }, { class: "danger" })));
}

function create(place) {
  const text = h("textarea", { class: "code", rows: "8", spellcheck: "false", value: "{\n  \n}" });
  return form("New record", "Save", async () => {
    const { value: made, headers } = await ask("POST", of(place, "documents"), { body: readJSON(text, "Record") });
    const id = idOf(made?._rmx_id) ?? headers.get("Location")?.split("/").pop();
    go(id ? to([...Object.entries(place.names).flat(), "records", id]) : to(place.parts.slice(0, -1)));
  }, field("Record", text, "Its fields, as a JSON object."));
}

// The versions, the newest first, each with what it changed.
function versions(found) {
  if (!found.length) return empty("There is no history: it was compacted away.");
  return h("ol", { class: "plain", reversed: true }, found.map((version, at) => {
    const changes = difference(at ? found[at - 1] : {}, version);
    const when = version._rmx_timestamp ?? version._rmx_at ?? version._rmx_modified;
    return h("li", { class: "stack" },
      h("h3", {}, `Version ${at + 1}`, version._rmx_deleted && " · deleted", when !== undefined && [" · ", moment(when)]),
      changes.length
        ? h("ul", { class: "plain" }, changes.map(([key, before, after]) => h("li", {}, name(key), " ",
          before !== undefined && h("del", {}, brief(before, 400)), before !== undefined && after !== undefined && " ",
          after !== undefined && h("ins", {}, brief(after, 400)))))
        : h("p", { class: "quiet" }, "No field was changed."));
  }).reverse());
}

function difference(before, after) {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  const of = (record, key) => Object.hasOwn(record, key) ? record[key] : undefined;
  return [...keys].filter((key) => !isOwn(key) && !same(of(before, key), of(after, key)))
    .map((key) => [key, of(before, key), of(after, key)]);
}
