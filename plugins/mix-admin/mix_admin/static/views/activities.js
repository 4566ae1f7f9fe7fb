// What was run, saved, installed, granted: by whom, when, how long, and with which result.

import { at, get } from "../api.js";
import { choice, empty, field, h, moment, name, problem, table } from "../dom.js";
import { go, to } from "../place.js";
import { brief } from "./value.js";

const KINDS = ["run", "save", "install", "remove", "grant", "revoke", "create", "delete", "sign-in", "sign-out", "configure", "export", "import", "signal"];
const PAGE = "50";

function columns({ app, agent }) {
  return [
    ["When", (item) => moment(item.time), "tight"],
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
  return get(at("ws", ws, "activities"), { app, agent, ...options }, signal);
}

// Whether all that was done there is shown, and not only what was done by who looks.
const isAll = (place) => place.may("admin", "ws");

// The last runs of an agent.
export async function runs(place, signal) {
  try {
    const { activities } = await found(place, { kind: "run", limit: "10" }, signal);
    return activities.length ? table("Last runs", columns(place.names), activities, { unseen: true }) : empty(isAll(place) ? "It has not run yet." : "You have not run it yet.");
  } catch (error) {
    return error.name === "AbortError" ? [] : problem(error);
  }
}

export async function view(place, signal) {
  const { kind = "", before = "" } = place.options;
  const chosen = choice([["", "everything"], ...KINDS], kind, { change: () => go(to(place.parts, { kind: chosen.value })) });
  const { activities, next } = await found(place, { kind, before, limit: PAGE }, signal);
  return [
    h("div", { class: "row" }, h("div", { class: "narrow" }, field("Show", chosen))),
    activities.length
      ? table("Activities, the newest first", columns(place.names), activities, { unseen: true })
      : empty(before ? "There is nothing older." : "Nothing of that kind was done here yet.", !isAll(place) && " You see what you did yourself; who administers this sees all."),
    h("div", { class: "row" },
      before && h("a", { href: to(place.parts, { kind }) }, "The newest"),
      next && h("a", { href: to(place.parts, { kind, before: next }) }, "Older")),
  ];
}
