// Where in the page somebody is: the part of the address behind #, which is a path and options, and never a request.

// A section has a title, its view, and what may be done by whom it is for.
const SECTIONS = {
  ws: { "": ["Apps", "workspace", "see"], permissions: ["Permissions", "permissions", "admin"], activities: ["Activity", "activities", "see"],
    accounts: ["Accounts", "accounts", "see"], tokens: ["Tokens", "tokens", "admin"], providers: ["Providers", "providers", "admin"], install: ["Install", "install", "install"],
    import: ["Import", "import", "install"], export: ["Export", "export", "read"] },
  app: { "": ["Agents", "agents", "see"], records: ["Records", "records", "read"], files: ["Files", "files", "read"],
    secrets: ["Secrets", "secrets", "admin"], permissions: ["Permissions", "permissions", "admin"], activities: ["Activity", "activities", "see"],
    export: ["Export", "export", "read"] },
  agent: { "": ["Run", "agent", "run"], permissions: ["Permissions", "permissions", "admin"], activities: ["Activity", "activities", "see"] },
};

// The address of a place: `to(["ws", "crm"], {query: "true"})`. Options that are empty are left away.
export function to(parts, options = {}) {
  const given = Object.entries(options).filter(([, text]) => text !== undefined && text !== "");
  const query = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#/${parts.map(encodeURIComponent).join("/")}${query}`;
}

// What an address means: its parts, the names in it, its options and the view that shows it; null if it means nothing.
export function read(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  let parts;
  try {
    parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    return null;
  }
  const place = { parts, options: Object.fromEntries(new URLSearchParams(query)), names: {}, depth: "", section: "", needs: "see", may: () => false };
  if (!parts.length) return { ...place, view: "workspaces", title: "Workspaces" };
  if (parts.length === 1 && parts[0] === "server") return { ...place, view: "metrics", title: "Server", needs: "admin" };
  if (parts.length === 1 && parts[0] === "import") return { ...place, view: "import", title: "Import a workspace", needs: "create" };
  const rest = [...parts];
  for (const kind of ["ws", "app", "agent"]) {
    if (rest.length < 2 || rest[0] !== kind) break;
    place.names[kind] = rest[1];
    place.depth = kind;
    rest.splice(0, 2);
  }
  if (place.depth === "app" && rest[0] === "records" && rest.length === 2) {
    return { ...place, section: "records", id: rest[1], view: "record", title: rest[1], needs: rest[1] === "new" ? "write" : "read" };
  }
  place.section = rest.shift() ?? "";
  const found = place.depth && Object.hasOwn(SECTIONS[place.depth], place.section) && SECTIONS[place.depth][place.section];
  if (!found || rest.length) return null;
  const name = place.names[place.depth];
  return { ...place, view: found[1], title: place.section ? `${found[0]} of ${name}` : name, needs: found[2] };
}

// What the workspace, app or agent of a place is called in a grant.
export const resource = ({ app, agent }) => agent !== undefined ? `agent/${app}/${agent}` : app !== undefined ? `db/${app}` : "workspace";

// The places that a place is in, from the outside in, as [name, address].
export function above(place) {
  const found = [["Workspaces", to([])]];
  const { ws, app, agent } = place.names;
  if (ws !== undefined) found.push([ws, to(["ws", ws])]);
  if (app !== undefined) found.push([app, to(["ws", ws, "app", app])]);
  if (agent !== undefined) found.push([agent, to(["ws", ws, "app", app, "agent", agent])]);
  if (place.view === "record") found.push(["Records", to(["ws", ws, "app", app, "records"])]);
  if (place.depth && !place.section) found.pop();
  return found;
}

// What else there is of the workspace, app or agent of a place for who may do so much, as [name, address, whether it is here].
export function beside(place) {
  const base = Object.entries(place.names).flat();
  return Object.entries(SECTIONS[place.depth] ?? {}).filter(([, [, , needs]]) => place.may(needs)).map(([section, [name]]) => [
    name, to(section ? [...base, section] : base), section === place.section,
  ]);
}

// Go there. `quietly` changes the address alone.
export function go(address, quietly = false) {
  if (quietly) history.replaceState(null, "", address);
  else location.hash = address;
}

// Let the view be made anew, after something was changed.
export const again = () => dispatchEvent(new Event("again"));
