"""Stacked bars over epochs, right for mixed signs: the building blocks of two panels.

Positive values pile up from zero, negative ones down. With several runs, bars would hide
each other, so each share becomes a line.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lossgap.charts import palette
from lossgap.charts.frames import Shape
from lossgap.charts.panels import base, curves
from lossgap.extras import require


def share_layers(
    folded: Any,
    shape: Shape,
    looks: Mapping[str, palette.Look],
    tooltip: Sequence[Any],
    *,
    field: str,
    title: str,
) -> list[Any]:
    """Return the layers that show shares of a whole, one colour per share.

    Args:
        folded: Chart whose transforms end with the columns ``field`` and ``value``.
        shape: What there is to draw.
        looks: Colour and label by share, in the order of the stack.
        tooltip: What the pointer shows.
        field: Column with the share's name.
        title: Title of the vertical axis.
    """
    shown, colour = base.switch(looks, field, "stroke" if shape.many else "square")
    chart = folded.transform_filter(shown)
    if shape.many:
        marked = _lines(chart, shape, title)
    else:
        order = f"indexof({base.text([*looks])}, datum[{base.text(field)}])"
        marked = _bars(chart.transform_calculate(rank=order), shape, title)
    marked = marked.encode(color=colour, tooltip=list(tooltip))
    return [zero_rule(), marked.add_params(shown, base.zoom("x"))]


def _bars(chart: Any, shape: Shape, title: str) -> Any:
    alt = require("altair", extra="charts")
    return (
        chart.transform_filter(base.valid("value"))
        .transform_stack(
            stack="value", as_=["low", "high"], groupby=["x"], sort=[alt.SortField("rank")]
        )
        .mark_bar(clip=True)
        .encode(
            x=base.x_axis(shape.axis, "x_low"),
            x2=alt.X2(field="x_high"),
            y=alt.Y(field="low", type="quantitative", title=title),
            y2=alt.Y2(field="high"),
        )
    )


def _lines(chart: Any, shape: Shape, title: str) -> Any:
    alt = require("altair", extra="charts")
    return chart.mark_line(strokeCap="round", strokeWidth=2, clip=True).encode(
        x=base.x_axis(shape.axis),
        y=alt.Y(field="value", type="quantitative", title=title),
        **curves.of_run(shape),
    )


def zero_rule() -> Any:
    """Return the line at zero, which tells what adds to the loss from what lowers it."""
    alt = require("altair", extra="charts")
    return (
        base.layer("zero")
        .transform_calculate(zero="0")
        .transform_aggregate(zero="min(zero)")
        .mark_rule(style="total", opacity=0.6)
        .encode(y=alt.Y(field="zero", type="quantitative"))
    )


def total_line(shape: Shape, column: str, texts: Mapping[str, str], tooltip: Sequence[Any]) -> Any:
    """Return the line of the total over the bars; few measurements are marked."""
    alt = require("altair", extra="charts")
    marked = shape.few and not shape.many
    return (
        base.layer("total")
        .transform_calculate(**texts)
        .mark_line(
            style="total",
            strokeWidth=2.5,
            clip=True,
            point=alt.OverlayMarkDef(style="total", size=36) if marked else False,
        )
        .encode(
            x=base.x_axis(shape.axis),
            y=alt.Y(field=column, type="quantitative"),
            tooltip=list(tooltip),
            **curves.of_run(shape),
        )
    )


def total_label(column: str, name: str) -> Any:
    """Return the label at the end of the total's line: its name and last value."""
    alt = require("altair", extra="charts")
    return (
        base.layer("total_label")
        .transform_filter(f"datum.is_last && {base.valid(column)}")
        .transform_calculate(
            label=f"{base.text(name)} + ' ' + format(datum[{base.text(column)}], '.3~g')"
        )
        .mark_text(
            align="left",
            clip=False,
            dx=8,
            fontSize=12,
            fontWeight="bold",
            opacity=alt.expr("zoom.x ? 0 : 1"),
        )
        .encode(
            x=alt.X(field="x_high", type="quantitative"),
            y=alt.Y(field=column, type="quantitative"),
            text=alt.Text(field="label", type="nominal"),
        )
    )
