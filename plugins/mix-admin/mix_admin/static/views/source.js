// Where a package or an export comes from: a file of this computer, or a URL from which the server fetches it.

import { choice, field, h, say, size } from "../dom.js";

const BINARY = { "Content-Type": "application/octet-stream" };
const FROM = [["file", "a file of this computer"], ["url", "a URL, from which the server fetches it"]];

const missing = (control, title, message) => Object.assign(new Error(message), { title, control });

// Controls for it. `changed` is called when they change. `request(options, query)` makes what is to be sent: options stand
// beside the URL in the body, or, with a file, in the query as the others; undefined ones are left away.
export function source(label, hint, changed, signal) {
  const from = choice(FROM, "file");
  const file = h("input", { type: "file", accept: ".remix" });
  const url = h("input", { class: "code", type: "url", autocomplete: "off", spellcheck: "false" });
  const token = h("input", { class: "code", type: "password", autocomplete: "off", spellcheck: "false" });
  const ofFile = h("div", { class: "stack" }, field(label, file, hint));
  const ofUrl = h("div", { class: "stack", hidden: true }, field("URL", url, hint),
    field("Token for it", token, "Sent there as Authorization: Bearer, where it needs one."));
  from.addEventListener("change", () => {
    ofFile.hidden = from.value !== "file";
    ofUrl.hidden = !ofFile.hidden;
  });
  for (const each of [from, file, url, token]) each.addEventListener("input", changed);
  return {
    node: [field("From", from), ofFile, ofUrl],
    isUrl: () => from.value === "url",
    request: (options, query = {}) => {
      const given = (all) => Object.entries(all).filter(([, each]) => each !== undefined);
      if (from.value === "url") {
        if (!url.value.trim()) throw missing(url, "There is no URL", "Write where it is.");
        say("The server fetches it");
        const body = { url: url.value.trim(), ...Object.fromEntries(given(options)) };
        if (token.value.trim()) body.token = token.value.trim();
        return { body, query, signal };
      }
      const [chosen] = file.files;
      if (!chosen) throw missing(file, "There is no file", "Choose a .remix file.");
      say(`Sending ${size(chosen.size)}`);
      return { body: chosen, query: Object.fromEntries(given({ ...options, ...query })), headers: BINARY, signal };
    },
  };
}
