// The table of all models: search, sorting, and the choice of those that are drawn.
// One row is a stop for the Tab key; arrows move within the table, as the hint above it says.

import { byId, element, nameOf, rowsOf, setText, written } from "./dom.js";

const MOST_ROWS = 1000;
const COLUMNS = [
  ["name", "Run"], ["place", "Last"], ["reported_loss", "Reported loss"], ["true_loss", "True loss"],
  ["regularization_gap", "Gap"], ["cause", "Main cause"], ["true_val_loss", "True val loss"], ["logged", "Logged"],
];
const WORDS = new Set(["name", "cause"]);
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });

export const sortable = new Set(COLUMNS.map(([column]) => column));

export class Runs {
  constructor(state, listeners) {
    this.state = state;
    this.listeners = listeners;
    this.models = [];
    this.causes = {};
    this.lines = new Map();
    this.shown = [];
    this.cursor = null;
    this.body = byId("runs").tBodies[0];
    this.makeHead();
    this.body.addEventListener("change", (event) => this.toggle(event.target.dataset.run));
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("keydown", (event) => this.pressed(event));
    this.body.addEventListener("focusin", (event) => this.moveCursor(event.target.closest("tr").lossgapName));
  }

  makeHead() {
    const row = element("tr");
    row.append(element("td", ""));
    for (const [column, heading] of COLUMNS) {
      const cell = element("th", undefined, { scope: "col" }, { "data-column": column });
      const button = element("button", heading, { type: "button" });
      button.addEventListener("click", () => this.listeners.sort(column));
      cell.append(button);
      row.append(cell);
    }
    byId("runs").tHead.replaceChildren(row);
  }

  take(answer) {
    this.models = rowsOf(answer);
    this.causes = answer.causes;
    this.most = answer.most_selected;
    this.leftOut = answer.left_out;
    this.show();
  }

  get(name) {
    return this.models.find((model) => model.name === name);
  }

  newest() {
    return this.models.reduce((best, model) => (!best || model.logged > best.logged ? model : best), null);
  }

  found() {
    const words = this.state.find.toLowerCase().split(/\s+/).filter(Boolean);
    return this.models.filter((model) => words.every((word) => nameOf(model.name).toLowerCase().includes(word)));
  }

  sorted(models) {
    const { column, direction } = this.state.sort;
    const sign = direction === "descending" ? -1 : 1;
    const absent = (value) => (WORDS.has(column) ? value === null : typeof value !== "number");
    return [...models].sort((a, b) => {
      const [left, right] = [a[column], b[column]];
      // What has no number stands last, whichever way.
      if (absent(left) || absent(right)) return absent(left) - absent(right) || collator.compare(a.name, b.name);
      const order = WORDS.has(column) ? collator.compare(left, right) : left - right;
      return sign * order || collator.compare(a.name, b.name);
    });
  }

  show() {
    const found = this.sorted(this.found());
    const names = found.slice(0, MOST_ROWS).map((model) => model.name);
    for (const model of found.slice(0, MOST_ROWS)) this.fill(model);
    if (names.length !== this.shown.length || names.some((name, i) => name !== this.shown[i])) this.arrange(names);
    const known = new Set(this.models.map((model) => model.name));
    for (const name of this.lines.keys()) if (!known.has(name)) this.lines.delete(name);
    this.moveCursor(names.includes(this.cursor) ? this.cursor : names[0]);
    this.mark();
    this.say(found.length, names.length);
  }

  arrange(names) {
    const focused = document.activeElement;
    const inside = this.body.contains(focused);
    const scroll = this.body.closest(".scroll").scrollTop;
    this.body.replaceChildren(...names.map((name) => this.lines.get(name).row));
    this.body.closest(".scroll").scrollTop = scroll;
    if (inside && this.body.contains(focused)) focused.focus({ preventScroll: true });
    this.shown = names;
  }

