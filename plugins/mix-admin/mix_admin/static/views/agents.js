// An app: its agents.

import { ask, get, of } from "../api.js";
import { button, empty, facts, h, heading, name, table } from "../dom.js";
import { go, to } from "../place.js";
import { confirm } from "./confirm.js";
import { grantable, those } from "./lacking.js";

export async function view(place, signal) {
  const { ws, app } = place.names;
  const found = await get(of(place), {}, signal);
  const run = await those(place, "agent", found.agents.map((agent) => agent.name), "run", signal);
  return [
    found.version && facts([["Version", found.version]]),
    found.agents.length
      ? table(found.agents.length === 1 ? "1 agent" : `${found.agents.length} agents`, [
        ["Name", (agent) => run.has(agent.name) ? h("a", { href: to(["ws", ws, "app", app, "agent", agent.name]) }, name(agent.name)) : name(agent.name)],
        ["What it does", (agent) => agent.description],
      ], found.agents)
      : none(place),
    found.agents.length > 0 && !run.size && h("p", { class: "quiet" }, "You may run none of them. ", grantable(place, "run")),
    place.may("delete") && h("section", {}, heading("Delete"),
      h("p", { class: "quiet readable" }, "Records, files, secrets and grants of the app go with it."),
      h("div", {}, button("Delete this app…", async () => {
        if (!await confirm(`Delete ${app}?`, "All that is in the app is lost.", "Delete the app", app)) return;
        await ask("DELETE", of(place));
        go(to(["ws", ws]));
      }, { class: "danger" }))),
  ];
}

function none(place) {
  const { ws, app } = place.names;
  // Who may run all that is in the app sees all of it.
  if (!place.may("run")) return empty("There is no agent here that you may run. ", grantable(place, "run"));
  return empty("This app has no agents: it was made empty.",
    place.may("install", "ws") && [" ", h("a", { href: to(["ws", ws, "install"]) }, "Install a package"), " that has some."],
    place.may("read") && [" It is there for its ", h("a", { href: to(["ws", ws, "app", app, "records"]) }, "records"), "."]);
}
