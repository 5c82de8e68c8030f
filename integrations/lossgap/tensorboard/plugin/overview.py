"""The table of all models: their last values and the main cause of the gap."""

import math
from typing import Any, Final

from lossgap.charts import palette
from lossgap.charts.frames import finite
from lossgap.charts.headline import main_causes
from lossgap.charts.panels import base
from lossgap.core import keys
from lossgap.tensorboard.plugin.logs import Last
from lossgap.tensorboard.plugin.series import EPOCH

MOST_MODELS: Final = 10_000
"""Models in one answer, which stays below 5 MB with names of usual length."""

MOST_NAMES: Final = 2_000_000
"""Characters of all names in one answer."""

MOST_SELECTED: Final = 30
"""Runs that are drawn together."""

COLUMNS: Final = (
    "name",
    "axis",
    "place",
    palette.REPORTED_LOSS,
    keys.TRUE_LOSS,
    keys.REGULARIZATION_GAP,
    "cause",
    keys.TRUE_VAL_LOSS,
    "logged",
)


def overview(models: list[Last]) -> dict[str, Any]:
    """Return the table: the names of its columns, a row per model, and how many are left out.

    Args:
        models: Last values, in the order of the table.
    """
    rows: list[list[Any]] = []
    n_characters = 0
    for last in models[:MOST_MODELS]:
        n_characters += len(last.run.name)
        if n_characters > MOST_NAMES:
            break
        rows.append(_row(last))
    causes = {
        name: (palette.part_look(name).short, palette.part_look(name).colour) for name in keys.PARTS
    }
    return {
        "columns": COLUMNS,
        "rows": rows,
        "left_out": len(models) - len(rows),
        "causes": causes,
        "most_selected": MOST_SELECTED,
        "themes": {name: base.config(name) for name in palette.PAGES},
    }


def _row(last: Last) -> list[Any]:
    (measurement,) = last.run.measurements
    by_epoch = measurement.epoch is not None
    causes = main_causes(measurement)
    return [
        last.run.name,
        EPOCH if by_epoch else "step",
        last.step + 1 if by_epoch else last.step,
        written(measurement.reported_loss),
        written(measurement.true_loss),
        written(measurement.regularization_gap),
        causes[0] if causes else None,
        written(measurement.true_val_loss),
        finite(last.wall_time),
    ]


def written(value: float | None) -> float | str | None:
    """Return a number as JSON can say it: seven digits, which is what float32 has, or its name."""
    if value is None or math.isfinite(value):
        return None if value is None else float(f"{value:.7g}")
    if math.isnan(value):
        return "NaN"
    return "\N{INFINITY}" if value > 0 else "\N{MINUS SIGN}\N{INFINITY}"
