// Signing in: a token is changed for a session, which is in a cookie that no script can read.

import { ask } from "../api.js";
import { field, form, h } from "../dom.js";

export function signIn(then) {
  const token = h("input", { type: "password", class: "code", autocomplete: "current-password", required: true, spellcheck: "false" });
  return [
    h("h1", { tabindex: "-1" }, "Sign in"),
    h("div", { class: "narrow stack" },
      h("p", {}, "With the token that ", h("code", {}, "mixkit serve"), " printed when it started, the one that ",
        h("code", {}, "MIXKIT_SERVER_TOKEN"), " sets, a token of your identity provider, or one that ", h("code", {}, "mixkit auth token"), " made for you."),
      form("Sign in", "Sign in", async () => {
        const given = token.value.trim();
        if (!given) throw Object.assign(new Error("Paste a token."), { title: "There is no token", control: token });
        try {
          await ask("POST", "v1/auth/session", { headers: { Authorization: `Bearer ${given.replace(/[^\x21-\x7e]/g, "?")}` } });
        } catch (error) {
          if (error.status === 401) Object.assign(error, { title: "That token is not good", advice: "Tokens end, and a server that makes its own makes another one at each start.", control: token });
          throw error;
        }
        token.value = "";
        await then();
      }, field("Token", token)),
      h("p", { class: "quiet small" }, "The session lasts at most 12 hours.")),
  ];
}

export const leave = () => ask("DELETE", "v1/auth/session");
