// A live query: the rows that it has now, as the server tells of changes.

import { of, parse, url } from "../api.js";
import { empty, h, notice, put, renew, say } from "../dom.js";
import { idOf } from "./value.js";

const QUIET = 1500;
const MOST = 500;

// Follow a query in `element`, whose rows `shown` makes. Answers what ends it; `ended` is called if the server does.
export function follow(place, query, params, element, shown, ended) {
  const rows = new Map();
  const state = h("p", { class: "quiet small", role: "status" }, "Connecting…");
  const body = h("div");
  put(element, state, body);
  const source = new EventSource(url(of(place, "live"), { query, params: params || undefined }));
  let fresh = new Set();
  let timer = 0;

  function draw() {
    timer = 0;
    const items = [...rows.values()];
    if (!items.length) renew(body, empty("No rows yet. They appear here as soon as there are some."));
    else {
      const made = shown(items.slice(-MOST).reverse());
      const lines = made.querySelectorAll("tbody tr");
      items.slice(-MOST).reverse().forEach((item, at) => lines[at].classList.toggle("fresh", fresh.has(idOf(item._rmx_id))));
      renew(body, made);
      setTimeout(() => made.querySelectorAll(".fresh").forEach((each) => each.classList.remove("fresh")), QUIET);
    }
    state.textContent = `Following: ${rows.size} ${rows.size === 1 ? "row" : "rows"}${rows.size > MOST ? `, the last ${MOST} shown` : ""}.`;
    fresh = new Set();
  }

  function take(event) {
    const { entered = [], changed = [], left = [] } = parse(event.data);
    const isFirst = event.type === "reset" || !rows.size;
    if (event.type === "reset") rows.clear();
    for (const each of left) rows.delete(idOf(each));
    for (const each of [...entered, ...changed]) {
      const id = idOf(each._rmx_id);
      rows.delete(id);
      rows.set(id, each);
      if (!isFirst) fresh.add(id);
    }
    if (!isFirst) say(`${entered.length} new, ${changed.length} changed, ${left.length} gone`);
    timer ||= setTimeout(draw, 60);
  }

  source.addEventListener("change", take);
  source.addEventListener("reset", take);
  source.addEventListener("error", (event) => {
    if (event.data !== undefined) {
      stop();
      let message = event.data;
      try { message = parse(event.data).message; } catch { /* It is said as it came. */ }
      put(element, notice("bad", "The query cannot be followed", h("p", {}, message)));
      ended();
    } else if (source.readyState === EventSource.CLOSED) {
      stop();
      put(element, notice("bad", "The query cannot be followed",
        h("p", {}, "The server refused it. A query that is followed keeps whole records, or makes one object of each. Run it once: that says more.")));
      ended();
    } else state.textContent = "The connection is gone; it is made again by itself.";
  });

  function stop() {
    clearTimeout(timer);
    source.close();
  }
  return stop;
}
