// What was run, saved, installed, granted: by whom, when, how long, and with which result.

import { at, get } from "../api.js";
import { button, choice, empty, field, h, moment, name, put, table } from "../dom.js";
import { go, to } from "../place.js";
import { brief } from "./value.js";

const KINDS = ["run", "save", "install", "remove", "grant", "revoke", "create", "delete", "sign-in", "sign-out", "configure", "export", "import", "signal"];
const PAGE = 50;

function columns({ app, agent }) {
  return [
    ["When", (item) => moment(item.time / 1000), "tight"],
    agent === undefined && ["What", (item) => item.kind],
    agent === undefined && ["Where", (item) => name([app === undefined && item.app, item.agent].filter(Boolean).join("/"))],
    ["Who", (item) => name(item.subject)],
    ["Took", (item) => took(item.seconds ?? 0), "number"],
    ["Result", (item) => h("span", { class: (item.result ?? "ok") === "ok" ? undefined : "bad-text" }, item.result ?? "ok")],
    ["More", (item) => about(item), "value"],
  ].filter(Boolean);
}

const took = (seconds) => seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
const about = (item) => Object.entries(item.about ?? {}).map(([key, value]) => `${key}: ${brief(value, 80)}`).join(", ");

async function found(place, options, signal) {
  const { ws, app, agent } = place.names;
  const value = await get(at("ws", ws, "activities"), { app, agent, ...options }, signal);
  return { items: Array.isArray(value) ? value : value.activities ?? [], count: value.count };
}

const none = (error) => {
  if (![404, 405].includes(error.status)) throw error;
  return empty("This server keeps no record of activities, or you may not see it.");
};

// The last runs of an agent.
export async function runs(place, signal) {
  try {
    const { items } = await found(place, { kind: "run", limit: "10" }, signal);
    return items.length ? table("Last runs", columns(place.names), items, { unseen: true }) : empty("It has not run yet.");
  } catch (error) {
    if (error.name === "AbortError") return [];
    return [403, 404, 405].includes(error.status) ? empty("This server keeps no record of runs, or you may not see it.") : empty(error.message);
  }
}

export async function view(place, signal) {
  const { kind = "", skip = "" } = place.options;
  const base = place.parts;
  const chosen = choice([["", "everything"], ...KINDS], kind, {
    change: () => go(to(base, { kind: chosen.value })),
  });
  const filter = h("div", { class: "row" }, h("div", { class: "narrow" }, field("Show", chosen)));
  let items;
  try {
    ({ items } = await found(place, { kind, skip, limit: String(PAGE) }, signal));
  } catch (error) {
    return none(error);
  }
  const from = Number(skip) || 0;
  return [
    filter,
    items.length ? table("Activities, the newest first", columns(place.names), items, { unseen: true }) : empty("Nothing of that kind was done here yet."),
    h("div", { class: "row" },
      from > 0 && h("a", { href: to(base, { kind, skip: String(Math.max(0, from - PAGE) || "") }) }, "Newer"),
      items.length === PAGE && h("a", { href: to(base, { kind, skip: String(from + PAGE) }) }, "Older")),
  ];
}
