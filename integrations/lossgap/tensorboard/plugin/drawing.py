"""The panels of the selected runs, and what the page tells of one run.

The panels are those of :mod:`lossgap.charts`. Rows that several panels share are sent once,
as a table, and there are at most so many of them that a browser draws them at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from lossgap.charts import headline, methods, palette, panels
from lossgap.charts.frames import (
    Frame,
    Row,
    Run,
    axis_of,
    finite,
    frame,
    numbers,
    part_column,
    positions,
)
from lossgap.charts.panels import base
from lossgap.charts.panels.steps import last_finite
from lossgap.charts.thin import thinned
from lossgap.core import keys, verdict
from lossgap.core.measurement import Measurement
from lossgap.errors import DataError, MissingDependencyError
from lossgap.tensorboard.plugin.overview import written

MOST_ROWS: Final = 1_000
"""Measurements in the panels, all runs together; longer curves are thinned."""

MOST_PENALTY_ROWS: Final = 3_200
FEWEST_ROWS_OF_A_RUN: Final = 40
MOST_TABLE_ROWS: Final = 500
"""Measurements in the table of one run."""

_MANY: Final = 20
"""Runs that are too many to tell apart are drawn as if they were so many: bands fade by it."""

FINE: Final = 1.25
FAINT: Final = 0.65

WATERFALL: Final = "waterfall"
PENALTIES: Final = "penalty_by_layer"


def draw(runs: Sequence[Run]) -> dict[str, Any]:
    """Draw the panels over epochs: one run's causes as bars, several runs' as lines.

    Args:
        runs: The selected runs, which have measurements.

    Returns:
        Rows, and the panels by name: each a specification that lacks its data. A panel has
        rows of its own, or what it adds to the last of the shared ones.
    """
    if not runs:
        return {"rows": table(()), "panels": {}}
    axis = axis_of(runs)
    thin = _thin(runs, MOST_ROWS)
    data = _frame(thin, axis)
    specs = panels.panels_of(data, runs[0].measurements)
    specs.pop(WATERFALL, None)
    if PENALTIES in specs:
        most = MOST_PENALTY_ROWS // (len(palette.LAYERS) + 1)
        specs[PENALTIES] = panels.PANELS[PENALTIES](_frame(_thin(thin, most), axis))
    if len(runs) > len(palette.DASHES):
        for spec in specs.values():
            _lighten(spec)
    return {
        "rows": table(data.rows),
        "panels": {
            name: _panel(spec, None if name == PENALTIES else data.rows)
            for name, spec in specs.items()
        },
        "n_drawn": len(data.rows),
        "n_measured": sum(len(run.measurements) for run in runs),
    }


def warm_up(run: Run) -> None:
    """Draw a run alone and among many, so that the first selection doesn't wait for altair.

    Args:
        run: One that says what is logged here.
    """
    draw([run])
    draw([replace(run, name=str(index)) for index in range(_MANY)])


def tell(run: Run, place: int | None) -> dict[str, Any]:
    """Say of one run what its last epoch shows, and which epochs there are.

    Args:
        run: The run.
        place: Where on the axis the waterfall is wanted; see :func:`fall`.
    """
    last = last_finite(run.measurements)
    axis = axis_of([run])
    parts = dict.fromkeys(name for m in run.measurements for name in m.parts)
    return {
        "name": run.name,
        "axis": axis,
        "tiles": headline.headline(last),
        "verdict": verdict.tell(run.measurements),
        "method": methods.method(run.measurements),
        "terms": methods.terms([*parts]),
        "places": [
            place
            for place, m in zip(positions(run, axis), run.measurements, strict=True)
            if finite(m.regularization_gap) is not None
        ],
        "fall": _fall_or_none(run, place),
    }


def listed(run: Run) -> dict[str, Any]:
    """Return the table of one run's numbers: headings, and rows of numbers or their names."""
    kept = thinned(run, MOST_TABLE_ROWS)
    return {"n_measured": len(run.measurements), **_numbers(kept, axis_of([run]))}


