// An import: what an export holds, powers first, then a workspace made of it, or this one filled with it.

import { ask, of } from "../api.js";
import { empty, facts, field, form, h, heading, moment, name, notice, put, table } from "../dom.js";
import { to } from "../place.js";
import { source } from "./source.js";

export async function view(place, signal) {
  const { ws } = place.names;
  const path = ws === undefined ? "v1/ws-import" : of(place, "import");
  const grants = h("input", { type: "checkbox", id: "grants", checked: true });
  const found = h("div", { class: "stack", "aria-live": "polite" });
  const from = source("Export", "What an export has made. Nothing is changed by looking at it.", () => put(found), signal);
  const send = async (options, query) => (await ask("POST", path, from.request(options, query))).value;
  return [
    h("p", { class: "readable" }, ws === undefined
      ? "A workspace is made of the export of one, as it was on this server or another."
      : "An app of an export comes into this workspace, if there is none of its name; all apps of a workspace do, if there are none here."),
    h("div", { class: "narrow" }, form("Look at an export", "Look at it", async () => {
      put(found);
      const seen = await send({}, { dry_run: "true" });
      put(found, looked(ws, seen, from.isUrl(), async (options, called) => {
        const done = imported(await send(options, { ws: called, grants: grants.checked ? "" : "false" }));
        put(found, done);
        done.setAttribute("tabindex", "-1");
        done.focus();
      }));
    }, from.node,
    h("div", { class: "check" }, grants, h("label", { for: "grants" }, "With what was granted to users there")))),
    found,
  ];
}

// What would come: each app with what it may do from then on.
function looked(ws, { workspace, kind, exported_at: at, history, apps, sha256 }, isUrl, bring) {
  const called = h("input", { class: "code", value: workspace, autocomplete: "off", spellcheck: "false" });
  const same = h("input", { type: "checkbox", id: "same", checked: true });
  return h("section", {}, heading(kind === "app" ? `An app of ${workspace}` : `The workspace ${workspace}`),
    facts([["Exported", moment(at)], ["Records", history ? "with all versions" : "as they were then"], ["SHA-256", h("code", {}, sha256)]]),
    apps.length
      ? table("Apps and their powers", [
        ["App", (app) => name(app.name)],
        ["Version", (app) => app.version ?? "", "tight"],
        ["May", (app) => app.powers.length ? name(app.powers.join(", ")) : h("span", { class: "quiet" }, "call nothing"), "value"],
        ["Withheld", (app) => app.withheld.length ? name(app.withheld.join(", ")) : "", "value"],
      ], apps)
      : empty("There are no apps in it."),
    h("div", { class: "narrow" }, form("Import it", "Import", () =>
      bring({ sha256: isUrl && same.checked ? sha256 : undefined }, ws === undefined ? called.value.trim() : undefined),
    ws === undefined && field("Name of the workspace", called, "One that is not there yet, or one without apps."),
    isUrl && h("div", { class: "check" }, same, h("label", { for: "same" },
      "Only if that is the very file. A server makes each export anew: where the URL is one of a server that you trust, leave this out")))));
}

function imported({ workspace, apps, records, files, left_out: left }) {
  const away = Object.entries(left);
  return notice("good", `${records} ${records === 1 ? "record" : "records"} and ${files} ${files === 1 ? "file" : "files"} have come`,
    h("p", {}, "See ", h("a", { href: to(["ws", workspace]) }, name(workspace)), apps.length > 0 && [": ", apps.flatMap((app, at) => [at > 0 && ", ",
      h("a", { href: to(["ws", workspace, "app", app]) }, name(app))])], "."),
    away.length > 0 && h("p", {}, `Left out, since it cannot be here: ${away.map(([type, count]) => `${count} of ${type}`).join(", ")}.`));
}
