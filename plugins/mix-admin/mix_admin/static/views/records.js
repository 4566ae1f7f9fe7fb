// The records of an app: a query, its rows, and how they change.

import { ask, of } from "../api.js";
import { button, choice, empty, field, form, h, name, notice, put, renew, say, table } from "../dom.js";
import { go, to } from "../place.js";
import { follow } from "./live.js";
import { readJSON } from "./parameters.js";
import { brief, idOf, reference } from "./value.js";

const PAGES = ["25", "100", "500"];
const MOST_COLUMNS = 8;
const FIRST = ["_rmx_id", "_rmx_type"];

export async function view(place, signal) {
  const { query = "", params = "", limit = PAGES[0], skip = "" } = place.options;
  const rows = h("div", { class: "stack" });
  const text = h("textarea", { class: "code", rows: "2", spellcheck: "false", value: query, placeholder: "\"entity\" == \"person\" and .age >= $age | orderAsc(name)" });
  const values = h("textarea", { class: "code", rows: "1", spellcheck: "false", value: params, placeholder: "{\"age\": 18}" });
  const most = choice(PAGES, PAGES.includes(limit) ? limit : PAGES[0]);
  const wanted = () => ({ query: text.value.trim(), params: values.value.trim(), limit: most.value === PAGES[0] ? "" : most.value });
  const live = button("Follow", async () => {
    const on = live.getAttribute("aria-pressed") === "true";
    stop();
    if (on) await read();
    else start();
  }, { "aria-pressed": "false" });
  let following = null;

  function stop() {
    following?.();
    following = null;
    live.setAttribute("aria-pressed", "false");
  }

  function start() {
    if (values.value.trim()) readJSON(values, "Parameters");
    live.setAttribute("aria-pressed", "true");
    following = follow(place, text.value.trim() || "true", values.value.trim(), rows, (items) => shown(place, items), stop);
  }

  async function read(from = "") {
    const options = { ...wanted(), skip: from };
    go(to(place.parts, options), true);
    const body = { query: options.query || "true", limit: Number(most.value) };
    if (from) body.skip = Number(from);
    if (options.params) body.params = readJSON(values, "Parameters");
    try {
      const { value, headers } = await ask("POST", of(place, "query"), { body, signal });
      renew(rows, warned(headers.get("Mix-Warning")), ...result(place, value, Number(most.value), Number(from), read));
      if (!signal.aborted) say(`${value.length} rows`);
    } catch (error) {
      point(text, error);
      throw error;
    }
  }

  signal.addEventListener("abort", stop);
  const asked = form("Ask for records", [h("button", { class: "main" }, "Run"), live, place.may("write") && h("a", { href: to([...place.parts, "new"]) }, "New record")], async () => {
    stop();
    await read();
  }, field("Query", text, "Empty for all records."),
    h("div", { class: "row" },
      h("div", { class: "grow" }, field("Parameters", values, "A JSON object: what $names in the query mean.")),
      field("Rows", most)));
  await read(skip).catch((error) => {
    if (error.status !== 400) throw error;
    put(rows, notice("bad", error.title, h("p", {}, error.message)));
  });
  return [asked, rows];
}

// Let the cursor be where a query is wrong.
function point(text, error) {
  const { line: row, column } = error.details ?? {};
  if (!row || !column) return;
  const lines = text.value.split("\n");
  const start = lines.slice(0, row - 1).reduce((sum, each) => sum + each.length + 1, 0) + column - 1;
  error.control = text;
  text.setAttribute("aria-invalid", "true");
  text.addEventListener("input", () => text.removeAttribute("aria-invalid"), { once: true });
  text.setSelectionRange(start, Math.min(start + 1, text.value.length));
}

const warned = (text) => text && notice("", "The database wonders", h("p", {}, text));

function result(place, items, most, from, read) {
  if (!Array.isArray(items)) return [h("pre", { tabindex: "0" }, JSON.stringify(items, null, 2))];
  if (!items.length && !from) return [empty(place.may("write") ? "No rows. An app's agents, or “New record”, keep some." : "No rows. An app's agents keep some.")];
  return [
    shown(place, items),
    h("div", { class: "row" },
      from > 0 && button("Previous rows", () => read(String(Math.max(0, from - most) || ""))),
      items.length === most && button("Next rows", () => read(String(from + most))),
      h("span", { class: "quiet small" }, items.length ? `Rows ${from + 1} to ${from + items.length}` : "No more rows")),
  ];
}

function isRecord(item) {
  return item !== null && typeof item === "object" && !Array.isArray(item) && !JSON.isRawJSON?.(item);
}

function shown(place, items) {
  const seen = new Set();
  for (const item of items) if (isRecord(item)) for (const key of Object.keys(item)) seen.add(key);
  const keys = [...FIRST.filter((key) => seen.has(key)), ...[...seen].filter((key) => !key.startsWith("_rmx_"))].slice(0, MOST_COLUMNS);
  if (!keys.length) return table("Rows", [["Value", (item) => brief(item)]], items, { unseen: true, wide: true });
  const columns = keys.map((key) => [key === "_rmx_id" ? "id" : key === "_rmx_type" ? "type" : key, (item) => cell(place, key, item), key === "_rmx_id" ? "tight" : "value"]);
  return table("Rows", columns, items, { unseen: true, wide: true });
}

function cell(place, key, item) {
  if (!isRecord(item)) return key === "_rmx_id" ? brief(item) : "";
  if (!Object.hasOwn(item, key)) return "";
  const value = item[key];
  const id = key === "_rmx_id" ? idOf(value) : reference(value);
  if (id === null) return brief(value);
  const short = id.length > 12 ? `${id.slice(0, 8)}…` : id;
  return h("a", { href: to([...Object.entries(place.names).flat(), "records", id]), title: id }, name(key === "_rmx_id" ? short : `→ ${short}`));
}

