"use strict";
(() => {
  const content = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => (dark.matches ? "dark" : "light");
  const byId = (id) => document.getElementById(id);
  const NAMES = ["loss_comparison", "waterfall", "gap_by_cause", "generalization", "penalty_by_layer"];
  let drawing = 0;

  // All text goes through textContent: a run called <script> stays text.
  function element(tag, text, properties) {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    return Object.assign(node, properties);
  }

  function rowsOf(table) {
    return table.rows.map((row) => Object.fromEntries(table.columns.map((name, i) => [name, row[i]])));
  }

  function specOf(panel, run) {
    const rows = rowsOf(panel.rows || run.rows);
    if (panel.last) Object.assign(rows[rows.length - 1], panel.last);
    return {
      ...structuredClone(content.specs[panel.spec]),
      title: { text: panel.title },
      height: panel.height,
      config: content.themes[theme()],
      datasets: { measurements: rows },
    };
  }

  // Vega-Lite 5 asks for Vega 5, vl-convert's bundle brings the compatible Vega 6, and vega-embed remarks on it.
  const warn = console.warn.bind(console);
  console.warn = (...words) => { if (!String(words[0]).startsWith("The compiled spec uses Vega")) warn(...words); };

  async function embed(figure, spec) {
    const options = {
      mode: "vega-lite",
      renderer: "canvas",
      logLevel: 1, // Errors. Vega would remark that a curve that was switched off has no extent.
      actions: { export: true, source: false, compiled: false, editor: false },
      tooltip: { theme: theme() },
    };
    const turn = drawing;
    const holder = element("div");
    const result = await vegaEmbed(holder, spec, options);
    if (turn !== drawing) return result.finalize(); // A newer choice has overtaken this one.
    if (figure.lossgapFinalize) figure.lossgapFinalize();
    figure.lossgapFinalize = result.finalize;
    figure.lossgapView = result.view;
    figure.replaceChildren(holder);
    return undefined;
  }

  // What stands beside the plot: the axis on its left; labels and the menu on its right.
  const MARGINS = { loss_comparison: 215, generalization: 215, gap_by_cause: 185, waterfall: 245, penalty_by_layer: 110, together: 110 };

  const widthOf = (id) => Math.max(160, Math.floor(byId(id).parentElement.clientWidth - MARGINS[id]));

  async function drawPanels(run) {
    for (const id of NAMES) {
      const panel = run.panels[id];
      byId(id).parentElement.hidden = !panel;
      if (panel) await embed(byId(id), { ...specOf(panel, run), width: widthOf(id) });
    }
    byId("together").parentElement.hidden = !content.together;
    if (content.together) {
      await embed(byId("together"), { ...specOf(content.together), width: Math.min(800, widthOf("together")) });
    }
  }

  function showHeadline(run) {
    byId("headline").replaceChildren(...run.tiles.map((tile) => {
      const node = element("div", undefined, { className: "tile" });
      if (tile.colour) node.style.borderColor = tile.colour;
      node.append(element("b", tile.title), element("strong", tile.number), element("span", tile.note));
      return node;
    }));
    byId("verdict").textContent = run.verdict;
    byId("name").textContent = content.runs.length > 1 ? "" : run.name;
    byId("method").textContent = run.method;
  }

  const written = (value) => (value === null || value === undefined
    ? "–" : Number(value.toPrecision(4)).toString().replace("-", "−"));

  function headRow(headings) {
    const row = element("tr");
    row.append(...headings.map((text) => element("th", text, { scope: "col" })));
    const head = element("thead");
    head.append(row);
    return head;
  }

  function columnsOf(run) {
    const rows = rowsOf(run.rows);
    const odd = new Set(Object.keys(run.odd).map((place) => place.split(" ")[1]));
    return content.columns.filter(([name]) => odd.has(name) || rows.some((row) => row[name] !== null && row[name] !== undefined));
  }

  function showEpochs(run) {
    const columns = columnsOf(run);
    const headings = columns.map(([, heading]) => heading);
    const metrics = run.metrics.names[0].flatMap((name) => [`${name} reported`, `${name} true`, `${name} val`]);
    const body = element("tbody");
    rowsOf(run.rows).forEach((row, index) => {
      const line = element("tr");
      line.append(element("td", String(row.x)));
      line.append(...columns.map(([name]) => element("td", run.odd[`${index} ${name}`] || written(row[name]))));
      line.append(...(run.metrics.rows[index] || []).map((text) => element("td", text)));
      body.append(line);
    });
    byId("epochs").replaceChildren(headRow([content.axis, ...headings, ...metrics]), body);
    byId("table_title").textContent = `Every ${content.axis}`;
    const kept = run.rows.rows.length;
    byId("thinned").textContent = kept < run.total
      ? `Shown are ${kept} of ${run.total} measurements, in the panels and here: the highest and lowest point of every curve in each stretch is kept, and so is every gap. Nothing is averaged.` : "";
  }

  function choose(index) {
    const run = content.runs[index];
    drawing += 1;
    byId("run").value = String(index);
    document.querySelectorAll("#runs tbody tr").forEach((row) => row.setAttribute("aria-selected", String(row.dataset.run === String(index))));
    showHeadline(run);
    showEpochs(run);
    return drawPanels(run);
  }

  function showRuns() {
    const headings = content.columns.slice(0, 5).map(([, heading]) => heading);
    const body = element("tbody");
    content.runs.forEach((run, index) => {
      const rows = rowsOf(run.rows);
      const last = rows[rows.length - 1];
      const line = element("tr");
      line.dataset.run = String(index);
      const cell = element("td");
      cell.append(element("button", run.name, { type: "button", title: run.name }));
      line.append(cell, element("td", String(last.x)));
      line.append(...content.columns.slice(0, 5).map(([name]) => element("td", run.odd[`${rows.length - 1} ${name}`] || written(last[name]))));
      line.append(element("td", run.causes || "–"));
      line.addEventListener("click", () => { choose(index); scrollTo({ top: 0, behavior: "smooth" }); });
      body.append(line);
    });
    byId("runs").replaceChildren(headRow(["run", `last ${content.axis}`, ...headings, "main causes"]), body);
  }

  function small(run) {
    const spec = specOf(run.panels.loss_comparison, run);
    spec.layer = spec.layer.filter((layer) => !layer.name.startsWith("label_") && layer.name !== "points");
    for (const layer of spec.layer) {
      if (layer.name !== "lines") continue;
      layer.encoding.y.scale = content.range;
      layer.encoding.y.title = null;
      layer.encoding.x.title = null;
      layer.encoding.color.legend = null;
      delete layer.encoding.strokeWidth;
      layer.mark.strokeWidth = 1.5;
    }
    spec.params = (spec.params || []).filter((param) => param.name !== "hover" && param.name !== "zoom")
      .map((param) => (param.name === "shown" ? { ...param, bind: undefined } : param));
    return { ...spec, title: { text: run.name, limit: 220, fontSize: 12, offset: 4 }, width: 190, height: 90 };
  }

  function showMultiples() {
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((item) => item.isIntersecting)) {
        watcher.unobserve(entry.target);
        vegaEmbed(entry.target, small(content.runs[Number(entry.target.dataset.run)]), { mode: "vega-lite", actions: false, renderer: "canvas" });
      }
    }, { rootMargin: "200px" });
    byId("multiples").replaceChildren(...content.runs.map((run, index) => {
      const figure = element("figure");
      figure.dataset.run = String(index);
      watcher.observe(figure);
      return figure;
    }));
  }

  function showTerms() {
    byId("terms").replaceChildren(...content.terms.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
  }

  async function start() {
    const many = content.runs.length > 1;
    showTerms();
    if (many) {
      byId("run").append(...content.runs.map((run, index) => element("option", run.name, { value: String(index) })));
      byId("run").addEventListener("change", (event) => choose(Number(event.target.value)));
      byId("picker").hidden = byId("overview").hidden = false;
      showRuns();
      showMultiples();
    }
    await choose(0);
    let width = innerWidth;
    let waiting;
    const redraw = () => { if (many) showMultiples(); choose(Number(byId("run").value || 0)); };
    dark.addEventListener("change", redraw);
    addEventListener("resize", () => {
      if (width === innerWidth) return;
      width = innerWidth;
      clearTimeout(waiting);
      waiting = setTimeout(redraw, 200);
    });
    document.body.dataset.ready = "true";
  }

  start();
})();
