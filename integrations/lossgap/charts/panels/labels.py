"""Labels at the ends of lines, moved apart where they would overlap."""

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any, Final

from lossgap.charts import palette
from lossgap.charts.frames import Frame, Row
from lossgap.charts.panels import base
from lossgap.extras import require

LINE_HEIGHT: Final = 15.0
FARTHEST: Final = 32.0
"""A label that would have to move farther than this, in pixels, doesn't fit."""


def end_labels(columns: Sequence[str], shown: Any) -> list[Any]:
    """Return one text layer per curve: its short name and last value, at its line's end.

    A label stands where :func:`with_label_places` put it, and nowhere without. Labels
    are hidden while the panel is zoomed, when the ends are elsewhere.
    """
    return [_label(name, shown) for name in columns]


def with_label_places(data: Frame, columns: Sequence[str], scale: base.ScaleName) -> list[Row]:
    """Return the rows of one run, with the height of each label that fits in the last one.

    A curve that broke off before the last measurement has no label.
    """
    rows = list(data.rows)
    ends = {name: rows[-1][name] for name in columns if rows[-1].get(name) is not None}
    values = data.values((*columns, "true_low", "true_high"))
    if data.shape.many or not ends:
        return rows
    low, high = min(values), max(values)
    if scale == "zero":
        low = 0.0
    if scale == "log":
        low, high = log10(low), log10(high)
        ends = {name: log10(value) for name, value in ends.items()}
    unit = (high - low) / base.HEIGHT or 1.0 / base.HEIGHT  # 0 for the smallest numbers, too
    moved = moved_apart({name: (high - value) / unit for name, value in ends.items()})
    places = {name: high - height * unit for name, height in moved.items()}
    if scale == "log":
        # A label may stand a little outside of the panel, where there may be no number any more.
        places = {name: 10 ** min(max(place, -300), 300) for name, place in places.items()}
    rows[-1] = rows[-1] | {f"label_{name}": place for name, place in places.items()}
    return rows


def moved_apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Return where each label stands, in pixels from the top, so that none overlaps another.

    Labels that touch form a group that is spread about its middle, inside the panel. One that would
    have to move too far is left out: the legend tells its curve.
    """
    groups: list[list[str]] = []
    for name in sorted(heights, key=lambda name: heights[name]):
        groups.append([name])
        while len(groups) > 1 and _top(groups[-1], heights) < _bottom(groups[-2], heights):
            groups[-2:] = [groups[-2] + groups[-1]]
    places = {
        name: _top(group, heights) + (index + 0.5) * LINE_HEIGHT
        for group in groups
        for index, name in enumerate(group)
    }
    return {n: place for n, place in places.items() if abs(place - heights[n]) <= FARTHEST}


def _top(group: Sequence[str], heights: Mapping[str, float]) -> float:
    size = LINE_HEIGHT * len(group)
    middle = sum(heights[name] for name in group) / len(group)
    margin = LINE_HEIGHT / 2
    return min(max(middle - size / 2, -margin), base.HEIGHT + margin - size)


def _bottom(group: Sequence[str], heights: Mapping[str, float]) -> float:
    return _top(group, heights) + LINE_HEIGHT * len(group)


def _label(name: str, shown: Any) -> Any:
    alt = require("altair", extra="charts")
    look = palette.LOSSES[name]
    return (
        base.layer(f"label_{name}")
        .transform_filter(base.valid(f"label_{name}", name))
        .transform_calculate(
            quantity=base.text(name),
            label=f"{base.text(look.short)} + ' ' + format(datum.{name}, '.4~g')",
        )
        .transform_filter(shown)
        .mark_text(
            align="left",
            clip=False,
            dx=8,
            color=look.colour,
            fontSize=12,
            fontWeight="bold",
            opacity=alt.expr("zoom.x ? 0 : 1"),
        )
        .encode(
            x=alt.X(field="x", type="quantitative"),
            y=alt.Y(field=f"label_{name}", type="quantitative"),
            text=alt.Text(field="label", type="nominal"),
        )
    )