  fill(model) {
    if (!this.lines.has(model.name)) this.lines.set(model.name, this.line(model.name));
    const { cells } = this.lines.get(model.name);
    const cause = model.cause === null ? null : this.causes[model.cause] || [model.cause, ""];
    setText(cells.place, `${model.axis} ${model.place}`);
    for (const column of ["reported_loss", "true_loss", "true_val_loss"]) setText(cells[column], written(model[column]));
    setText(cells.regularization_gap, written(model.regularization_gap, true));
    setText(cells.cause.lastChild, cause ? cause[0] : "–");
    cells.cause.firstChild.style.background = cause ? cause[1] : "transparent";
    setText(cells.logged, model.logged === null ? "–" : clock.format(1000 * model.logged));
  }

  line(name) {
    const row = element("tr");
    row.lossgapName = name;
    const box = element("input", undefined, { type: "checkbox", tabIndex: -1 }, { "aria-label": `Show ${nameOf(name)}`, "aria-describedby": "hint" });
    box.dataset.run = name;
    const head = element("th", undefined, { scope: "row" });
    head.append(element("button", nameOf(name), { type: "button", tabIndex: -1, title: nameOf(name) }));
    const first = element("td");
    first.append(box);
    row.append(first, head);
    const cells = {};
    for (const [column] of COLUMNS.slice(1)) {
      cells[column] = element("td", undefined, { className: WORDS.has(column) ? "word" : "" });
      row.append(cells[column]);
    }
    cells.cause.append(element("span", undefined, { className: "swatch" }, { "aria-hidden": "true" }), element("span"));
    return { row, cells, box };
  }

  mark() {
    for (const name of this.shown) {
      const { row, box } = this.lines.get(name);
      box.checked = this.state.runs.includes(name);
      row.classList.toggle("chosen", box.checked);
      row.classList.toggle("told", name === this.state.focus && this.state.runs.length > 1);
    }
    for (const cell of byId("runs").tHead.querySelectorAll("th")) {
      const mine = cell.dataset.column === this.state.sort.column;
      if (mine) cell.setAttribute("aria-sort", this.state.sort.direction);
      else cell.removeAttribute("aria-sort");
    }
  }

  say(nFound, nShown) {
    const total = this.models.length + this.leftOut;
    const runs = (n) => `${n.toLocaleString("en")} ${n === 1 ? "run" : "runs"}`;
    const parts = [this.state.find ? `${nFound.toLocaleString("en")} of ${runs(total)} found` : runs(total)];
    if (nShown < nFound || this.leftOut) parts.push(`the first ${nShown.toLocaleString("en")} are listed: search to narrow them down`);
    parts.push(`${this.state.runs.length} shown below`);
    if (this.state.runs.length >= this.most) parts.push(`no more than ${this.most} fit`);
    setText(byId("count"), parts.join(", "));
  }

  toggle(name) {
    const { runs } = this.state;
    const chosen = runs.includes(name) ? runs.filter((run) => run !== name) : [...runs, name].slice(0, this.most);
    this.listeners.choose(chosen, chosen.includes(name) ? name : chosen[chosen.length - 1]);
  }

  clicked(event) {
    const row = event.target.closest("tr");
    if (!row || event.target.matches("input")) return;
    this.listeners.choose([row.lossgapName], row.lossgapName);
  }

  pressed(event) {
    const row = event.target.closest("tr");
    const index = this.shown.indexOf(row.lossgapName);
    const last = this.shown.length - 1;
    const target = { ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + 10, PageUp: index - 10, Home: 0, End: last }[event.key];
    if (target !== undefined) {
      event.preventDefault();
      this.lines.get(this.shown[Math.max(0, Math.min(last, target))]).box.focus();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.listeners.choose([row.lossgapName], row.lossgapName);
    }
  }

  moveCursor(name) {
    if (this.lines.has(this.cursor)) this.lines.get(this.cursor).box.tabIndex = -1;
    this.cursor = name;
    if (this.lines.has(name)) this.lines.get(name).box.tabIndex = 0;
  }
}
