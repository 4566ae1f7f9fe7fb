// An agent: what it takes and answers, a form to run it, and its last runs.

import { ask, get, of, write } from "../api.js";
import { button, empty, form, h, heading, notice, put, say } from "../dom.js";
import { control, fields, readJSON } from "./parameters.js";
import { runs } from "./activities.js";

export async function view(place, signal) {
  const agent = await get(of(place), {}, signal);
  const answered = h("div", { class: "stack" }, empty("Run it, and what it answers stands here."));
  const past = h("div", { class: "stack" });
  const update = async () => put(past, await runs(place, signal));
  const shape = agent.inParams ?? {};
  const isRecord = shape.type === "object" && shape.properties;
  const given = isRecord ? fields(shape) : control(shape, "Parameters");
  const text = h("textarea", { class: "code", rows: "6", spellcheck: "false", "aria-label": "Parameters as JSON" });
  const asForm = h("div", { class: "stack" }, Object.keys(shape.properties ?? { any: 1 }).length ? given.node : h("p", { class: "quiet" }, "It takes no parameters."));
  const asText = h("div", { hidden: true }, text);
  const swap = button("Write JSON instead", async () => {
    if (asText.hidden) {
      text.value = write(await given.read(), 2) ?? "{}";
      swap.textContent = "Back to the form";
    } else swap.textContent = "Write JSON instead";
    asText.hidden = !asText.hidden;
    asForm.hidden = !asText.hidden;
    if (!asText.hidden) text.focus();
  }, { class: "link" });
  const run = form(`Run ${place.names.agent}`, [h("button", { class: "main" }, "Run"), swap], async () => {
    put(answered);
    const body = asText.hidden ? await given.read() : readJSON(text, "Parameters");
    const began = performance.now();
    try {
      const { value, headers } = await ask("POST", of(place), { body: body ?? null, signal });
      put(answered, result(value, performance.now() - began, headers.get("X-Request-Id")));
      say("The agent has answered");
    } catch (error) {
      if (error.status !== 422 || !error.details.run_error) throw error;
      put(answered, failed(error));
      say("The agent failed");
    } finally {
      update();
    }
  }, asForm, asText);
  update();
  return [
    agent.description && h("p", { class: "readable" }, agent.description),
    h("div", { class: "columns" },
      h("section", {}, heading("Parameters"), run),
      h("section", { "aria-live": "polite" }, heading("Answer"), answered, h("details", {}, h("summary", {}, "What it takes and answers"), schemas(agent)))),
    h("section", {}, heading("Last runs"), past),
  ];
}

function schemas(agent) {
  return h("div", { class: "stack" },
    h("h3", {}, "Takes"), h("pre", { tabindex: "0" }, write(agent.inParams, 2)),
    h("h3", {}, "Answers"), h("pre", { tabindex: "0" }, write(agent.outParams, 2)));
}

function result(value, milliseconds, request) {
  return [
    h("pre", { tabindex: "0", "aria-label": "Answer" }, write(value, 2) || "nothing"),
    h("p", { class: "quiet small" }, `${Math.round(milliseconds)} ms · request `, h("code", {}, request)),
  ];
}

function failed(error) {
  const { message, code, backtrace, agent } = error.details.run_error;
  const lines = Array.isArray(backtrace) ? backtrace.map(String).join("\n") : backtrace;
  return notice("bad", "The agent failed",
    h("p", {}, message),
    h("p", { class: "quiet small" }, [code && `code ${code}`, agent, error.request && `request ${error.request}`].filter(Boolean).join(" · ")),
    lines && h("details", {}, h("summary", {}, "Where"), h("pre", { tabindex: "0" }, lines)));
}
