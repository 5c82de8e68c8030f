"""The waterfall: one epoch, from the reported loss down to the true loss, cause by cause."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from lossgap.charts import palette
from lossgap.charts.frames import Row, finite, frame
from lossgap.charts.panels import base
from lossgap.charts.signs import signed
from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.errors import DataError
from lossgap.extras import require

SMALL: Final = 0.04
"""Where the whole gap is less than this fraction of the losses, the axis doesn't start at 0."""

BAR: Final = 36


def waterfall(measurement: Measurement) -> base.Spec:
    """Draw how the reported loss of one measurement comes down to its true loss.

    Args:
        measurement: One that has a reported loss.

    Returns:
        A Vega-Lite 5 specification with its data.

    Raises:
        DataError: Reported or true loss is absent, NaN or infinite.
        MissingDependencyError: altair isn't installed.
    """
    rows = steps(measurement)
    data = frame([measurement])
    axis = data.shape.axis
    where = "" if axis == "measurement" else f" in {axis} {data.rows[0]['x']}"
    domain = _domain(rows)
    spec = base.finish(
        template(from_zero=domain is None), f"From reported to true loss{where}", rows
    )
    if domain is not None:
        spec["layer"][0]["encoding"]["x"]["scale"] = {"domain": domain, "nice": False}
    return spec | {"height": BAR * len(rows)}


@cache
def template(*, from_zero: bool) -> base.Spec:
    """Return the panel without data, title, height and range."""
    return base.build([_bars(from_zero=from_zero), _connectors(), _numbers()])


def steps(measurement: Measurement) -> list[Row]:
    """Return one row per bar, from the reported loss to the true loss.

    Each cause takes the loss from ``start`` to ``end``; the largest come first and
    drift, which is the rest, last. What no part accounts for is a bar of its own.

    Raises:
        DataError: Reported or true loss is absent, NaN or infinite.
    """
    reported, true = finite(measurement.reported_loss), finite(measurement.true_loss)
    if reported is None or true is None:
        raise DataError(
            f"A waterfall needs a reported and a true loss, got {measurement.reported_loss} and "
            f"{measurement.true_loss}. Draw a measurement that was taken during fit and is finite."
        )
    rows = [_end(palette.REPORTED_LOSS, reported)]
    level, digits = reported, _digits(reported - true)
    for name in _ranked(measurement):
        part, look = measurement.parts[name], palette.part_look(name)
        rows.append(_step(look, level, level - part.value, part.standard_error, digits))
        level -= part.value
    if abs(level - true) > 1e-6 * max(abs(reported), abs(true), abs(reported - true)):
        rest = palette.Look(palette.REST, "not told apart", "not told apart")
        rows.append(_step(rest, level, true, None, digits))
    rows.append(_end(keys.TRUE_LOSS, true))
    last = len(rows) - 1
    return [row | {"order": i, "is_last": i == last} for i, row in enumerate(rows)]


def last_finite(measurements: Sequence[Measurement]) -> Measurement:
    """Return the last measurement that a waterfall can be drawn of, or the very last one."""
    for measurement in reversed(measurements):
        if finite(measurement.regularization_gap) is not None:
            return measurement
    return measurements[-1]


def _ranked(measurement: Measurement) -> list[str]:
    finite_parts = [n for n, part in measurement.parts.items() if finite(part.value) is not None]
    return sorted(
        finite_parts, key=lambda n: (n == keys.DRIFT, -abs(measurement.parts[n].value), n)
    )


def _end(name: str, value: float) -> Row:
    look = palette.LOSSES[name]
    text = f"{value:.4g}"
    label = look.label.split(" (")[0]
    return {"cause": label, "start": 0.0, "end": value, "colour": look.colour, "text": text}


def _step(look: palette.Look, start: float, end: float, error: float | None, digits: int) -> Row:
    # What a cause added to the reported loss is taken off on the way to the true one.
    text = signed(f"{start - end:+.{digits}f}")
    plus_minus = "" if error is None else f" ± {error:.1g}"
    return {
        "cause": look.short,
        "start": start,
        "end": end,
        "colour": look.colour,
        "text": text + plus_minus,
    }


def _digits(size: float) -> int:
    """Return the decimals that show three digits of ``size``."""
    return max(0, 2 - math.floor(math.log10(abs(size)))) if size else 2


def _domain(rows: list[Row]) -> list[float] | None:
    """Return the range of the axis where starting at zero would hide the causes."""
    reported, true = rows[0]["end"], rows[-1]["end"]
    levels = [row["end"] for row in rows]
    span = max(levels) - min(levels)
    if min(levels) <= 0 or span > SMALL * max(abs(reported), abs(true)) or span == 0:
        return None
    return [min(levels) - 0.5 * span, max(levels) + 0.2 * span]


def _y() -> Any:
    alt = require("altair", extra="charts")
    return alt.Y(
        field="cause",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min"),
        axis=alt.Axis(domain=False, ticks=False, labelLimit=260, labelPadding=8),
        scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1),
    )


def _bars(*, from_zero: bool) -> Any:
    alt = require("altair", extra="charts")
    title = "loss" if from_zero else "loss (axis doesn't start at 0)"
    return (
        base.layer("bars")
        .mark_bar(clip=True, cornerRadius=2)
        .encode(
            y=_y(),
            x=alt.X(field="start", type="quantitative", title=title),
            x2=alt.X2(field="end"),
            color=alt.Color(field="colour", type="nominal", scale=None),
            tooltip=[
                alt.Tooltip(field="cause", type="nominal"),
                alt.Tooltip(field="text", type="nominal", title="adds"),
                alt.Tooltip(field="end", type="quantitative", title="leaves", format=".5~g"),
            ],
        )
    )


def _connectors() -> Any:
    """Return short lines from where a bar ends to where the next one begins."""
    alt = require("altair", extra="charts")
    return (
        base.layer("connectors")
        .transform_filter("!datum.is_last")
        .mark_tick(style="total", orient="vertical", thickness=1.5, size=BAR * 0.5, yOffset=BAR / 2)
        .encode(y=_y(), x=alt.X(field="end", type="quantitative"))
    )


def _numbers() -> Any:
    alt = require("altair", extra="charts")
    return (
        base.layer("numbers")
        .transform_calculate(right="max(datum.start, datum.end)")
        .mark_text(align="left", dx=7, fontWeight="bold", fontSize=12, clip=False)
        .encode(
            y=_y(),
            x=alt.X(field="right", type="quantitative"),
            text=alt.Text(field="text", type="nominal"),
        )
    )
