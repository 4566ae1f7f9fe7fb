// What the server counts, as Prometheus reads it.

import { ask, get } from "../api.js";
import { button, empty, facts, field, h, heading, moment, name, put, table } from "../dom.js";
import { again } from "../place.js";

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)",?/g;

export async function view(place, signal) {
  const [about, { value }] = await Promise.all([
    get("", {}, signal), ask("GET", "metrics", { headers: { Accept: "text/plain" }, signal }),
  ]);
  const families = read(value);
  const wanted = h("input", { type: "search", autocomplete: "off", input: () => draw() });
  const listed = h("div", { class: "stack" });
  const draw = () => {
    const text = wanted.value.trim().toLowerCase();
    const found = families.filter((each) => `${each.name} ${each.help}`.toLowerCase().includes(text));
    put(listed, found.length ? found.map(family) : empty("No counter is called so."));
  };
  draw();
  return [
    facts([["Server", `${about.name} ${about.version}`], ["Runs on", about.build], ["Counted until", moment(Date.now())]]),
    h("div", { class: "row" }, h("div", { class: "grow narrow" }, field("Find a counter", wanted)), button("Read again", again)),
    figures(families),
    h("section", {}, heading("Counters"), listed),
  ];
}

// The families of a page of metrics: name, help, kind, and samples as [name, labels, number].
export function read(text) {
  const found = new Map();
  const of = (title) => {
    if (!found.has(title)) found.set(title, { name: title, help: "", kind: "", samples: [] });
    return found.get(title);
  };
  for (const line of text.split("\n")) {
    const note = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line);
    if (note) of(note[2])[note[1] === "HELP" ? "help" : "kind"] = note[3];
    const sample = !line.startsWith("#") && SAMPLE.exec(line);
    if (!sample) continue;
    const base = sample[1].replace(/_(bucket|sum|count|created)$/, "");
    const labels = [...(sample[2] ?? "").matchAll(LABEL)].map(([, key, value]) => [key, value.replace(/\\(.)/g, (all, c) => c === "n" ? "\n" : c)]);
    of(found.has(sample[1]) ? sample[1] : base).samples.push([sample[1], labels, Number(sample[3])]);
  }
  return [...found.values()].filter((each) => each.samples.length && !each.name.endsWith("_created"));
}

function sum(families, pattern, wanted = () => true) {
  const family = families.find((each) => pattern.test(each.name));
  if (!family) return null;
  return family.samples.filter(([title, labels]) => !/_(bucket|sum|created)$/.test(title) && wanted(Object.fromEntries(labels)))
    .reduce((total, [, , value]) => total + value, 0);
}

function figures(families) {
  const shown = [
    ["Requests", sum(families, /requests?(_total)?$/)],
    ["Server errors", sum(families, /requests?(_total)?$/, (labels) => String(labels.status ?? labels.code ?? "").startsWith("5"))],
    ["Runs now", sum(families, /runs(_active|_now|_running)?$/)],
  ].filter(([, value]) => value !== null);
  return shown.length > 0 && h("dl", { class: "figures" }, shown.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value.toLocaleString()))));
}

function family(each) {
  const plain = each.samples.filter(([title]) => !/_(bucket|created)$/.test(title));
  return h("details", {}, h("summary", {}, name(each.name), " ", h("span", { class: "quiet small" }, each.help)),
    table(each.name, [
      ["Of", ([title, labels]) => name([title === each.name ? "" : title.slice(each.name.length + 1), ...labels.map(([key, text]) => `${key}=${text}`)].filter(Boolean).join(" ") || "all")],
      ["Value", ([, , value]) => value.toLocaleString(undefined, { maximumFractionDigits: 3 }), "number"],
    ], plain, { unseen: true }));
}
