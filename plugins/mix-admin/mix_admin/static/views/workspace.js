// A workspace: its apps.

import { ask, get, of } from "../api.js";
import { button, empty, field, form, h, heading, name, table } from "../dom.js";
import { go, to } from "../place.js";
import { confirm } from "./confirm.js";
import { grantable, those } from "./lacking.js";

const MOST = 100;

export async function view(place, signal) {
  const { ws } = place.names;
  const { apps } = await get(of(place), {}, signal);
  // One that was deleted meanwhile is still listed, by its name.
  const found = await Promise.all(apps.map(async (app, at) =>
    at < MOST ? get(of(place, "app", app), {}, signal).catch(() => ({ name: app })) : { name: app }));
  const read = await those(place, "app", apps, "read", signal);
  const wanted = h("input", { class: "code", autocomplete: "off", spellcheck: "false", required: true });
  return [
    apps.length
      ? table(apps.length === 1 ? "1 app" : `${apps.length} apps`, [
        ["Name", (app) => h("a", { href: to(["ws", ws, "app", app.name]) }, name(app.name))],
        ["Version", (app) => app.version ?? "", "tight"],
        ["Agents", (app) => app.agents ? String(app.agents.length) : "", "number"],
        read.size > 0 && ["Records", (app) => read.has(app.name) && h("a", { href: to(["ws", ws, "app", app.name, "records"]), "aria-label": `Records of ${app.name}` }, "Records")],
      ].filter(Boolean), found)
      : none(place),
    place.may("create") && h("details", {}, h("summary", {}, "Make an empty app"),
      h("div", { class: "narrow" }, form("Make an empty app", "Make it", async () => {
        const app = wanted.value.trim();
        if (!app) throw Object.assign(new Error("Write a name for it."), { title: "It has no name", control: wanted });
        await ask("PUT", of(place, "app", app));
        go(to(["ws", ws, "app", app]));
      }, field("Name", wanted)))),
    place.may("delete") && h("section", {}, heading("Delete"),
      h("p", { class: "quiet readable" }, "All apps, records, files, secrets and grants of the workspace go with it."),
      h("div", {}, button("Delete this workspace…", async () => {
        if (!await confirm(`Delete ${ws}?`, "All that is in the workspace is lost. Nothing brings it back but an export that you made.", "Delete the workspace", ws)) return;
        await ask("DELETE", of(place));
        go(to([]));
      }, { class: "danger" }))),
  ];
}

function none(place) {
  const { ws } = place.names;
  if (place.may("install")) {
    return empty("No app is installed here. ", h("a", { href: to(["ws", ws, "install"]) }, "Install a package"), ", or make an empty one to keep records in.");
  }
  if (place.may("create")) return empty("There is no app here. Make an empty one to keep records in, or ask who administers the workspace to install a package.");
  return empty("There is no app here that you may see. ", grantable(place, "run"));
}
