// Elements, and numbers as text. All text goes through textContent: a run called <img> stays text.

export function element(tag, text, properties = {}, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  Object.assign(node, properties);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export const byId = (id) => document.getElementById(id);

// Four digits, so that a column's points stand below each other. NaN and infinities arrive as words; what is
// absent is a dash.
export function written(value, signed = false) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  const usual = value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4);
  const text = (usual ? value.toPrecision(4) : value.toExponential(3)).replaceAll("-", "−");
  return signed && value > 0 ? `+${text}` : text;
}

export const rowsOf = (table) => table.rows.map((row) => Object.fromEntries(table.columns.map((name, i) => [name, row[i]])));

export const nameOf = (model) => (model === "" ? "(log directory)" : model);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
