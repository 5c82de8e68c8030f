"""From measurements to the rows that the panels plot.

A row is wide: one measurement with all its numbers, so that a tooltip can show all of
them. A number that is absent, NaN or infinite is ``None`` in a row, and a gap in a line.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final

from lossgap.charts import palette
from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.errors import DataError

Row = dict[str, Any]

Z95: Final = 1.959963984540054
"""Half-width of a 95 % interval of a normal distribution, in standard deviations."""


LONGEST_NAME: Final = 200
"""Characters of the name of a run or a layer that is drawn."""

LARGEST: Final = 1e300
"""Beyond it the sums and differences that make up a picture would be infinite."""

FEW: Final = 40
"""Up to this many measurements of a run, every one is marked on its line."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training: a name to tell it by, and what was measured, in order."""

    name: str
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a specification depends on besides the numbers: runs of one shape share it.

    Attributes:
        axis: What ``x`` counts: ``"epoch"`` (from 1, as Keras prints it), ``"step"``
            or ``"measurement"``.
        columns: Columns with a number in any row.
        parts: Parts of the gap that occur, in the order in which they are drawn.
        many: Whether curves of several runs, or of an unknown number of runs, are told apart.
        runs: Their names; empty where there is one, or where they aren't known.
        few: Whether the measurements are few enough to mark every one.
    """

    axis: str
    columns: frozenset[str]
    parts: tuple[str, ...]
    many: bool = False
    runs: tuple[str, ...] = ()
    few: bool = True

    def losses(self, wanted: Iterable[str] = tuple(palette.LOSSES)) -> tuple[str, ...]:
        """Return those of the ``wanted`` losses that occur, in order."""
        return tuple(column for column in wanted if column in self.columns)


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows for the panels, and their shape.

    Attributes:
        rows: One per measurement, runs one after the other.
        penalties: One per measurement, layer and kind.
        shape: What the specifications depend on.
    """

    rows: tuple[Row, ...]
    penalties: tuple[Row, ...]
    shape: Shape

    def values(self, columns: Iterable[str]) -> list[float]:
        """Return all numbers of the ``columns``."""
        columns = tuple(columns)
        return [row[c] for row in self.rows for c in columns if row.get(c) is not None]


@cache
def part_column(name: str) -> str:
    r"""Name the column of the part ``name``; a column has letters, digits and ``_`` only."""
    return "gap_" + re.sub(r"\W", "_", name, flags=re.ASCII)


def as_runs(source: Sequence[Run] | Run | Sequence[Measurement]) -> tuple[Run, ...]:
    """Take runs, one run or bare measurements, and return runs with names unlike each other.

    Raises:
        DataError: There is nothing to draw.
    """
    if isinstance(source, Run):
        source = [source]
    items: list[Any] = list(source)
    if items and all(isinstance(item, Measurement) for item in items):
        items = [Run("run", tuple(items))]
    runs = [run for run in items if run.measurements]
    if not runs:
        raise DataError(
            "There is nothing to draw: no measurements were given. Expected a list of "
            "lossgap.Measurement (`callback.measurements`), or runs that hold some."
        )
    return tuple(
        Run(name, run.measurements)
        for name, run in zip(_unlike([_brief(run.name) for run in runs]), runs, strict=True)
    )


def _brief(name: str) -> str:
    """Return a name without its middle where it is so long that drawing it takes minutes."""
    if len(name) <= LONGEST_NAME:
        return name
    half = LONGEST_NAME // 2
    return f"{name[:half]}…{name[-half:]}"


def _unlike(names: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name} ({number})"
        taken.add(candidate)
        result.append(candidate)
    return result


def _rises(values: Sequence[int | None]) -> bool:
    known = [value for value in values if value is not None]
    return len(known) == len(values) and all(a < b for a, b in pairwise(known))


def axis_of(runs: Iterable[Run]) -> str:
    """Say what the runs' measurements are best counted in."""
    runs = tuple(runs)
    if all(_rises([m.epoch for m in run.measurements]) for run in runs):
        return "epoch"
    if all(_rises([m.step for m in run.measurements]) for run in runs):
        return "step"
    return "measurement"


