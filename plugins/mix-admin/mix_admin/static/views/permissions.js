// Who may do what: the grants, one more, and why somebody may or may not.

import { ask, get, of } from "../api.js";
import { button, choice, empty, facts, field, form, h, heading, name, notice, put, say, table } from "../dom.js";
import { again, resource as own } from "../place.js";
import { confirm } from "./confirm.js";

const ROLES = [["runner", "runner: run agents"], ["editor", "editor: run, read and write"], ["db/creator", "db/creator: create apps"], ["admin", "admin: everything"]];
const PERMISSIONS = [["see", "see it"], ["run", "run agents"], ["read", "read records and files"], ["write", "write them"], ["create", "create apps"],
  ["delete", "delete it"], ["install", "install packages"], ["admin", "administer it"]];
const SUBJECTS = ["user/", "domain/", "all-users", "anonymous", "machine/", "agent/"];

export async function view(place, signal) {
  const { owner, permissions } = await get(of(place, "permissions"), {}, signal);
  const resources = await resourcesOf(place, signal);
  return [
    facts([["Owner", owner ? name(owner) : h("span", { class: "quiet" }, "nobody but the operator")]]),
    permissions.length
      ? table(permissions.length === 1 ? "1 grant" : `${permissions.length} grants`, [
        ["Who", (grant) => name(grant.subject)],
        ["Role", (grant) => grant.role, "tight"],
        ["On", (grant) => name(grant.resource)],
        ["", (grant) => button("Take back", async () => {
          if (!await confirm("Take it back?", `${grant.subject} is ${grant.role} on ${grant.resource} no more, from the next request on.`, "Take it back")) return;
          await ask("DELETE", of(place, "permissions", grant.id));
          again();
        }, { class: "link danger", "aria-label": `Take back ${grant.role} on ${grant.resource} from ${grant.subject}` }), "act"],
      ], permissions)
      : empty("Nothing is granted here. Owner and operator may do everything, nobody else anything."),
    h("div", { class: "columns" }, grantForm(place, resources), explainForm(place, resources)),
  ];
}

async function resourcesOf(place, signal) {
  const { ws, app, agent } = place.names;
  if (agent !== undefined) return [own(place.names)];
  const apps = app !== undefined ? [app] : (await get(`v1/ws/${encodeURIComponent(ws)}`, {}, signal)).apps.slice(0, 50);
  const found = await Promise.all(apps.map(async (each) => {
    const { agents } = await get(`v1/ws/${encodeURIComponent(ws)}/app/${encodeURIComponent(each)}`, {}, signal).catch(() => ({ agents: [] }));
    return [`db/${each}`, ...agents.map((one) => `agent/${each}/${one.name}`)];
  }));
  return [...(app === undefined ? ["workspace"] : []), ...found.flat()];
}

function who(id) {
  const list = h("datalist", { id }, SUBJECTS.map((value) => h("option", { value })));
  const control = h("input", { class: "code", list: id, autocomplete: "off", spellcheck: "false" });
  return { node: [field("Who", control, "user/EMAIL, domain/HOST, all-users, anonymous, machine/ID or agent/SERVER:WS.APP.AGENT."), list], control };
}

function told(control) {
  const text = control.value.trim();
  if (!text) throw Object.assign(new Error("Write who, as user/ada@example.org."), { title: "Nobody is named", control });
  return text;
}

function grantForm(place, resources) {
  const subject = who("grant-who");
  const role = choice(ROLES, "runner");
  const resource = choice(resources, own(place.names));
  return h("section", {}, heading("Grant"), form("Grant", "Grant", async () => {
    await ask("POST", of(place, "permissions"), { body: { subject: told(subject.control), role: role.value, resource: resource.value } });
    say("Granted");
    again();
  }, subject.node, field("Role", role), field("On", resource, "It holds for all that is in it.")));
}

function explainForm(place, resources) {
  const subject = who("explain-who");
  const permission = choice(PERMISSIONS, "run");
  const resource = choice(resources, own(place.names));
  const answer = h("div", { "aria-live": "polite" });
  return h("section", {}, heading("Effective access"), form("Effective access", h("button", {}, "Explain"), async () => {
    put(answer);
    const query = { explain: permission.value, subject: told(subject.control), resource: resource.value };
    put(answer, explained(await get(of(place, "permissions"), query)));
  }, subject.node, field("Wants to", permission), field("On", resource)), answer);
}

function explained({ allowed, permission, resource, subjects, tried, because, needed }) {
  const title = allowed ? `Yes: ${subjects[0]} may ${permission} ${resource}` : `No: ${subjects[0]} may not ${permission} ${resource}`;
  return notice(allowed ? "good" : "bad", title,
    because && h("p", {}, because.owner ? `${because.owner} owns the workspace.` : `${because.subject} is ${because.role} on ${because.resource}${because.inside ? ", which is inside it" : ""}.`),
    needed && h("p", {}, `It would need ${needed.roles.join(" or ")} on ${needed.resources.join(" or ")}.`),
    h("p", { class: "quiet small" }, `Looked for ${subjects.join(", ")}, from the inside out:`),
    h("ol", { class: "chain small" }, tried.map((each) => h("li", {}, name(each.resource), ": ",
      each.grants.length ? each.grants.map((grant) => `${grant.subject} is ${grant.role}${grant.allows ? "" : ", which does not allow it"}`).join("; ") : "nothing is granted"))));
}
