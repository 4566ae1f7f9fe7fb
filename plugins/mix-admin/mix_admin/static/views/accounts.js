// Accounts that who looks has elsewhere, for the agents of a workspace: which may be connected, and which are.

import { ask, get, of, url } from "../api.js";
import { button, empty, h, moment, name, table } from "../dom.js";
import { again, to } from "../place.js";
import { confirm } from "./confirm.js";

export async function view(place, signal) {
  const { ws } = place.names;
  let accounts;
  try {
    ({ accounts } = await get(of(place, "accounts"), {}, signal));
  } catch (error) {
    if (error.status !== 501) throw error;
    return empty("This server keeps no secrets, so it can hold nobody's account: its profile has no mix-secrets.");
  }
  if (!accounts.length) {
    return empty("There is nowhere to connect an account. ", place.may("admin")
      ? [h("a", { href: to(["ws", ws, "providers"]) }, "Configure a provider"), " that users of this workspace have accounts with."]
      : ["Who administers the workspace ", name(ws), " configures the providers."]);
  }
  return [
    h("p", { class: "readable" }, "Agents of this workspace that were granted it use your accounts when they run for you, and for nobody else."),
    table("Accounts", [
      ["Provider", (each) => name(each.provider)],
      ["Connected as", (each) => each.connected ? each.email ?? each.name ?? each.subject ?? "somebody" : h("span", { class: "quiet" }, "not connected")],
      ["It may", (each) => (each.scopes ?? []).join(" "), "value"],
      ["Good until", (each) => each.connected ? each.expires ? moment(each.expires * 1000) : "it is disconnected" : "", "tight"],
      ["", (each) => h("div", { class: "row" }, connect(ws, each), each.connected && disconnect(place, each)), "act"],
    ], accounts, { unseen: true }),
  ];
}

// The provider's own page, which sends the browser back to this one.
function connect(ws, { provider, connected }) {
  const { pathname, hash } = new URL(to(["ws", ws, "accounts"]), document.baseURI);
  const start = url(`v1/auth/${[ws, provider].map(encodeURIComponent).join("/")}/start`, { then: pathname + hash });
  const text = connected ? "Connect anew" : "Connect";
  return h("a", { href: start.href, "aria-label": `${text} ${provider}` }, text);
}

function disconnect(place, { provider }) {
  return button("Disconnect", async () => {
    if (!await confirm(`Disconnect ${provider}?`, "Agents can use your account there no more, until you connect it again.", "Disconnect")) return;
    await ask("DELETE", of(place, "accounts", provider));
    again();
  }, { class: "link danger", "aria-label": `Disconnect ${provider}` });
}
