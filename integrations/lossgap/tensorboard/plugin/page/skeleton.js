// The page's elements, before there is anything to show.

import { element } from "./dom.js";

const node = (tag, id, text, attributes) => element(tag, text, id ? { id } : {}, attributes);

function cell(id) {
  const holder = element("div", undefined, { className: "cell", hidden: true });
  holder.append(node("figure", id));
  return holder;
}

function chooser() {
  const section = node("section", "chooser", undefined, { "aria-label": "Runs", hidden: "" });
  const bar = element("div", undefined, { className: "bar" });
  const label = element("label", "Search runs ");
  label.append(node("input", "find", undefined, { type: "search", autocomplete: "off", spellcheck: "false" }));
  const all = node("button", "all", "Show all found", { type: "button" });
  const none = node("button", "none", "Show none", { type: "button" });
  bar.append(label, all, none, node("span", "count", "", { role: "status" }), node("span", "trouble", "", { role: "alert" }));
  const scroll = element("div", undefined, { className: "scroll" });
  const table = node("table", "runs", undefined, { "aria-label": "Runs with their last values" });
  table.append(element("thead"), element("tbody"));
  scroll.append(table);
  const hint = node("p", "hint", "Click a run to see it alone, tick several to compare them. On the keyboard: arrows move, Space ticks, Enter shows a run alone.");
  hint.className = "hint";
  section.append(bar, scroll, hint);
  return section;
}

function details() {
  const section = node("section", "details", undefined, { "aria-label": "One run", hidden: "" });
  const teller = node("label", "teller", "Details of ", { hidden: "" });
  teller.append(node("select", "told"));
  const headline = node("div", "headline");
  section.append(teller, headline, node("p", "verdict", "", { "aria-live": "polite" }));
  return section;
}

function panels() {
  const section = element("section", undefined, { className: "panels" }, { "aria-label": "Panels" });
  const fall = node("div", "fall", undefined, { hidden: "" });
  fall.className = "cell";
  const label = element("label", "Waterfall of ", { className: "at" });
  label.append(node("span", "at_text"), node("input", "at", undefined, { type: "range", min: "0", max: "0", step: "1", "aria-label": "Epoch of the waterfall" }));
  fall.append(node("figure", "waterfall"), label);
  section.append(cell("loss_comparison"), fall, cell("gap_by_cause"), cell("generalization"), cell("penalty_by_layer"));
  return section;
}

function more() {
  const numbers = element("details", undefined, { id: "every" });
  const scroll = element("div", undefined, { className: "scroll" }, { tabindex: "0", role: "region", "aria-label": "Every number" });
  scroll.append(node("table", "numbers"));
  const thinned = node("p", "thinned");
  thinned.className = "hint";
  numbers.append(element("summary", "Every number of this run"), thinned, scroll);
  const method = element("details");
  method.append(element("summary", "How these numbers were measured"), node("p", "method"), node("dl", "terms"));
  const section = node("section", "more");
  section.append(numbers, method);
  return section;
}

function empty() {
  const section = node("section", "empty", undefined, { hidden: "" });
  const log = "import lossgap\n\n# Before model.fit: every fit is measured and logged.\nlossgap.tensorboard.autolog(\"logs\")";
  section.append(
    element("h1", "No true loss has been logged here yet"),
    element("p", "This tab shows what your training loss really is: the loss on your data alone, and what separates it from the loss that Keras reports. One line before your training logs it:"),
  );
  const code = element("pre", undefined, {}, { tabindex: "0" });
  code.append(element("code", log));
  section.append(code, element("p", "Then point TensorBoard at the same directory (tensorboard --logdir logs). This page looks for new measurements by itself."));
  return section;
}

export function build() {
  const main = element("main");
  const problem = node("p", "problem", "", { role: "alert" });
  const hints = node("p", "drawn");
  hints.className = "hint";
  const pointing = node("p", "pointing", "Point at a curve for its numbers. Click a name in a legend to switch its curve off or on. Drag to move, Ctrl or ⌘ and the wheel to zoom, double-click to go back.");
  pointing.className = "hint";
  const shown = node("div", "shown", undefined, { hidden: "" });
  shown.append(details(), problem, panels(), hints, pointing, more());
  main.append(empty(), chooser(), shown);
  document.body.replaceChildren(main);
}
