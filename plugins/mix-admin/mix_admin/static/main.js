// The frame of the page: who is signed in, where they are, and the view that shows it.

import { get, of } from "./api.js";
import { button, h, problem, put, say } from "./dom.js";
import { above, beside, read, to } from "./place.js";

const main = document.getElementById("main");
const SLOW = 200;
const DEPTHS = ["ws", "app", "agent"];
let who = null;
let known = new Map();
let showing = null;

function frame(place) {
  const sections = [["Workspaces", to([]), Boolean(place && place.view !== "metrics")],
    ...(who?.may.includes("admin") ? [["Server", to(["server"]), place?.view === "metrics"]] : [])];
  put(document.getElementById("sections"), who && sections.map(([text, href, here]) =>
    h("a", { href, "aria-current": here && "true" }, text)));
  put(document.getElementById("who"), who && [
    h("span", { class: "quiet small" }, who.name),
    who.session && button("Sign out", async () => {
      const { leave } = await import("./views/signin.js");
      await leave();
      signOut();
    }, { class: "link" }),
  ]);
  put(document.getElementById("trail"), place?.depth && h("ol", {},
    above(place).map(([text, href]) => h("li", {}, h("a", { href }, text)))));
}

function head(place) {
  const tabs = beside(place);
  return h("div", { class: "head" },
    h("h1", { tabindex: "-1" }, place.title),
    tabs.length > 0 && h("nav", { class: "tabs", "aria-label": `Parts of ${place.names[place.depth]}` },
      h("ul", {}, tabs.map(([text, href, here]) => h("li", {}, h("a", { href, "aria-current": here && "page" }, text))))));
}

// Let a place know what may be done there by what was known last: `place.may("read")` with it, `place.may("install", "ws")`
// with what it is in.
function expect(place) {
  const key = JSON.stringify(place.names);
  place.subject = who.subject;
  place.may = (permission, depth = place.depth) =>
    depth ? Boolean(known.get(key)?.[DEPTHS.indexOf(depth)]?.permissions.includes(permission)) : who.may.includes(permission);
}

// Ask what may be done there: nothing is offered that would be refused.
async function learn(place, signal) {
  if (place.depth) known.set(JSON.stringify(place.names), (await get(of(place, "may"), {}, signal)).may);
}

async function show() {
  if (!who) return;
  showing?.abort();
  const { signal } = (showing = new AbortController());
  const place = read(location.hash);
  if (place) expect(place);
  frame(place);
  if (!place) {
    arrive("Not here", [h("h1", { tabindex: "-1" }, "Nothing is here"), h("p", {}, "The address means nothing to this page. ", h("a", { href: to([]) }, "See the workspaces"))]);
    return;
  }
  const slow = setTimeout(() => {
    main.setAttribute("aria-busy", "true");
    put(main, head(place), h("p", { class: "quiet" }, "Loading…"));
  }, SLOW);
  let content;
  try {
    const loading = import(`./views/${place.view}.js`);
    // What fails meanwhile is said when it is waited for.
    loading.catch(() => {});
    await learn(place, signal);
    const { view } = await loading;
    content = place.may(place.needs) ? await view(place, signal) : (await import("./views/lacking.js")).lacking(place, place.needs);
  } catch (error) {
    if (error.name === "AbortError" || error.status === 401) return;
    content = [problem(error), button("Try again", show)];
  } finally {
    clearTimeout(slow);
  }
  if (!signal.aborted) arrive(place.title, [head(place), content]);
}

function arrive(title, content) {
  main.removeAttribute("aria-busy");
  document.title = `${title} · mixkit`;
  put(main, content);
  // Who goes on by keyboard or listens is at the beginning of what is new.
  main.querySelector("h1")?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function signOut() {
  who = null;
  showing?.abort();
  frame(null);
  const { signIn } = await import("./views/signin.js");
  arrive("Sign in", signIn(begin));
}

async function begin() {
  try {
    const found = await get("v1/auth/session");
    who = found;
    known = new Map();
  } catch (error) {
    if (error.status === 401) await signOut();
    else arrive("No answer", [h("h1", { tabindex: "-1" }, "mixkit"), problem(error), button("Try again", begin)]);
    return;
  }
  await show();
}

addEventListener("hashchange", show);
// What skips what stands before the content is no place: the address stays.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("signed-out", () => { if (who) signOut(); });
addEventListener("again", () => { say("Reading anew"); show(); });
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
});

begin();
