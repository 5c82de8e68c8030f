"""What all panels share: axes, tooltips, the legend that switches curves, and the last touches.

Altair builds the layers and checks them. What leaves is a Vega-Lite 5 specification as a
plain dict: version 5 is what notebooks and W&B draw, whichever version altair writes.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from lossgap.charts import palette
from lossgap.charts.frames import Row, Shape, part_column
from lossgap.charts.signs import ABSENT, MINUS
from lossgap.core import keys
from lossgap.extras import require

Spec = dict[str, Any]

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v5.json"
MEASUREMENTS: Final = "measurements"
WIDTH: Final = 560
HEIGHT: Final = 280
DECADES: Final = 100.0
"""Positive losses whose largest is this many times the smallest are drawn on a log scale."""

NEAR_ZERO: Final = 0.6
"""The axis starts at 0 where the smallest value is below this fraction of the largest."""

MOST_TEMPLATES: Final = 128
"""Specifications that are kept, by panel: a server draws ever new runs for days."""

ScaleName = Literal["log", "zero", "free"]

GAPS: Final = {
    keys.REGULARIZATION_GAP: f"gap (reported {MINUS} true)",
    palette.GENERALIZATION_GAP: "generalization gap",
}


def build(layers: Sequence[Any]) -> Spec:
    """Put ``layers`` into one view and return its specification, without data and title.

    Args:
        layers: Altair charts without data, the lowest first.
    """
    alt = require("altair", extra="charts")
    chart = alt.layer(*layers, data=alt.NamedData(MEASUREMENTS)).properties(
        width=WIDTH, height=HEIGHT, background="transparent"
    )
    spec: Spec = chart.to_dict()
    return spec | {"$schema": SCHEMA, "config": config()}


def finish(spec: Spec, title: str, rows: Sequence[Row]) -> Spec:
    """Return ``spec`` with its title and its data, sharing nothing with what was given."""
    return copy.deepcopy(spec) | {
        "title": {"text": title},
        "datasets": {MEASUREMENTS: [dict(row) for row in rows]},
    }


def config(theme: str | None = None) -> Spec:
    """Return the look of axes, text and legends.

    Args:
        theme: ``"light"`` or ``"dark"`` for the contrast that fits the page; by default
            a grey that can be read on both.
    """
    ink, line = palette.INKS[theme]
    words = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "font": "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif",
        "view": {"stroke": None},
        "title": {"color": ink, "fontSize": 15, "anchor": "start", "offset": 12},
        "text": {"color": ink},
        "axis": {
            **words,
            "titleFontWeight": "normal",
            "gridColor": palette.INK,
            "gridOpacity": 0.22,
            "domainColor": palette.INK,
            "tickColor": palette.INK,
        },
        "legend": {
            **words,
            "labelLimit": 300,
            "symbolStrokeWidth": 4,
            "symbolSize": 120,
            "unselectedOpacity": 0.25,
        },
        "style": {"total": {"color": line}},
    }


def x_axis(axis: str, field: str = "x") -> Any:
    """Return the horizontal encoding: whole epochs or steps, no empty margin."""
    alt = require("altair", extra="charts")
    return alt.X(
        field=field,
        type="quantitative",
        title=axis,
        scale=alt.Scale(nice=False, zero=False, padding=8),
        axis=alt.Axis(tickMinStep=1, format="d", grid=False),
    )


def scale_of(values: Sequence[float]) -> ScaleName:
    """Choose ``"log"`` where positive values span decades, and ``"zero"`` where 0 is near."""
    if not values:
        return "free"
    low, high = min(values), max(values)
    if low > 0 and high / low >= DECADES:
        return "log"
    return "zero" if 0 <= low < NEAR_ZERO * high else "free"


def y_scale(name: ScaleName) -> Any:
    """Return the scale called ``name``."""
    alt = require("altair", extra="charts")
    return alt.Scale(type="log") if name == "log" else alt.Scale(zero=name == "zero")


def tooltips(shape: Shape) -> tuple[dict[str, str], list[Any]]:
    """Return text columns to calculate, and the tooltip that shows them: all numbers.

    A missing number reads as a dash. Formatting it directly would print 0.
    """
    alt = require("altair", extra="charts")
    names = {column: look.label.split(" (")[0] for column, look in palette.LOSSES.items()} | GAPS
    names |= {part_column(name): f"· {palette.part_look(name).short}" for name in shape.parts}
    shown = {column: title for column, title in names.items() if column in shape.columns}
    texts = {f"text_{column}": _text(column, shape.columns) for column in shown}
    where = [alt.Tooltip(field="run", type="nominal", title="run")] if shape.many else []
    where.append(alt.Tooltip(field="x", type="quantitative", title=shape.axis, format="d"))
    return texts, where + [
        alt.Tooltip(field=f"text_{column}", type="nominal", title=title)
        for column, title in shown.items()
    ]


def _text(column: str, columns: frozenset[str]) -> str:
    value = f"datum[{text(column)}]"
    error = f"datum['{column}_stderr']"
    plus_minus = (
        f" + (isValid({error}) ? ' ± ' + format({error}, '.1g') : '')"
        if f"{column}_stderr" in columns
        else ""
    )
    if column == keys.TRUE_LOSS and "true_high" in columns:
        half = f"(datum['true_high'] - {value})"
        plus_minus = f" + ({half} > 0 ? ' ± ' + format({half}, '.1g') + ' (95 %)' : '')"
    return f"isValid({value}) ? format({value}, '.5~g'){plus_minus} : {text(ABSENT)}"


def switch(looks: Mapping[str, palette.Look], field: str, symbol: str) -> tuple[Any, Any]:
    """Return the selection and the colour whose legend switches curves on and off.

    All curves are selected at first. A click in the legend takes one out or puts it back, and
    the legend dims what is out.
    """
    alt = require("altair", extra="charts")
    shown = alt.selection_point(
        name="shown",
        fields=[field],
        bind="legend",
        toggle="true",
        value=[{field: name} for name in looks],
    )
    renamed = {name: look.label for name, look in looks.items() if look.label != name}
    labels = {"labelExpr": f"({text(renamed)})[datum.value] || datum.value"} if renamed else {}
    colour = alt.Color(
        field=field,
        type="nominal",
        scale=alt.Scale(domain=list(looks), range=[look.colour for look in looks.values()]),
        legend=alt.Legend(
            title=None,
            orient="top",
            columns=2,
            symbolType=symbol,
            **labels,
        ),
    )
    return shown, colour


def zoom(*encodings: str) -> Any:
    """Return the selection that zooms (Ctrl or ⌘ and wheel) and pans (drag)."""
    return require("altair", extra="charts").selection_interval(
        name="zoom",
        bind="scales",
        encodings=list(encodings),
        zoom="wheel![event.ctrlKey || event.metaKey]",
    )


def layer(name: str) -> Any:
    """Return an empty chart called ``name``, for marks and encodings to be put on."""
    alt = require("altair", extra="charts")
    return alt.Chart(alt.Undefined).properties(name=name)


def valid(*columns: str) -> str:
    """Return the expression that holds where all ``columns`` have a number."""
    return " && ".join(f"isValid(datum[{text(column)}])" for column in columns)


def text(value: object) -> str:
    """Write ``value`` as a literal of Vega's expression language, whatever text is in it."""
    return json.dumps(value)
