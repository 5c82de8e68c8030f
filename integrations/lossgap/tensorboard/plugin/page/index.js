// The tab: state, and what happens when it changes. TensorBoard calls render() once.

import * as address from "./address.js";
import * as charts from "./charts.js";
import { Details } from "./details.js";
import { byId, element, setText } from "./dom.js";
import { isShown, keepAsking } from "./live.js";
import { Panels } from "./panels.js";
import { ask } from "./requests.js";
import { Runs, sortable } from "./runs.js";
import { build } from "./skeleton.js";
import { follow } from "./theme.js";

const state = { runs: [], focus: null, at: null, sort: { column: "name", direction: "ascending" }, find: "" };
let runs, panels, details;
let overview = "";
let width = 0;
let failed = false;

function style() {
  const link = element("link", undefined, { rel: "stylesheet", href: "./static/page.css" });
  const loaded = new Promise((resolve) => { link.addEventListener("load", resolve); link.addEventListener("error", resolve); });
  document.head.append(link);
  return loaded;
}

function trouble(error) {
  if (error && error.isMissing) {
    setText(byId("problem"), error.message);
    return;
  }
  setText(byId("trouble"), error ? "TensorBoard doesn't answer. Trying again." : "");
}

async function draw() {
  byId("shown").hidden = !state.runs.length;
  width = window.innerWidth;
  // Told when both are through: what one has to say, the other may clear on its way.
  const results = await Promise.allSettled([panels.show(), details.show()]);
  const errors = results.filter((result) => result.status === "rejected").map((result) => result.reason);
  failed = errors.some((error) => !error.isMissing);
  errors.forEach(trouble);
}

function keep() {
  address.write(state);
  runs.show();
}

function choose(chosen, focus) {
  state.runs = chosen;
  if (focus !== state.focus) state.at = null;
  state.focus = chosen.length ? focus : null;
  keep();
  return draw();
}

function sort(column) {
  const again = state.sort.column === column && state.sort.direction === "ascending";
  state.sort = { column, direction: again ? "descending" : "ascending" };
  keep();
}

// The address decides; without one, the run that was logged last is shown.
function adopt() {
  const wanted = address.read();
  if (wanted.sort && sortable.has(wanted.sort.column)) state.sort = wanted.sort;
  state.find = wanted.find;
  state.at = wanted.at;
  byId("find").value = state.find;
  const newest = runs.newest();
  // What TensorBoard hasn't read yet may still come.
  state.runs = wanted.runs ? [...new Set(wanted.runs)].slice(0, runs.most) : newest ? [newest.name] : [];
  const known = state.runs.filter((name) => runs.get(name));
  state.focus = state.runs.includes(wanted.told) ? wanted.told : (known[0] ?? state.runs[0] ?? null);
}

const lastOf = (name) => JSON.stringify(runs.get(name) || null);

async function look() {
  let answer;
  try {
    answer = await ask("overview");
  } catch (error) {
    trouble(error);
    throw error;
  }
  trouble(null);
  const text = JSON.stringify(answer);
  if (text === overview) {
    if (failed) await draw();
    return false;
  }
  const first = !runs.models.length;
  const before = state.runs.map(lastOf);
  overview = text;
  byId("empty").hidden = answer.rows.length > 0;
  byId("chooser").hidden = !answer.rows.length;
  charts.setThemes(answer.themes);
  runs.take(answer);
  if (first && answer.rows.length) {
    adopt();
    keep();
    await draw();
  } else if (state.runs.some((name, index) => lastOf(name) !== before[index])) {
    await draw();
  }
  return true;
}

function listen() {
  let typing;
  byId("find").addEventListener("input", () => {
    state.find = byId("find").value;
    clearTimeout(typing);
    typing = setTimeout(keep, 120);
  });
  byId("all").addEventListener("click", () => choose(runs.shown.slice(0, runs.most), runs.shown.includes(state.focus) ? state.focus : runs.shown[0]));
  byId("none").addEventListener("click", () => choose([], null));
  address.whenChanged(() => {
    if (!runs.models.length) return;
    if (address.isBare()) {
      keep();
      return;
    }
    adopt();
    keep();
    draw();
  });
  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (!isShown()) return;
      if (runs.models.length && address.isBare()) keep();
      if (width === window.innerWidth) return;
      width = window.innerWidth;
      Promise.all([panels.redraw(), details.redraw()]).catch(trouble);
    }, 200);
  });
}

export async function render() {
  document.documentElement.lang = "en";
  document.title = "True Loss";
  await style();
  build();
  runs = new Runs(state, { choose, sort });
  panels = new Panels(state);
  details = new Details(state, {
    at: (place) => { state.at = place; address.write(state); },
    tell: (name) => { state.focus = name; state.at = null; keep(); details.show().catch(trouble); },
  });
  listen();
  follow(() => { Promise.all([panels.redraw(), details.redraw()]).catch(trouble); });
  keepAsking(look);
  const drawn = look().catch(() => {});
  charts.load().catch(() => {});
  await drawn;
  document.body.dataset.ready = "true";
}
