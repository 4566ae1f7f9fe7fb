// What to say to who may not do something: who grants it, and what that is.

import { get, of } from "../api.js";
import { h, name } from "../dom.js";
import { resource } from "../place.js";

const ROLES = { run: "runner", read: "editor", write: "editor", create: "db/creator" };
const DOES = { see: "see this", run: "run this agent", read: "read what is in this app", write: "change what is in this app", create: "make apps here",
  delete: "delete this", install: "install or import anything here", admin: "look at this" };
const ON_SERVER = { create: "make workspaces", admin: "see what the server counts" };

const MOST = 100;

// Those apps of a workspace, or agents of an app, with which something may be done. Where it may be done with all that is in
// the place nothing is asked.
export async function those(place, kind, names, permission, signal) {
  if (place.may(permission)) return new Set(names);
  const found = await Promise.all(names.slice(0, MOST).map(async (each) => {
    const { may } = await get(of(place, kind, each, "may"), {}, signal).catch(() => ({ may: [] }));
    return may.at(-1)?.permissions.includes(permission) ? each : null;
  }));
  return new Set(found.filter((each) => each !== null));
}

// Who grants what is missing, and to whom.
export function grantable(place, permission) {
  const { ws, ...inner } = place.names;
  if (ws === undefined) return permission === "create" ? "Who runs the server says who may." : "That is for who runs the server.";
  return ["Who administers the workspace ", name(ws), " can grant it: the role ", name(ROLES[permission] ?? "admin"), " on ", name(resource(inner)),
    place.subject?.includes("/") && [" to ", name(place.subject)], "."];
}

// Instead of a view that is not for who looks.
export function lacking(place, permission) {
  return h("p", { class: "empty" }, `You may not ${(place.depth ? DOES : ON_SERVER)[permission]}. `, grantable(place, permission));
}