def positions(run: Run, axis: str) -> list[int]:
    """Return the place of each measurement of ``run`` on the ``axis``; epochs count from 1."""
    if axis == "epoch":
        return [(m.epoch or 0) + 1 for m in run.measurements]
    if axis == "step":
        return [m.step or 0 for m in run.measurements]
    return list(range(1, len(run.measurements) + 1))


def finite(value: float | None) -> float | None:
    """Return ``value``, or ``None`` where it can't be drawn: NaN, infinite, or huge."""
    return value if value is not None and abs(value) <= LARGEST else None


def numbers(measurement: Measurement) -> dict[str, float | None]:
    """Return the numbers of ``measurement`` by column, NaN and infinities as they are."""
    low, high = _band(measurement)
    found: dict[str, float | None] = {
        palette.REPORTED_LOSS: measurement.reported_loss,
        keys.TRUE_LOSS: measurement.true_loss,
        keys.VAL_LOSS: measurement.val_loss,
        keys.TRUE_VAL_LOSS: measurement.true_val_loss,
        keys.REGULARIZATION_GAP: measurement.regularization_gap,
        palette.GENERALIZATION_GAP: measurement.generalization_gap,
        "true_low": low,
        "true_high": high,
    }
    for name, part in measurement.parts.items():
        found[part_column(name)] = part.value
        if part.standard_error is not None:
            found[f"{part_column(name)}_stderr"] = part.standard_error
    return found


def _band(measurement: Measurement) -> tuple[float | None, float | None]:
    """Return where the true loss is with a probability of 95 %; a tracker holds its error alone."""
    if measurement.interval is not None:
        return measurement.interval
    if measurement.standard_error is None:
        return None, None
    half = Z95 * measurement.standard_error
    return measurement.true_loss - half, measurement.true_loss + half


def edges(places: Sequence[int]) -> list[tuple[float, float]]:
    """Return where the bar of each place begins and ends.

    Bars of neighbours leave a slit between them up to 100 places, and touch beyond. Where
    measurements are far apart, so are the bars' ends: half-way to the neighbour.
    """
    share = 0.44 if len(places) <= 100 else 0.5  # noqa: PLR2004
    gaps = [b - a for a, b in pairwise(places)]
    before = [gaps[0] if gaps else 1, *gaps]
    after = [*gaps, gaps[-1] if gaps else 1]
    return [
        (x - share * left, x + share * right)
        for x, left, right in zip(places, before, after, strict=True)
    ]


def parts_of(runs: Iterable[Run]) -> tuple[str, ...]:
    """Return the parts of the gap that occur, known ones first and in their order."""
    found = {name: None for run in runs for m in run.measurements for name in m.parts}
    known = [name for name in keys.PARTS if name in found]
    return (*known, *(name for name in found if name not in known))


def frame(source: Sequence[Run] | Run | Sequence[Measurement], *, axis: str | None = None) -> Frame:
    """Turn runs, or the measurements of one run, into rows.

    Args:
        source: What to draw.
        axis: ``"epoch"``, ``"step"`` or ``"measurement"``; by default what suits all runs.

    Raises:
        DataError: There is nothing to draw.
    """
    runs = as_runs(source)
    axis = axis or axis_of(runs)
    rows: list[Row] = []
    penalties: list[Row] = []
    for run in runs:
        places = positions(run, axis)
        for m, x, (low, high) in zip(run.measurements, places, edges(places), strict=True):
            place: Row = {"run": run.name, "x": x, "x_low": low, "x_high": high}
            found = {name: finite(value) for name, value in numbers(m).items()}
            rows.append(place | {"is_last": m is run.measurements[-1]} | found)
            penalties.extend(
                place | {"layer": _brief(p.layer), "kind": _brief(p.kind), "value": finite(p.value)}
                for p in m.penalties
            )
    shape = Shape(
        axis=axis,
        columns=frozenset(name for row in rows for name, value in row.items() if value is not None),
        parts=parts_of(runs),
        many=len(runs) > 1,
        runs=tuple(run.name for run in runs) if len(runs) > 1 else (),
        few=max(len(run.measurements) for run in runs) <= FEW,
    )
    return Frame(tuple(rows), tuple(penalties), shape)
