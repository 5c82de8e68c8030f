// Elements, and numbers as text. All text goes through textContent: a run called <img> stays text.

export function element(tag, text, properties = {}, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  Object.assign(node, properties);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export const byId = (id) => document.getElementById(id);

// NaN and infinities arrive as words; what is absent is a dash.
export function written(value, signed = false) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  const text = Number(value.toPrecision(4)).toString().replace("-", "−");
  return signed && value > 0 ? `+${text}` : text;
}

export const rowsOf = (table) => table.rows.map((row) => Object.fromEntries(table.columns.map((name, i) => [name, row[i]])));

export const nameOf = (model) => (model === "" ? "(log directory)" : model);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
