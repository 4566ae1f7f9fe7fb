// Elements. What they hold is text, whatever stands in it: nothing here, or anywhere in this page, reads markup.

const SCHEMES = new Set(["http:", "https:", "blob:"]);
let count = 0;

// An element: `h("a", {href: "#/"}, "Home")`. Functions are listeners; true and false are attributes that are there or not.
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "value") element.value = value;
    else if (name === "href" && !SCHEMES.has(new URL(value, document.baseURI).protocol)) continue;
    else element.setAttribute(name, value === true ? "" : value);
  }
  put(element, ...children);
  return element;
}

// Let these be all that an element holds. Nothing, null and false are left away.
export function put(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((each) => each !== undefined && each !== null && each !== false));
  return element;
}

// The same, for who is in it with the keyboard: what had the focus, or what is like it, or the first of all, has it then.
export function renew(element, ...children) {
  const had = element.contains(document.activeElement) ? document.activeElement : null;
  const key = (each) => each.getAttribute("href") ?? each.getAttribute("aria-label") ?? each.textContent;
  put(element, ...children);
  if (!had || had.isConnected) return;
  const all = [...element.querySelectorAll("a[href], button, [tabindex]")];
  (all.find((each) => key(each) === key(had)) ?? all[0])?.focus({ preventScroll: true });
}

export const unique = (name) => `${name}-${++count}`;

// Say it to who listens instead of looking.
export function say(text) {
  const said = document.getElementById("said");
  // The same words again are news only if they were gone in between.
  said.textContent = "";
  setTimeout(() => { said.textContent = text; }, 50);
}

// A control below its label. `hint` says what is wanted.
export function field(label, control, hint) {
  control.id ||= unique("field");
  const about = hint && h("span", { class: "hint", id: `${control.id}-hint` }, hint);
  if (about) control.setAttribute("aria-describedby", about.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), about, control);
}

export function choice(options, chosen, attributes) {
  const made = options.map((each) => {
    const [value, text] = Array.isArray(each) ? each : [each, each];
    return h("option", { value, selected: value === chosen }, text);
  });
  return h("select", attributes, made);
}

// A form whose button does `act`, once at a time; what goes wrong is said beside it, and what was typed stays.
// `button` is its text, or the button and what stands beside it.
export function form(label, button, act, ...children) {
  const wrong = h("div", { role: "alert" });
  const [submit, ...more] = typeof button === "string" ? [h("button", { class: "main" }, button)] : [button].flat();
  let busy = false;
  return h("form", {
    "aria-label": label,
    novalidate: true,
    submit: async (event) => {
      event.preventDefault();
      if (busy) return;
      busy = true;
      submit.setAttribute("aria-disabled", "true");
      put(wrong);
      try {
        await act(event);
      } catch (error) {
        put(wrong, problem(error));
        error.control?.focus();
      } finally {
        busy = false;
        submit.removeAttribute("aria-disabled");
      }
    },
  }, children, h("div", { class: "row acts" }, submit, more), wrong);
}

// A button that does `act`, once at a time. What goes wrong is said where the page has a place for it.
export function button(text, act, attributes) {
  const made = h("button", {
    type: "button",
    ...attributes,
    click: async () => {
      if (made.getAttribute("aria-disabled")) return;
      made.setAttribute("aria-disabled", "true");
      try {
        await act(made);
      } catch (error) {
        const at = made.closest("section, main") ?? document.getElementById("main");
        at.querySelector(":scope > .notice.bad[role=alert]")?.remove();
        const said = problem(error);
        said.setAttribute("role", "alert");
        at.append(said);
      } finally {
        made.removeAttribute("aria-disabled");
      }
    },
  }, text);
  return made;
}

// A table. A column is [name, cell, class?]; the first one names the row. `cell` makes what stands there of a row.
export function table(caption, columns, rows, options = {}) {
  const head = h("tr", {}, columns.map(([title, , kind]) =>
    h("th", { scope: "col", class: kind }, title || h("span", { class: "unseen" }, "Actions"))));
  const body = h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(([title, cell, kind], at) =>
    at ? h("td", { class: kind, "data-name": title }, cell(row)) : h("th", { scope: "row", class: kind }, cell(row))))));
  const made = h("table", { class: options.wide ? "" : "folds" },
    h("caption", { class: options.unseen && "unseen" }, caption), h("thead", {}, head), body);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, made);
}

export const empty = (...children) => h("p", { class: "empty" }, children);

export function notice(kind, title, ...children) {
  return h("div", { class: `notice ${kind}` }, h("strong", {}, title), children);
}

// What went wrong, and what to do about it.
export function problem(error) {
  return notice("bad", error.title ?? "Something went wrong in this page",
    h("p", {}, error.message), error.advice && h("p", { class: "quiet" }, error.advice),
    error.request && h("p", { class: "quiet small" }, "Request ", h("code", {}, error.request)));
}

export const heading = (text, ...more) => h("h2", {}, text, more);
export const name = (text) => h("span", { class: "name" }, text);

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.map(([term, ...text]) => [h("dt", {}, term), h("dd", {}, text)]));
}

// A moment, in Unix milliseconds or as ISO text, as the reader's clock has it.
export function moment(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return String(at ?? "");
  const shown = date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  return h("time", { datetime: date.toISOString(), class: "tight" }, shown);
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const at = Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** at).toPrecision(3)} ${["B", "KiB", "MiB", "GiB", "TiB"][at]}`;
}
