// The panels of all selected runs.

import { clear, draw } from "./charts.js";
import { byId, setText } from "./dom.js";
import { line } from "./requests.js";

const NAMES = ["loss_comparison", "gap_by_cause", "generalization", "penalty_by_layer"];

export class Panels {
  constructor(state) {
    this.state = state;
    this.ask = line();
    this.answer = null;
    this.turn = 0;
  }

  async show() {
    if (!this.state.runs.length) {
      this.answer = { panels: {}, rows: null };
      return this.redraw();
    }
    const answer = await this.ask("panels", this.state.runs.map((run) => ["run", run]));
    if (answer === null) return undefined;
    setText(byId("problem"), answer.problem || "");
    this.answer = answer.problem ? { panels: {}, rows: null } : answer;
    const { n_drawn: drawn, n_measured: measured } = this.answer;
    setText(byId("drawn"), drawn < measured
      ? `Drawn are ${drawn.toLocaleString("en")} of ${measured.toLocaleString("en")} points, the highest and the lowest of every curve among them.` : "");
    return this.redraw();
  }

  async redraw() {
    if (!this.answer) return;
    this.turn += 1;
    const mine = this.turn;
    const { panels, rows } = this.answer;
    const shared = { rows, labelled: this.state.runs.length === 1 };
    for (const name of NAMES) {
      byId(name).parentElement.hidden = !panels[name];
      if (!panels[name]) clear(byId(name));
    }
    for (const name of NAMES) {
      if (panels[name] && mine === this.turn) await draw(byId(name), panels[name], shared, () => mine === this.turn);
    }
    if (mine === this.turn) document.body.dataset.drawn = this.state.runs.map(encodeURIComponent).join(",");
  }
}
