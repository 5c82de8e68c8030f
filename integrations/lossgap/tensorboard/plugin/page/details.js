// What is told of one run: its losses, the verdict, the waterfall of a chosen epoch, and every number.

import { clear, draw } from "./charts.js";
import { byId, element, nameOf, setText, written } from "./dom.js";
import { line } from "./requests.js";

export class Details {
  constructor(state, listeners) {
    this.state = state;
    this.listeners = listeners;
    this.askRun = line();
    this.askFall = line();
    this.askNumbers = line();
    this.places = [];
    this.turn = 0;
    byId("at").addEventListener("input", () => this.moved());
    byId("every").addEventListener("toggle", () => { this.list().catch(() => {}); });
    byId("told").addEventListener("change", (event) => listeners.tell(this.state.runs[Number(event.target.value)]));
  }

  async show() {
    const name = this.state.focus;
    byId("details").hidden = name === null;
    this.offer();
    if (name === null) return;
    const answer = await this.askRun("run", this.parameters());
    if (answer === null) return;
    if (answer.gone || answer.problem) {
      this.places = [];
      byId("headline").replaceChildren();
      setText(byId("verdict"), answer.problem || `Nothing has been logged for ${nameOf(name)} yet, or TensorBoard hasn't read it.`);
      byId("numbers").replaceChildren();
      byId("fall").hidden = true;
      return;
    }
    this.tell(answer);
    await this.showFall(answer.fall);
  }

  parameters() {
    const { focus, at } = this.state;
    return at === null ? [["run", focus]] : [["run", focus], ["at", at]];
  }

  offer() {
    const { runs, focus } = this.state;
    byId("teller").hidden = runs.length < 2;
    byId("told").replaceChildren(...runs.map((name, index) => element("option", nameOf(name), { value: String(index) })));
    byId("told").value = String(runs.indexOf(focus));
  }

  tell(answer) {
    this.axis = answer.axis;
    this.places = answer.places;
    byId("headline").replaceChildren(...answer.tiles.map((tile) => {
      const node = element("div", undefined, { className: "tile" });
      if (tile.colour) node.style.borderColor = tile.colour;
      node.append(element("b", tile.title), element("strong", tile.number), element("span", tile.note));
      return node;
    }));
    setText(byId("verdict"), answer.verdict);
    setText(byId("method"), answer.method);
    byId("terms").replaceChildren(...answer.terms.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
    this.list().catch(() => {});
  }

  // Thousands of cells, asked for only where they are looked at.
  async list() {
    const name = this.state.focus;
    if (!byId("every").open || name === null) return;
    const numbers = await this.askNumbers("numbers", [["run", name]]);
    if (numbers === null || numbers.gone || numbers.problem) return;
    const head = element("tr");
    head.append(...numbers.headings.map((heading) => element("th", heading, { scope: "col" })));
    const body = numbers.rows.map((row) => {
      const node = element("tr");
      node.append(element("th", String(row[0]), { scope: "row" }), ...row.slice(1).map((value) => element("td", written(value))));
      return node;
    });
    const table = byId("numbers");
    table.replaceChildren(element("caption", `Every ${this.axis} of ${nameOf(name)}`), element("thead"), element("tbody"));
    table.tHead.append(head);
    table.tBodies[0].append(...body);
    setText(byId("thinned"), numbers.rows.length < numbers.n_measured
      ? `Listed are ${numbers.rows.length} of ${numbers.n_measured} measurements, the highest and the lowest point of every curve among them.` : "");
  }

  moved() {
    const index = Number(byId("at").value);
    const last = index === this.places.length - 1;
    // At its end the slider stays with the newest measurement.
    this.listeners.at(last ? null : this.places[index]);
    this.sayPlace(this.places[index]);
    this.fall().catch(() => {});
  }

  sayPlace(place) {
    const text = `${this.axis} ${place}`;
    byId("at").setAttribute("aria-label", `${this.axis} of the waterfall`);
    byId("at").setAttribute("aria-valuetext", text);
    setText(byId("at_text"), text);
  }

  async fall() {
    const answer = await this.askFall("waterfall", this.parameters());
    if (answer !== null) await this.showFall(answer);
  }

  async showFall(answer) {
    byId("fall").hidden = !answer.panel;
    this.drawn = answer.panel;
    if (!answer.panel) {
      clear(byId("waterfall"));
      return;
    }
    const slider = byId("at");
    slider.max = String(this.places.length - 1);
    slider.value = String(Math.max(0, this.places.indexOf(answer.place)));
    this.sayPlace(answer.place);
    await this.redraw();
  }

  async redraw() {
    if (!this.drawn) return;
    this.turn += 1;
    const mine = this.turn;
    const name = this.state.focus;
    await draw(byId("waterfall"), this.drawn, { labelled: true }, () => mine === this.turn);
    if (mine === this.turn) document.body.dataset.told = encodeURIComponent(name);
  }
}
