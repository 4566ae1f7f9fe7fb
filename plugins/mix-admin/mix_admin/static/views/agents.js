// An app: its agents.

import { ask, get, of } from "../api.js";
import { button, empty, facts, h, heading, name, table } from "../dom.js";
import { go, to } from "../place.js";
import { confirm } from "./confirm.js";

export async function view(place, signal) {
  const { ws, app } = place.names;
  const found = await get(of(place), {}, signal);
  return [
    found.version && facts([["Version", found.version]]),
    found.agents.length
      ? table(found.agents.length === 1 ? "1 agent" : `${found.agents.length} agents`, [
        ["Name", (agent) => h("a", { href: to(["ws", ws, "app", app, "agent", agent.name]) }, name(agent.name))],
        ["What it does", (agent) => agent.description],
      ], found.agents)
      : empty("This app has no agents: it was made empty. ", h("a", { href: to(["ws", ws, "install"]) }, "Install a package"), " that has some, or use it for its ", h("a", { href: to(["ws", ws, "app", app, "records"]) }, "records"), "."),
    h("section", {}, heading("Delete"),
      h("p", { class: "quiet readable" }, "Records, files, secrets and grants of the app go with it."),
      h("div", {}, button("Delete this app…", async () => {
        if (!await confirm(`Delete ${app}?`, "All that is in the app is lost.", "Delete the app", app)) return;
        await ask("DELETE", of(place));
        go(to(["ws", ws]));
      }, { class: "danger" }))),
  ];
}