def fall(run: Run, place: int | None) -> dict[str, Any]:
    """Draw the waterfall of one measurement.

    Args:
        run: The run.
        place: Where on the axis; by default, and where nothing was measured, the last one.

    Returns:
        The panel and its place; no panel where no loss is finite.
    """
    axis = axis_of([run])
    places = dict(zip(positions(run, axis), run.measurements, strict=True))
    chosen = places.get(place) if place is not None else None
    if chosen is None or finite(chosen.regularization_gap) is None:
        chosen = last_finite(run.measurements)
    found = next(where for where, m in places.items() if m is chosen)
    try:
        spec = panels.waterfall(chosen)
    except DataError:
        return {"place": found, "panel": None}
    return {"place": found, "panel": _panel(spec, None)}


def _fall_or_none(run: Run, place: int | None) -> dict[str, Any]:
    """Return what :func:`fall` does, or no panel where charts are missing: words need none."""
    try:
        return fall(run, place)
    except MissingDependencyError:
        return {"place": place, "panel": None}


def table(rows: Iterable[Row]) -> dict[str, Any]:
    """Return ``rows`` with each column's name once."""
    rows = list(rows)
    names = [*dict.fromkeys(name for row in rows for name in row)]
    return {"columns": names, "rows": [[_short(row.get(name)) for name in names] for row in rows]}


def _thin(runs: Sequence[Run], most: int) -> list[Run]:
    limit = max(FEWEST_ROWS_OF_A_RUN, most // len(runs))
    return [thinned(run, limit) for run in runs]


def _frame(runs: Sequence[Run], axis: str) -> Frame:
    """Return the rows of ``runs``; where there are too many to tell apart, all alike in shape.

    Specifications are kept by shape, and the names of runs are part of it. Beyond the patterns
    of dashes no name stands in a specification, so any other choice of runs can share it.
    """
    data = frame(runs, axis=axis)
    if len(data.shape.runs) <= len(palette.DASHES):
        return data
    return replace(data, shape=replace(data.shape, runs=("",) * _MANY))


def _lighten(spec: base.Spec) -> None:
    """Draw the lines of many runs fine and translucent, and points under the pointer alone."""
    for layer in spec["layer"]:
        if layer["mark"]["type"] == "line":
            layer["mark"] |= {"strokeWidth": FINE, "opacity": FAINT}
            layer["encoding"].pop("strokeWidth", None)
        elif layer["name"] == "points":
            layer["encoding"]["opacity"]["value"] = 0


def _panel(spec: base.Spec, shared: Sequence[Row] | None) -> dict[str, Any]:
    rows = spec.pop("datasets")[base.MEASUREMENTS]
    spec.pop("config")
    if shared is None:
        return {"spec": spec, "rows": table(rows)}
    extra = {k: _short(v) for k, v in rows[-1].items() if k not in shared[-1]}
    return {"spec": spec, "last": extra}


def _numbers(run: Run, axis: str) -> dict[str, Any]:
    found = [numbers(m) for m in run.measurements]
    headings = {name: look.short for name, look in palette.LOSSES.items()}
    headings[keys.REGULARIZATION_GAP] = "gap"
    parts = dict.fromkeys(name for m in run.measurements for name in m.parts)
    headings |= {part_column(name): palette.part_look(name).short for name in parts}
    headings[palette.GENERALIZATION_GAP] = "generalization gap"
    shown = [name for name in headings if any(row.get(name) is not None for row in found)]
    metrics = [*dict.fromkeys(name for m in run.measurements for name in m.metrics)]
    places = positions(run, axis)
    return {
        "headings": [axis, *(headings[name] for name in shown), *(f"true {n}" for n in metrics)],
        "rows": [
            [place, *(written(row.get(name)) for name in shown), *_metrics(m, metrics)]
            for place, row, m in zip(places, found, run.measurements, strict=True)
        ],
    }


def _metrics(measurement: Measurement, names: Sequence[str]) -> list[float | str | None]:
    values = [measurement.metrics.get(name) for name in names]
    return [None if value is None else written(value.true) for value in values]


def _short(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value
