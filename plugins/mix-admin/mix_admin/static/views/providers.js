// Providers of third-party sign-in: which there are, and what this server is to each. Secrets go in and never come out.

import { ask, get, of, url } from "../api.js";
import { button, choice, empty, field, form, h, heading, name, notice, say, table } from "../dom.js";
import { again, go, to } from "../place.js";
import { confirm } from "./confirm.js";
import { readJSON } from "./parameters.js";

const KINDS = [["oidc", "OpenID Connect: an ID token says who it is"], ["oauth2", "OAuth 2: it is asked who it is"]];
const AUTH = [["", "as the provider's metadata say"], ["basic", "in the header"], ["post", "in the form"], ["none", "not at all: there is no secret"]];
const ENDPOINTS = [["discovery", "Metadata", "Of an OpenID Connect it is below the issuer by default."], ["authorization_endpoint", "Authorization"],
  ["token_endpoint", "Token"], ["userinfo_endpoint", "Userinfo"], ["jwks_uri", "Keys"]];
const PARAMETERS = [["authorization_parameters", "Sent to the authorization endpoint besides", 'As {"access_type": "offline"}.'],
  ["token_parameters", "Sent to the token endpoint besides"]];
const SAID = [["subject", "sub"], ["email", "email"], ["name", "name"]];
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$/;

const at = (place, name) => to(place.parts, { name });

export async function view(place, signal) {
  let configs;
  try {
    ({ configs } = await get(of(place, "auth-configs"), {}, signal));
  } catch (error) {
    if (error.status !== 501) throw error;
    return empty("This server keeps no secrets, so it can hold nobody's account: its profile has no mix-secrets.");
  }
  const chosen = place.options.name;
  const known = configs.find((each) => each.name === chosen);
  if (chosen !== undefined && !known) {
    return [notice("bad", "There is no such provider", h("p", {}, "Somebody may have removed it.")), h("p", {}, h("a", { href: to(place.parts) }, "All providers"))];
  }
  if (known) return [h("p", {}, h("a", { href: to(place.parts) }, "All providers")), configuration(place, known)];
  return [
    h("p", { class: "readable" }, "Users of this workspace connect accounts that they have elsewhere, and agents that were granted it use them."),
    configs.length
      ? table(configs.length === 1 ? "1 provider" : `${configs.length} providers`, columns(place), configs)
      : empty("No provider is configured here, so nobody can connect an account. The form below configures one."),
    h("details", {}, h("summary", {}, "Configure a provider"), configuration(place, null, configs)),
  ];
}

function columns(place) {
  return [
    ["Name", (each) => h("a", { href: at(place, each.name) }, name(each.name))],
    ["Kind", (each) => each.kind, "tight"],
    ["At", (each) => name(each.issuer ?? each.discovery ?? each.authorization_endpoint ?? "")],
    ["Client", (each) => name(each.client_id)],
    ["Secret", (each) => each.has_secret ? "kept" : "none", "tight"],
    ["", (each) => button("Remove", async () => {
      if (!await confirm(`Remove ${each.name}?`, "All accounts that users have connected by it are forgotten, and agents can use them no more.", "Remove the provider")) return;
      await ask("DELETE", of(place, "auth-configs", each.name));
      again();
    }, { class: "link danger", "aria-label": `Remove ${each.name}` }), "act"],
  ];
}

const line = (value = "") => h("input", { class: "code", autocomplete: "off", spellcheck: "false", value });
const unfit = (control, title, message) => Object.assign(new Error(message), { title, control });

// The form of one provider, or of a further one; only what is written in it is sent.
function configuration(place, known, others = []) {
  const set = known ?? { kind: "oidc", scopes: ["openid", "email"] };
  const called = line();
  const kind = choice(KINDS, set.kind);
  const texts = Object.fromEntries(["issuer", "client_id", ...ENDPOINTS.map(([key]) => key)].map((key) => [key, line(set[key])]));
  const secret = h("input", { type: "password", class: "code", autocomplete: "new-password", spellcheck: "false" });
  const auth = choice(AUTH, set.client_auth ?? "");
  const scopes = line((set.scopes ?? []).join(" "));
  const more = PARAMETERS.map(([key, label, hint]) => [key, label, hint,
    h("textarea", { class: "code", rows: "2", spellcheck: "false", value: set[key] ? JSON.stringify(set[key]) : "" })]);
  const said = SAID.map(([key, usual]) => [key, usual, line(set.userinfo?.[key])]);
  const back = (wanted) => url(`v1/auth/${[place.names.ws, wanted].map(encodeURIComponent).join("/")}/callback`).href;
  const registered = h("code", {}, back(known?.name ?? "NAME"));
  called.addEventListener("input", () => { registered.textContent = back(called.value.trim() || "NAME"); });

  const read = () => {
    const body = { kind: kind.value, scopes: scopes.value.split(/\s+/).filter(Boolean) };
    for (const [key, control] of Object.entries(texts)) if (control.value.trim()) body[key] = control.value.trim();
    if (!body.client_id) throw unfit(texts.client_id, "There is no client", "Write the id that the provider gave this server.");
    if (secret.value) body.client_secret = secret.value;
    if (auth.value) body.client_auth = auth.value;
    for (const [key, label, , control] of more) if (control.value.trim()) body[key] = readJSON(control, label);
    const where = said.filter(([, , control]) => control.value.trim()).map(([key, , control]) => [key, control.value.trim()]);
    if (where.length) body.userinfo = Object.fromEntries(where);
    return body;
  };

  const title = known ? `Configure ${known.name}` : "Configure a provider";
  return h("section", { class: "narrow" }, known && heading(title), form(title, known ? "Save" : "Configure it", async () => {
    const wanted = known?.name ?? called.value.trim();
    if (!NAME.test(wanted)) throw unfit(called, "It has no name", "Write one of at most 63 letters, digits, _ and -, as github.");
    if (others.some((each) => each.name === wanted)) throw unfit(called, "There is one of that name", "Choose another name, or change the one that is there.");
    await ask("PUT", of(place, "auth-configs", wanted), { body: read() });
    secret.value = "";
    say(`${wanted} is configured`);
    if (known) go(to(place.parts)); else again();
  },
  !known && field("Name", called, "How agents ask for it, as github."),
  field("Kind", kind),
  field("Issuer", texts.issuer, "How the provider names itself, a URL. An OpenID Connect needs it."),
  field("Client id", texts.client_id, "What this server is there."),
  field("Client secret", secret, known?.has_secret ? "One is kept. Left empty, it stays; it is shown to nobody." : "It is sealed, and shown to nobody."),
  field("The secret is sent", auth),
  field("Scopes", scopes, "What is asked for, separated by spaces."),
  h("details", {}, h("summary", {}, "Endpoints"), h("div", { class: "stack" },
    h("p", { class: "quiet small" }, "They go before the provider's metadata. An OAuth 2 without metadata needs the authorization and the token endpoint."),
    ENDPOINTS.map(([key, label, hint]) => field(label, texts[key], hint)))),
  h("details", {}, h("summary", {}, "What else is sent, and what is read"), h("div", { class: "stack" },
    more.map(([, label, hint, control]) => field(label, control, hint)),
    said.map(([key, usual, control]) => field(`Where the ${key} is`, control, `A dot leads into an object. By default ${usual}.`)))),
  h("p", { class: "small" }, "Register at the provider as redirect URI: ", registered)));
}
