// Installing a package: what it asks for beside what is there, then the installation; and powers that were withheld.

import { ask, get, of } from "../api.js";
import { button, empty, form, h, heading, name, notice, put, table } from "../dom.js";
import { again, to } from "../place.js";
import { brief } from "./value.js";
import { confirm } from "./confirm.js";
import { source } from "./source.js";

export async function view(place, signal) {
  const force = h("input", { type: "checkbox", id: "force" });
  const found = h("div", { class: "stack", "aria-live": "polite" });
  const forget = () => put(found);
  const from = source("Package", "What mixkit remix build has made. Nothing is changed by looking at it.", forget, signal);
  const send = async (options) => (await ask("POST", of(place, "install"), from.request({ force: force.checked || undefined, ...options }))).value;
  const there = h("section", {}, await powers(place, signal));
  force.addEventListener("change", forget);
  return [
    h("p", { class: "readable" }, "A package is a .remix file with the code of one app or of several. Installing it is all or nothing, and doing it twice changes nothing."),
    h("div", { class: "narrow" }, form("Look at a package", "Look at it", async () => {
      put(found);
      const seen = await send({ dry_run: true });
      put(found, looked(seen, async (grant) => {
        // What is at a URL may be another file by now than the one that was looked at.
        const done = installed(place.names.ws, await send({ grant, sha256: from.isUrl() ? seen.sha256 : undefined }));
        put(found, done);
        put(there, await powers(place, signal));
        done.setAttribute("tabindex", "-1");
        done.focus();
      }));
    },
    from.node,
    h("div", { class: "check" }, force, h("label", { for: "force" }, "Also over a newer version, another package, or one that somebody else signed")))),
    found,
    there,
  ];
}

// What would be installed, power by power, each of which may be left out.
function looked({ changed, apps, version, sha256, withheld = [], warnings = [], asks = { ffis: [] }, changes = [] }, install) {
  const kept = new Set(withheld);
  const boxes = asks.ffis.map((ffi) => [ffi, h("input", { type: "checkbox", id: `ask-${ffi}`, checked: !kept.has(ffi) })]);
  const before = boxes.map(([, box]) => box.checked);
  return h("section", {}, heading(changed ? `Version ${version} of ${apps.join(", ")}` : `Version ${version} is installed already`),
    warnings.length > 0 && notice("", "Mind that", h("ul", { class: "plain" }, warnings.map((each) => h("li", {}, each)))),
    changes.length ? changes.map(change) : empty("Nothing differs from what is there."),
    form("Install the package", "Install", async () => {
      const given = boxes.filter(([, box]) => box.checked).map(([ffi]) => ffi);
      const same = boxes.every(([, box], at) => box.checked === before[at]);
      if (!same && !given.length) {
        throw Object.assign(new Error("Without any power it is not the package that it says it is. Leave it one, or do not install it."),
          { title: "Nothing is left", control: boxes[0][1] });
      }
      await install(same ? undefined : given);
    },
    boxes.length
      ? h("fieldset", {}, h("legend", {}, "What it may do"), boxes.map(([ffi, box]) =>
        h("div", { class: "check" }, box, h("label", { for: box.id }, name(ffi)))))
      : empty("It asks for no powers."),
    withheld.length > 0 && h("p", { class: "quiet" }, `Not without being agreed to: ${withheld.join(", ")}.`),
    h("p", { class: "quiet small" }, "SHA-256 ", h("code", {}, sha256))));
}

// What differs for one app: powers first.
function change(app) {
  const names = (title, { added = [], removed = [], changed = [] }) => (added.length + removed.length + changed.length) > 0 && [
    h("dt", {}, title), h("dd", {}, h("ul", { class: "plain" }, signed("plus", added), signed("minus", removed),
      changed.map((each) => h("li", {}, name(each), " changed")))),
  ];
  const pair = (title, both) => both && [
    h("dt", {}, title), h("dd", {}, both.old !== null && h("del", {}, brief(both.old)), " ", both.new !== null && h("ins", {}, brief(both.new))),
  ];
  return h("div", { class: "stack" }, h("h3", {}, app.app),
    h("dl", { class: "facts" },
      (app.widened.length + app.narrowed.length) > 0 && [
        h("dt", {}, "Powers"), h("dd", {}, h("ul", { class: "plain" }, signed("plus", app.widened), signed("minus", app.narrowed)))],
      pair("Version", app.version), pair("Package", app.package), pair("Signed by", app.signer),
      Object.entries(app.limits).map(([key, both]) => pair(`Limit ${key}`, both)),
      names("Agents", app.agents), names("Settings", app.settings), names("Files", app.files),
      pair("Records", app.records), pair("Set up by", app.setup)));
}

const signed = (kind, list) => list.map((each) =>
  h("li", {}, h("span", { class: `name ${kind}` }, h("span", { class: "unseen" }, kind === "plus" ? "more: " : "less: "), each)));

function installed(ws, { changed, apps, version, withheld = [], warnings = [] }) {
  return notice("good", changed ? `Version ${version} is installed` : `Version ${version} was installed already`,
    h("ul", { class: "plain" }, apps.map((app) => h("li", {}, h("a", { href: to(["ws", ws, "app", app]) }, name(app))))),
    withheld.length > 0 && h("p", {}, `It asked for more, which it has not got: ${withheld.join(", ")}.`),
    warnings.length > 0 && h("ul", { class: "plain" }, warnings.map((each) => h("li", {}, each))));
}

// What the apps that are there may do, and what was withheld, which can be agreed to.
async function powers(place, signal) {
  const { apps } = await get(of(place, "powers"), {}, signal);
  const shown = apps.filter((app) => app.version !== null);
  if (!shown.length) return [heading("Installed"), empty("Nothing is installed here yet.")];
  return [heading("Installed"), table("Installed apps and their powers", [
    ["App", (app) => h("a", { href: to(["ws", place.names.ws, "app", app.app]) }, name(app.app))],
    ["Version", (app) => app.version, "tight"],
    ["May", (app) => app.allowed.length ? name(app.allowed.join(", ")) : h("span", { class: "quiet" }, "call nothing"), "value"],
    ["Withheld", (app) => app.withheld.length ? name(app.withheld.join(", ")) : "", "value"],
    ["", (app) => app.withheld.length > 0 && button("Agree…", async () => {
      if (!await confirm(`Let ${app.app} do that?`, `From the next run on it may use ${app.withheld.join(", ")}.`, "Agree")) return;
      await ask("POST", of(place, "powers", app.app), { body: { agree: app.withheld } });
      again();
    }, { class: "link", "aria-label": `Agree to what was withheld from ${app.app}` }), "act"],
  ], shown, { unseen: true })];
}
