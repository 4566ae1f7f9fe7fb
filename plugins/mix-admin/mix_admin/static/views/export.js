// An export: a workspace, or an app of one, as a file that is kept, or sent to another server.

import { ask, of, url, write } from "../api.js";
import { field, form, h, heading, notice, put, say } from "../dom.js";

export async function view(place, signal) {
  const { ws, app } = place.names;
  const history = h("input", { type: "checkbox", id: "history" });
  const grants = h("input", { type: "checkbox", id: "grants", checked: true });
  // By default an export has them for who may see them, and for nobody else.
  const granted = () => grants.checked && place.may("admin");
  const file = h("a", { class: "button", download: true }, "Export");
  const update = () => {
    file.href = url(of(place, "export"), { history: history.checked ? "true" : "", grants: granted() ? "" : "false" }).href;
  };
  for (const each of [history, grants]) each.addEventListener("change", update);
  update();
  const to = h("input", { class: "code", type: "url", autocomplete: "off", spellcheck: "false" });
  const token = h("input", { class: "code", type: "password", autocomplete: "off", spellcheck: "false" });
  const sent = h("div", { "aria-live": "polite" });
  const theirs = app === undefined ? `/v1/ws-import?ws=${encodeURIComponent(ws)}` : `/v1/ws/${encodeURIComponent(ws)}/import`;
  return [
    h("p", { class: "readable" }, `One file has ${app === undefined ? "all apps" : "the app"}: records, code, settings, and files but those below /ephemeral. `,
      "Secrets, accounts, tokens of machines and activities stay here."),
    h("div", { class: "stack" },
      h("div", { class: "check" }, history, h("label", { for: "history" }, "With all versions of records, and those that were deleted")),
      place.may("admin") && h("div", { class: "check" }, grants, h("label", { for: "grants" }, "With what was granted")),
      h("div", {}, file)),
    h("details", {}, h("summary", {}, "Send it to another server"), h("section", { class: "narrow" }, heading("Send it to another server"),
      form("Send it to another server", h("button", {}, "Send"), async () => {
        put(sent);
        if (!to.value.trim()) throw Object.assign(new Error("Write where it is to go."), { title: "There is no URL", control: to });
        const body = { url: to.value.trim(), history: history.checked };
        if (!granted()) body.grants = false;
        if (token.value.trim()) body.token = token.value.trim();
        say("Sending");
        const { value } = await ask("POST", of(place, "export"), { body, signal });
        token.value = "";
        put(sent, notice("good", "It is there", h("pre", { tabindex: "0", "aria-label": "What the other server answers" }, write(value, 2))));
      }, field("URL", to, `Of a server as this one, ${theirs} below its address.`), field("Token for it", token, "Sent there as Authorization: Bearer.")), sent)),
  ];
}
