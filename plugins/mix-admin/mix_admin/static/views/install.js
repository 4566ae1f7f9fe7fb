// Installing a package, and what became of what it asked for.

import { ask, of } from "../api.js";
import { field, form, h, name, notice, put, say, size } from "../dom.js";
import { to } from "../place.js";

export async function view(place) {
  const { ws } = place.names;
  const file = h("input", { type: "file", accept: ".remix" });
  const force = h("input", { type: "checkbox", id: "force" });
  const done = h("div", { class: "stack", "aria-live": "polite" });
  return [
    h("p", { class: "readable" }, "A package is a .remix file with the code of one app or of several. Installing it is all or nothing, and doing it twice changes nothing."),
    h("div", { class: "narrow" }, form("Install a package", "Install", async () => {
      put(done);
      const [chosen] = file.files;
      if (!chosen) throw Object.assign(new Error("Choose a .remix file."), { title: "There is no package", control: file });
      say(`Sending ${size(chosen.size)}`);
      const { value } = await ask("POST", of(place, "install"), {
        body: chosen, query: { force: force.checked ? "true" : "" }, headers: { "Content-Type": "application/octet-stream" },
      });
      put(done, installed(ws, value));
    },
    field("Package", file, "What mixkit remix build has made."),
    h("div", { class: "check" }, force, h("label", { for: "force" }, "Also over a newer version, another package, or one that somebody else signed")))),
    done,
  ];
}

function installed(ws, { changed, apps, version, withheld = [], warnings = [] }) {
  return notice("good", changed ? `Version ${version} is installed` : `Version ${version} was installed already`,
    h("ul", { class: "plain" }, apps.map((app) => h("li", {}, h("a", { href: to(["ws", ws, "app", app]) }, name(app))))),
    withheld.length > 0 && [h("p", {}, "These powers it asked for and did not get:"), h("ul", { class: "plain" }, withheld.map((each) => h("li", { class: "minus" }, name(each))))],
    warnings.length > 0 && h("ul", { class: "plain" }, warnings.map((each) => h("li", {}, each))));
}
