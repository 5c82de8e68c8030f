// What is shown, kept in the address of TensorBoard's window, so that it can be shared:
// #lossgap&p.lossgap.runs=<name>,<name>&p.lossgap.at=5. TensorBoard leaves such keys to the plugin.

const PREFIX = "p.lossgap.";
const KEYS = ["runs", "told", "at", "sort", "find"];

// The frame's parent is TensorBoard, except where the page is opened by itself or framed by a stranger.
function host() {
  try {
    return window.parent.location.hash === undefined ? window : window.parent;
  } catch {
    return window;
  }
}

const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } };

function entries() {
  return host().location.hash.replace(/^#/, "").split("&").map((entry) => {
    const cut = entry.indexOf("=");
    return cut < 0 ? [entry, null] : [entry.slice(0, cut), entry.slice(cut + 1)];
  });
}

// Another tab of TensorBoard may be in front, whose address isn't ours to change.
function isOurs() {
  const [[tab, value]] = entries();
  return tab === "" || tab === "lossgap" || value !== null;
}

export function read() {
  const found = new Map(entries().filter(([key]) => key.startsWith(PREFIX)).map(([key, value]) => [key.slice(PREFIX.length), value || ""]));
  const runs = found.get("runs");
  const at = Number.parseInt(found.get("at"), 10);
  const [, column, direction] = /^(\w+)\.(ascending|descending)$/.exec(found.get("sort") || "") || [];
  return {
    runs: runs === undefined ? null : runs.split(",").map((name) => decoded(name)),
    told: found.has("told") ? decoded(found.get("told")) : null,
    at: Number.isNaN(at) ? null : at,
    sort: column ? { column, direction } : null,
    find: decoded(found.get("find") || ""),
  };
}

export function write({ runs, focus, at, sort, find }) {
  if (!isOurs()) return;
  const values = {
    runs: runs.length ? runs.map(encodeURIComponent).join(",") : undefined,
    told: runs.length > 1 ? encodeURIComponent(focus) : undefined,
    at: at === null ? undefined : String(at),
    sort: `${sort.column}.${sort.direction}`,
    find: find ? encodeURIComponent(find) : undefined,
  };
  const others = entries().filter(([key]) => key && !key.startsWith(PREFIX)).map(([key, value]) => (value === null ? key : `${key}=${value}`));
  const ours = KEYS.filter((key) => values[key] !== undefined).map((key) => `${PREFIX}${key}=${values[key]}`);
  const hash = `#${[...others, ...ours].join("&")}`;
  const window_ = host();
  if (window_.location.hash !== hash) window_.history.replaceState(window_.history.state, "", hash);
}

// TensorBoard drops what is ours when another tab comes to the front.
export const isBare = () => !entries().some(([key]) => key.startsWith(PREFIX));

export function whenChanged(listener) {
  host().addEventListener("hashchange", () => { if (isOurs()) listener(); });
}
