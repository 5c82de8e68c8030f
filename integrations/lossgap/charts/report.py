"""The report: one self-contained HTML page from one or many runs."""

import math
import os
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from lossgap.charts import headline, methods, palette, render
from lossgap.charts.frames import (
    Frame,
    Row,
    Run,
    as_runs,
    axis_of,
    finite,
    frame,
    numbers,
    part_column,
)
from lossgap.charts.panels import base, loss_comparison, panels_of
from lossgap.charts.panels.steps import last_finite
from lossgap.charts.signs import signed
from lossgap.charts.thin import thinned
from lossgap.core import keys, verdict
from lossgap.core.measurement import Measurement

MOST_ROWS: Final = 20_000
"""Measurements on a page; longer curves are thinned."""

MOST_ROWS_OF_A_RUN: Final = 2_000
FEWEST_ROWS_OF_A_RUN: Final = 50

OWN_ROWS: Final = ("penalty_by_layer", "waterfall")
"""Panels whose rows aren't those of the measurements."""


def write_report(
    path: str | os.PathLike[str],
    source: Sequence[Run] | Run | Sequence[Measurement],
    *,
    title: str = "True loss report",
) -> Path:
    """Write one self-contained HTML page about one or many runs.

    The page holds the verdict in words, the panels, the table and the method. It loads
    nothing: it can be mailed and opened from disk.

    Args:
        path: The file, which is replaced.
        source: The measurements of a run, a run, or several runs.
        title: Title of the page.

    Returns:
        The path of the page.

    Raises:
        DataError: There is nothing to draw.
        MissingDependencyError: The extra ``charts`` isn't installed.
    """
    target = Path(path)
    target.write_text(to_html(source, title=title), encoding="utf-8")
    return target


def to_html(
    source: Sequence[Run] | Run | Sequence[Measurement], *, title: str = "True loss report"
) -> str:
    """Return the page that :func:`write_report` writes."""
    content = _content(as_runs(source))
    parts = {
        "title": escape(title),
        "style": _asset("report.css"),
        "verdicts": "".join(_plain(run) for run in content["runs"]),
        "data": render.data_for_script_element(content),
        "library": render.script(),
        "script": render.for_script_element(_asset("report.js")),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("report.html"))
    return render.storable(page)


def _asset(name: str) -> str:
    return files("lossgap.charts").joinpath("page", name).read_text(encoding="utf-8")


def _plain(run: dict[str, Any]) -> str:
    """Say the verdict without scripts."""
    return f"<h2>{escape(run['name'])}</h2><p>{escape(run['verdict'])}</p>"


def _content(runs: Sequence[Run]) -> dict[str, Any]:
    limit = max(FEWEST_ROWS_OF_A_RUN, min(MOST_ROWS_OF_A_RUN, MOST_ROWS // len(runs)))
    specs: list[base.Spec] = []
    axis = axis_of(runs)
    thin = [thinned(run, limit) for run in runs]
    frames = [frame(run, axis=axis) for run in thin]
    parts = dict.fromkeys(name for data in frames for name in data.shape.parts)
    together = 1 < len(runs) <= len(palette.DASHES)
    return {
        "themes": {name: base.config(name) for name in palette.PAGES},
        "axis": axis,
        "terms": methods.terms([*parts]),
        "columns": _columns(frames),
        "together": _panel(specs, loss_comparison(thin)) if together else None,
        "range": _range(frames),
        "runs": [
            _run(whole, run, data, specs)
            for whole, run, data in zip(runs, thin, frames, strict=True)
        ],
        "specs": specs,
    }


def _run(whole: Run, run: Run, data: Frame, specs: list[base.Spec]) -> dict[str, Any]:
    last = last_finite(whole.measurements)
    panels = panels_of(data, whole.measurements)
    return {
        "name": run.name,
        "verdict": verdict.tell(whole.measurements),
        "method": methods.method(whole.measurements),
        "tiles": headline.headline(last),
        "causes": ", ".join(palette.part_look(n).short for n in headline.main_causes(last)),
        "total": len(whole.measurements),
        "rows": _table(data.rows),
        "odd": _odd(run),
        "metrics": _metrics(run),
        "panels": {
            name: _panel(specs, spec, None if name in OWN_ROWS else data.rows)
            for name, spec in panels.items()
        },
    }


def _panel(
    specs: list[base.Spec], spec: base.Spec, shared: Sequence[Row] | None = None
) -> dict[str, Any]:
    """Take the data out of ``spec``, and keep one specification for all panels that are alike.

    Args:
        specs: Specifications so far; may grow.
        spec: The panel.
        shared: Rows that the page holds already. A panel may add to the last of them.
    """
    rows = spec.pop("datasets")[base.MEASUREMENTS]
    panel: dict[str, Any] = {"title": spec.pop("title")["text"], "height": spec.pop("height")}
    if shared is not None:
        panel["last"] = {k: v for k, v in rows[-1].items() if k not in shared[-1]}
    else:
        panel["rows"] = _table(rows)
    spec.pop("config")
    if spec not in specs:
        specs.append(spec)
    return panel | {"spec": specs.index(spec)}


def _table(rows: Sequence[Row]) -> dict[str, Any]:
    """Return ``rows`` with each column's name once."""
    names = [*dict.fromkeys(name for row in rows for name in row)]
    return {"columns": names, "rows": [[row.get(name) for name in names] for row in rows]}


def _columns(frames: Sequence[Frame]) -> list[tuple[str, str]]:
    """Return the columns of the table per epoch and their headings."""
    found = {name for data in frames for name in data.shape.columns}
    headings = {name: look.short for name, look in palette.LOSSES.items()}
    headings[keys.REGULARIZATION_GAP] = "gap"
    parts = dict.fromkeys(name for data in frames for name in data.shape.parts)
    headings |= {part_column(name): f"· {palette.part_look(name).short}" for name in parts}
    headings[palette.GENERALIZATION_GAP] = "generalization gap"
    return [(name, heading) for name, heading in headings.items() if name in found]


def _odd(run: Run) -> dict[str, str]:
    """Return what stands in the table for numbers that can't be drawn, by row and column."""
    return {
        f"{index} {name}": _told(value)
        for index, measurement in enumerate(run.measurements)
        for name, value in numbers(measurement).items()
        if value is not None and finite(value) is None
    }


def _told(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    text = "∞" if math.isinf(value) else f"{abs(value):.4g}"
    return text if value > 0 else signed(f"-{text}")


def _metrics(run: Run) -> dict[str, list[list[str]]]:
    """Return the metrics' table as text: reported by Keras, true, and on validation data."""
    names = [*dict.fromkeys(name for m in run.measurements for name in m.metrics)]
    rows = []
    for m in run.measurements:
        values = [m.metrics.get(name) for name in names]
        rows.append(
            [
                headline.number(number)
                for value in values
                for number in (
                    (value.reported, value.true, value.val) if value else (None, None, None)
                )
            ]
        )
    return {"names": [names], "rows": rows if names else []}


def _range(frames: Sequence[Frame]) -> dict[str, Any]:
    """Return the vertical scale that all runs share in the small pictures."""
    values = [value for data in frames for value in data.values(palette.LOSSES)]
    if not values:
        return {"zero": False}
    kind = base.scale_of(values)
    low = 0.0 if kind == "zero" else min(values)
    return {
        "type": "log" if kind == "log" else "linear",
        "domain": [low, max(values)],
        "nice": True,
    }
