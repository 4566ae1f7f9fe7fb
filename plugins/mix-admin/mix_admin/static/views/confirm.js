// A question before what cannot be taken back.

import { field, h, unique } from "../dom.js";

// Whether it shall be done. With `name`, only who writes that name can say so.
export function confirm(title, text, action, wanted) {
  const id = unique("dialog");
  const typed = wanted && h("input", { class: "code", autocomplete: "off", spellcheck: "false" });
  const yes = h("button", { class: "danger", value: "yes" }, action);
  const wrong = h("p", { class: "wrong", role: "alert" });
  const dialog = h("dialog", { "aria-labelledby": id, "aria-describedby": `${id}-text` },
    h("form", { method: "dialog", submit: (event) => {
      if (event.submitter?.value === "yes" && wanted && typed.value !== wanted) {
        event.preventDefault();
        wrong.textContent = `Write ${wanted} to go on.`;
        typed.focus();
      }
    } },
      h("h2", { id }, title),
      h("p", { id: `${id}-text` }, text),
      typed && field(`Write ${wanted} to go on`, typed),
      wrong,
      h("div", { class: "row" }, yes, h("button", { value: "no", formnovalidate: true }, "Cancel"))));
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(dialog.returnValue === "yes");
    });
  });
}
