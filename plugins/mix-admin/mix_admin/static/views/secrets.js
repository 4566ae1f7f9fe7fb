// The names of an app's secrets. Values are for agents, and come to no page.

import { get, of } from "../api.js";
import { empty, h, moment, name, table } from "../dom.js";

export async function view(place, signal) {
  const { ws, app } = place.names;
  let secrets;
  try {
    ({ secrets } = await get(of(place, "secrets"), {}, signal));
  } catch (error) {
    if (error.status !== 404) throw error;
    return empty("This server keeps no secrets: its profile has no mix-secrets.");
  }
  const how = h("p", { class: "quiet readable" }, "Values are used by agents and shown to nobody. Who runs the server stores one with ",
    h("code", {}, `mixkit secrets set ${ws}/${app} NAME`), ".");
  if (!secrets.length) return [empty("There are no secrets in this app."), how];
  return [
    table(secrets.length === 1 ? "1 secret" : `${secrets.length} secrets`, [
      ["Name", (each) => name(each.name)],
      ["Kind", (each) => each.kind],
      ["User", (each) => each.user ? name(each.user) : h("span", { class: "quiet" }, "nobody in particular")],
      ["Version", (each) => String(each.version), "number"],
      ["Stored", (each) => moment(each.changed), "tight"],
    ], secrets),
    how,
  ];
}
