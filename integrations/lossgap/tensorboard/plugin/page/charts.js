// Panels by Vega. A panel whose specification stays the same gets new rows only, so that its zoom and
// its switched-off curves stay as they are.

import { rowsOf } from "./dom.js";
import { theme } from "./theme.js";

const INKS = {};
let library;

// What stands beside the plot: the axis on its left; on its right the menu, and labels where one run is drawn.
const MARGINS = { loss_comparison: 215, generalization: 215, gap_by_cause: 185, waterfall: 270 };
const MARGIN = 110;

export function setThemes(configs) {
  Object.assign(INKS, configs);
}

// Where the library isn't installed, the answer says what to install.
async function reason(address) {
  const failed = new Error("The chart library can't be loaded.");
  try {
    const answer = await fetch(address);
    return answer.status === 404 ? Object.assign(new Error(await answer.text()), { isMissing: true }) : failed;
  } catch {
    return failed;
  }
}

export function load() {
  library ||= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "./library.js";
    script.addEventListener("load", resolve);
    script.addEventListener("error", async () => {
      library = undefined;
      reject(await reason(script.src));
    });
    document.head.append(script);
  });
  return library;
}

// Vega-Lite 5 asks for Vega 5, the bundle brings the compatible Vega 6, and vega-embed remarks on it.
const warn = console.warn.bind(console);
console.warn = (...words) => { if (!String(words[0]).startsWith("The compiled spec uses Vega")) warn(...words); };

function widthOf(figure, labelled) {
  const margin = (labelled && MARGINS[figure.id]) || MARGIN;
  return Math.max(160, Math.floor(figure.parentElement.clientWidth - margin));
}

function rowsFor(panel, shared) {
  const rows = rowsOf(panel.rows || shared);
  if (panel.last && rows.length) Object.assign(rows[rows.length - 1], panel.last);
  return rows;
}

export async function draw(figure, panel, { rows: shared, labelled }, isCurrent) {
  await load();
  if (!isCurrent()) return;
  const rows = rowsFor(panel, shared);
  const width = widthOf(figure, labelled);
  const key = JSON.stringify([panel.spec, theme()]);
  if (figure.dataset.key === key && figure.lossgapView) {
    const view = figure.lossgapView;
    view.data("measurements", rows).width(width);
    await view.runAsync();
    return;
  }
  const spec = { ...structuredClone(panel.spec), width, config: INKS[theme()], datasets: { measurements: rows } };
  const holder = document.createElement("div");
  const result = await window.vegaEmbed(holder, spec, {
    mode: "vega-lite",
    renderer: "canvas",
    logLevel: 1, // Errors. Vega would remark that a curve that was switched off has no extent.
    actions: { export: true, source: false, compiled: false, editor: false },
    tooltip: { theme: theme() },
  });
  if (!isCurrent()) {
    result.finalize();
    return;
  }
  clear(figure);
  figure.dataset.key = key;
  figure.lossgapFinalize = result.finalize;
  figure.lossgapView = result.view;
  figure.setAttribute("role", "group");
  figure.setAttribute("aria-label", panel.spec.title.text);
  figure.replaceChildren(holder);
}

export function clear(figure) {
  if (figure.lossgapFinalize) figure.lossgapFinalize();
  delete figure.lossgapFinalize;
  delete figure.lossgapView;
  delete figure.dataset.key;
  figure.replaceChildren();
}
