// The server's API, as the session of this browser may use it.

// What is asked stands beside the page, wherever a proxy has put both.
const ROOT = new URL("../", import.meta.url);

const ADVICE = {
  0: "Is the server running? Try again when it is.",
  401: "Sign in again.",
  403: "Somebody who administers this workspace can grant it.",
  404: "It may have been deleted, or you may not see it.",
  408: "Try again.",
  409: "Somebody was quicker. Read it again, then repeat.",
  412: "Somebody has changed it since. Read it again, then repeat.",
  413: "Send less at once.",
  429: "The server is busy. Try again in a moment.",
  500: "The server's log has more, under the number of the request.",
  503: "The server is stopping, or its database fails. Try again in a moment.",
  504: "It took too long. Ask for less.",
};

// What went wrong with a request: `status` is 0 where there was no answer.
export class Problem extends Error {
  constructor(status, message, details = {}, request = "") {
    super(message);
    this.status = status;
    this.details = details;
    this.request = request;
    this.title = status ? `The server says no (${status})` : "The server does not answer";
    if (status === 422) this.title = "The agent failed";
    if (status >= 500) this.title = `The server failed (${status})`;
    this.advice = ADVICE[status] ?? "";
  }
}

// JSON with every number as it stands: what JavaScript's numbers cannot hold stays a text within (JSON.rawJSON).
export function parse(text) {
  return JSON.parse(text, (key, value, context) =>
    typeof value === "number" && context?.source && JSON.rawJSON && String(value) !== context.source
      ? JSON.rawJSON(context.source) : value);
}

export const write = (value, indent) => JSON.stringify(value, null, indent);

// The path of something: `at("ws", "crm")`.
export const at = (...parts) => `v1/${parts.map(encodeURIComponent).join("/")}`;

// The path of the workspace, app or agent of a place, and of what is in it.
export const of = (place, ...parts) => at(...Object.entries(place.names).flat(), ...parts);

export function url(path, query = {}) {
  const made = new URL(path, ROOT);
  for (const [name, text] of Object.entries(query)) {
    if (text !== undefined && text !== "") made.searchParams.set(name, text);
  }
  return made;
}

// Ask for something; the answer as `{value, headers}`. Options: query, body (a value, or bytes), headers, signal.
export async function ask(method, path, options = {}) {
  const headers = new Headers({ Accept: "application/json", ...options.headers });
  let body = options.body;
  const isBytes = body instanceof Blob || body instanceof FormData;
  if (body !== undefined && !isBytes) {
    body = write(body);
    headers.set("Content-Type", "application/json");
  }
  let answer, text;
  try {
    answer = await fetch(url(path, options.query), { method, headers, body, signal: options.signal, cache: "no-store" });
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "No answer came.");
  }
  if (!answer.ok) throw refused(answer, text, path);
  const isJson = answer.headers.get("Content-Type")?.includes("json");
  return { value: text && isJson ? parse(text) : text, headers: answer.headers, status: answer.status };
}

export const get = async (path, query, signal) => (await ask("GET", path, { query, signal })).value;

function refused(answer, text, path) {
  let details = {};
  try {
    details = parse(text);
  } catch {
    // A proxy's page, perhaps: its status says enough.
  }
  const request = answer.headers.get("X-Request-Id") ?? "";
  const message = details.message ?? details.run_error?.message ?? answer.statusText;
  if (answer.status === 401 && !path.startsWith("v1/auth/")) dispatchEvent(new Event("signed-out"));
  return new Problem(answer.status, message, details, request);
}
