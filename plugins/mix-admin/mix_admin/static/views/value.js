// How values are shown: tagged JSON, in the words of people where it has any.

const TAG = "{tag}";
const isRaw = (value) => JSON.isRawJSON?.(value) ?? false;

function tagged(value) {
  const type = value?._rmx_type;
  return typeof type === "string" && type.startsWith(TAG) ? type.slice(TAG.length) : null;
}

// A value in a few characters, for a table.
export function brief(value, most = 120) {
  const text = shorten(value, most);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

function shorten(value, most, depth = 0) {
  if (value === undefined) return "";
  if (typeof value === "string") return depth ? JSON.stringify(value.slice(0, most)) : value.slice(0, most + 1);
  if (value === null || typeof value !== "object") return String(value);
  if (isRaw(value)) return value.rawJSON;
  const tag = tagged(value);
  if (tag === "case:db.ref" || tag === "ref") return `→ ${value._rmx_value}`;
  if (tag === "bin") return `binary, ${Math.floor(String(value._rmx_value).length * 3 / 4)} bytes`;
  if (tag?.startsWith("case:")) return `.${tag.slice(5)}${value._rmx_value === undefined ? "" : `(${shorten(value._rmx_value, most, depth + 1)})`}`;
  if (tag) return tag;
  if (depth > 3) return "…";
  const isList = Array.isArray(value);
  let text = "";
  for (const [key, each] of Object.entries(value)) {
    if (text.length > most) break;
    text += `${text && ", "}${isList ? "" : `${key}: `}${shorten(each, most, depth + 1)}`;
  }
  return isList ? `[${text}]` : `{${text}}`;
}

// The id that a value refers to, or null.
export function reference(value) {
  return ["case:db.ref", "ref"].includes(tagged(value)) ? String(value._rmx_value) : null;
}

// The id of a record, wherever it stands: in a ref, or as text.
export const idOf = (value) => reference(value) ?? (typeof value === "string" ? value : null);

export function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
