// Tokens of machines: what each may do, until when, and a new one.

import { ask, get, of } from "../api.js";
import { button, choice, empty, field, form, h, heading, moment, name, notice, put, say, table } from "../dom.js";
import { again } from "../place.js";
import { confirm } from "./confirm.js";

const DAY = 86400;
const LASTS = [[String(DAY), "a day"], [String(30 * DAY), "30 days"], [String(365 * DAY), "a year"], ["", "until it is revoked"]];

export async function view(place, signal) {
  const [{ tokens }, { apps }] = await Promise.all([get(of(place, "tokens"), {}, signal), get(of(place), {}, signal)]);
  const called = h("input", { autocomplete: "off", required: true });
  const role = choice(["runner", "editor", "db/creator", "admin"], "runner");
  const resource = choice(["workspace", ...apps.map((app) => `db/${app}`)], "workspace");
  const lasts = choice(LASTS, String(30 * DAY));
  const made = h("div", { "aria-live": "polite" });
  return [
    tokens.length
      ? table(tokens.length === 1 ? "1 token" : `${tokens.length} tokens`, [
        ["Name", (token) => name(token.name)],
        ["May", (token) => (token.rights ?? []).map((right) => `${right.role} on ${right.resource}`).join(", ")],
        ["Until", (token) => token.until === null ? "it is revoked" : moment(token.until * 1000), "tight"],
        ["Made by", (token) => token.by ? name(token.by) : h("span", { class: "quiet" }, "the operator")],
        ["", (token) => button("Revoke", async () => {
          if (!await confirm("Revoke it?", `Whatever uses the token “${token.name}” is refused from the next request on.`, "Revoke")) return;
          await ask("DELETE", of(place, "tokens", token.id));
          again();
        }, { class: "link danger", "aria-label": `Revoke ${token.name}` }), "act"],
      ], tokens)
      : empty("No machine has a token here. One lets a program, as a CI job, do what you choose and nothing else."),
    h("section", { class: "narrow" }, heading("Make a token"), form("Make a token", "Make it", async () => {
      const text = called.value.trim();
      if (!text) throw Object.assign(new Error("Write what it is for."), { title: "It has no name", control: called });
      const body = { name: text, rights: [{ role: role.value, resource: resource.value }] };
      if (lasts.value) body.seconds = Number(lasts.value);
      const { value } = await ask("POST", of(place, "tokens"), { body });
      put(made, notice("good", "Here is the token",
        h("p", {}, "It is shown this once. Keep it where secrets are kept."),
        h("pre", { tabindex: "0", "aria-label": "The token" }, value.token),
        button("I have it", again)));
      say("The token is made; it is shown this once");
    }, field("Name", called, "What it is for."), field("Role", role), field("On", resource), field("Good for", lasts)), made),
  ];
}
