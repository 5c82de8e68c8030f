"""Measurements as tables for the terminal."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement as Width
from rich.table import Table

from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.core.wording import Words

_UNBOUNDED: Final = 10_000
_GAP: Final = "gap"
_LOSSES: Final = ("reported", "true", "val", "true\nval", _GAP)
# Headings of parts that would be wider than their numbers.
_HEADINGS: Final = {keys.BATCH_NORM: "batch\nnorm", keys.AUGMENTATION: "augmen-\ntation"}


def loss_table(measurements: Sequence[Measurement], console: Console) -> Table | Group:
    """Lay out one training: a row for each measurement, a column for each number there is.

    Parts that are estimates read "value ± standard error". Where the console is too
    narrow the errors go to a second line, and if that isn't enough the parts to a
    second table.

    Args:
        measurements: One or more, in order.
        console: Where the table will be printed.

    Returns:
        What to print.
    """
    words = Words.of(measurements)
    shown = {name for m in measurements for name in _cells(m, words)}
    losses = [name for name in _LOSSES if name in shown]
    causes = [name for name in keys.PARTS if name in shown]
    unbounded = console.options.update(max_width=_UNBOUNDED)
    for separator in (" ", "\n"):
        table = _table(measurements, [*losses, *causes], separator)
        if Width.get(console, unbounded, table).maximum <= console.width:
            return table
    return Group(_table(measurements, losses, " "), "", _table(measurements, [_GAP, *causes], "\n"))


def _table(measurements: Sequence[Measurement], columns: Sequence[str], separator: str) -> Table:
    words = Words.of(measurements)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("epoch", *columns):
        table.add_column(_HEADINGS.get(heading, heading.replace("_", " ")), justify="right")
    for measurement in measurements:
        cells = _cells(measurement, words)
        row = [cells.get(column, "").replace(" ± ", f"{separator}± ") for column in columns]
        table.add_row(words.when(measurement).removeprefix("epoch "), *row)
    estimates = {name for m in measurements for name, p in m.parts.items() if p.standard_error}
    if estimates.intersection(columns):
        table.caption = "± one standard error"
    return table


def _cells(measurement: Measurement, words: Words) -> dict[str, str]:
    """Write the numbers of a measurement under the names of their columns."""
    numbers = (
        measurement.reported_loss,
        measurement.true_loss,
        measurement.val_loss,
        measurement.true_val_loss,
        measurement.regularization_gap,
    )
    cells = {
        column: words.number(value)
        for column, value in zip(_LOSSES, numbers, strict=True)
        if value is not None
    }
    for name, part in measurement.parts.items():
        cells[name] = words.number(part.value, part.standard_error)
    return cells
