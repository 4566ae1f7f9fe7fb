// All workspaces that the caller may see.

import { ask, get } from "../api.js";
import { empty, field, form, h, heading, name, table } from "../dom.js";
import { go, to } from "../place.js";

export async function view(place, signal) {
  const { workspaces } = await get("v1/ws", {}, signal);
  const may = place.may("create");
  const wanted = h("input", { class: "code", autocomplete: "off", spellcheck: "false" });
  return [
    workspaces.length
      ? table(workspaces.length === 1 ? "1 workspace" : `${workspaces.length} workspaces`,
        [["Name", (ws) => h("a", { href: to(["ws", ws]) }, name(ws))]], workspaces)
      : empty("There is no workspace yet that you may see. ", may ? "Make one below, or ask" : "Ask", " who administers one to grant you a role in it",
        place.subject?.includes("/") && [", as ", name(place.subject)], "."),
    may && h("section", { class: "narrow" }, heading("Make a workspace"),
      form("Make a workspace", "Make it", async () => {
        const { value } = await ask("POST", "v1/ws", { body: wanted.value.trim() ? { name: wanted.value.trim() } : {} });
        go(to(["ws", value.name]));
      }, field("Name", wanted, "Letters, digits, - and _. Left empty, one is made up.")),
      h("p", {}, "Or ", h("a", { href: to(["import"]) }, "import one"), " that was exported.")),
  ];
}
