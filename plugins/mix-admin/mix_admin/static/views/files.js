// The files of an app.

import { ask, get, of, url } from "../api.js";
import { button, empty, field, form, h, moment, name, say, size, table } from "../dom.js";
import { again, go, to } from "../place.js";
import { confirm } from "./confirm.js";

const PAGE = "100";

export async function view(place, signal) {
  const { folder = "/", after = "" } = place.options;
  const wanted = h("input", { class: "code", value: folder, autocomplete: "off", spellcheck: "false" });
  const shown = form("Folder", h("button", {}, "Show"), async () => go(to(place.parts, { folder: wanted.value.trim() })), field("In the folder", wanted));
  let page;
  try {
    page = await get(of(place, "file-manager"), { folder, after, limit: PAGE }, signal);
  } catch (error) {
    if (error.status !== 404) throw error;
    return empty("There are no files to manage here: the server, or its profile, has no file system.");
  }
  return [
    h("div", { class: "narrow" }, shown),
    page.files.length
      ? table("Files", columns(place), page.files, { unseen: true })
      : empty(place.may("write") ? "No files here. Agents keep some, and so does the form below." : "No files here. Agents keep some."),
    page.after && h("p", {}, h("a", { href: to(place.parts, { folder, after: page.after }) }, "More files")),
    place.may("write") && upload(place, folder),
  ];
}

function columns(place) {
  return [
    ["Path", (file) => h("a", { href: url(of(place, "file-manager", "content"), { path: file.path }).href, download: true }, name(file.path))],
    ["Size", (file) => size(file.metadata.size), "number"],
    ["Stored", (file) => moment(file.metadata.modified), "tight"],
    place.may("write") && ["", (file) => button("Delete", async () => {
      if (!await confirm("Delete this file?", `${file.path} is lost.`, "Delete the file")) return;
      await ask("DELETE", of(place, "file-manager", "content"), { query: { path: file.path } });
      again();
    }, { class: "link danger", "aria-label": `Delete ${file.path}` }), "act"],
  ].filter(Boolean);
}

function upload(place, folder) {
  const file = h("input", { type: "file" });
  const path = h("input", { class: "code", autocomplete: "off", spellcheck: "false", placeholder: "/notes/today.txt" });
  const force = h("input", { type: "checkbox", id: "replace" });
  file.addEventListener("change", () => { path.value ||= `${folder.replace(/\/$/, "")}/${file.files[0]?.name ?? ""}`; });
  return h("details", {}, h("summary", {}, "Store a file"), h("div", { class: "narrow" }, form("Store a file", "Store", async () => {
    const [chosen] = file.files;
    if (!chosen) throw Object.assign(new Error("Choose a file."), { title: "There is no file", control: file });
    await ask("PUT", of(place, "file-manager", "content"), {
      body: chosen, query: { path: path.value.trim(), force: force.checked ? "true" : "" },
      headers: { "Content-Type": chosen.type || "application/octet-stream" },
    });
    say("Stored");
    again();
  }, field("File", file), field("Path", path, "What is below /public is for everybody."),
  h("div", { class: "check" }, force, h("label", { for: "replace" }, "Replace what is there")))));
}
