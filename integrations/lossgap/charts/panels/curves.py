"""Lines of losses over epochs: the building blocks of two panels."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from lossgap.charts import palette
from lossgap.charts.frames import Frame, Shape
from lossgap.charts.panels import base, labels
from lossgap.core import keys
from lossgap.extras import require

THICK: Final = 4.5
THIN: Final = 1.75


def draw(data: Frame, columns: tuple[str, ...], shade: tuple[str, str], title: str) -> base.Spec:
    """Draw the ``columns`` of ``data`` as lines, with the gap in ``shade``."""
    scale = base.scale_of(data.values((*columns, "true_low", "true_high")))
    rows = labels.with_label_places(data, columns, scale)
    return base.finish(template(data.shape, columns, shade, scale), title, rows)


@lru_cache(maxsize=base.MOST_TEMPLATES)
def template(
    shape: Shape, columns: tuple[str, ...], shade: tuple[str, str], scale: base.ScaleName
) -> base.Spec:
    """Return the panel without data and title; runs of the same shape share it."""
    return base.build(line_layers(shape, columns, shade, scale))


def line_layers(
    shape: Shape, columns: Sequence[str], shade: tuple[str, str], scale: base.ScaleName
) -> list[Any]:
    """Return the layers of a panel of loss curves.

    From the lowest: the shaded gap between the two curves in ``shade``, the 95 % band of the
    true loss, the lines, the points that answer to the pointer, and a label at each line's end.

    Args:
        shape: What there is to draw.
        columns: Losses to draw.
        shade: Lower and upper edge of the gap; it is drawn in the colour of the upper one.
        scale: Kind of the vertical scale.
    """
    alt = require("altair", extra="charts")
    shown, colour = base.switch({n: palette.LOSSES[n] for n in columns}, "quantity", "stroke")
    y = alt.Y(
        field="value",
        type="quantitative",
        title="loss",
        scale=base.y_scale(scale),
    )
    layers = []
    if set(shade) <= set(columns):
        layers.append(_shade(shape, shade, shown))
    if "true_low" in shape.columns and keys.TRUE_LOSS in columns:
        layers.append(_band(shape, shown))
    folded = _fold(base.layer("lines"), columns, shown)
    lines = folded.mark_line(strokeCap="round", clip=True).encode(
        x=base.x_axis(shape.axis), y=y, color=colour, strokeWidth=_width(shape), **of_run(shape)
    )
    points = _points(shape, columns, shown)
    texts = [] if shape.many else labels.end_labels(columns, shown)
    return [*layers, lines.add_params(shown, base.zoom("x", "y")), points, *texts]


def _fold(chart: Any, columns: Sequence[str], shown: Any) -> Any:
    # The printed curves come last, thin over thick: where two coincide, both are seen.
    drawn = sorted(columns, key=lambda name: not name.startswith("true"))
    return chart.transform_fold(drawn, as_=["quantity", "value"]).transform_filter(shown)


def _width(shape: Shape) -> Any:
    """Draw what lossgap measured thick, and what Keras printed thin; many runs thinner."""
    alt = require("altair", extra="charts")
    thick, thin = (THICK * 0.6, THIN * 0.8) if shape.many else (THICK, THIN)
    return alt.condition("indexof(datum.quantity, 'true') === 0", alt.value(thick), alt.value(thin))


def of_run(shape: Shape) -> dict[str, Any]:
    """Tell runs apart by dashes while there are patterns left, and by the pointer beyond."""
    alt = require("altair", extra="charts")
    if not shape.many:
        return {}
    if len(shape.runs) > len(palette.DASHES):
        return {"detail": alt.Detail(field="run", type="nominal")}
    scale = (
        alt.Scale(
            domain=list(shape.runs),
            range=[list(dash) for dash in palette.DASHES[: len(shape.runs)]],
        )
        if shape.runs
        else alt.Undefined
    )
    legend = alt.Legend(title="run", orient="bottom", columns=3, symbolStrokeColor=palette.INK)
    return {
        "strokeDash": alt.StrokeDash(
            field="run", type="nominal", sort=None, scale=scale, legend=legend
        )
    }


def _shade(shape: Shape, shade: tuple[str, str], shown: Any) -> Any:
    """Shade the gap between two curves, for as long as both are shown."""
    chart = base.layer("gap_shade")
    for quantity in shade:
        chart = _only_if_shown(chart, quantity, shown)
    return _between(chart, shape, *shade, palette.LOSSES[shade[1]].colour, 0.16)


def _band(shape: Shape, shown: Any) -> Any:
    """Draw the 95 % band of an estimated true loss."""
    chart = _only_if_shown(base.layer("band"), keys.TRUE_LOSS, shown)
    colour = palette.LOSSES[keys.TRUE_LOSS].colour
    return _between(chart, shape, "true_low", "true_high", colour, 0.3)


def _only_if_shown(chart: Any, quantity: str, shown: Any) -> Any:
    return chart.transform_calculate(quantity=base.text(quantity)).transform_filter(shown)


def _between(  # noqa: PLR0917 - two edges and their look
    chart: Any, shape: Shape, low: str, high: str, colour: str, opacity: float
) -> Any:
    alt = require("altair", extra="charts")
    both = base.valid(low, high)
    detail = {"detail": alt.Detail(field="run", type="nominal")} if shape.many else {}
    return (
        chart.transform_calculate(
            edge=f"{both} ? datum.{low} : null", value=f"{both} ? datum.{high} : null"
        )
        .mark_area(opacity=opacity / max(1, len(shape.runs)) ** 0.5, clip=True, color=colour)
        .encode(
            x=alt.X(field="x", type="quantitative"),
            y=alt.Y(field="value", type="quantitative"),
            y2=alt.Y2(field="edge"),
            **detail,
        )
    )


def _points(shape: Shape, columns: Sequence[str], shown: Any) -> Any:
    """Mark measurements, show all numbers of the one nearest to the pointer."""
    alt = require("altair", extra="charts")
    hover = alt.selection_point(
        name="hover",
        on="pointermove",
        clear="pointerout",
        nearest=True,
        empty=False,
        **({"fields": ["x", "run"]} if shape.many else {"encodings": ["x"]}),
    )
    texts, tooltip = base.tooltips(shape)
    return (
        _fold(base.layer("points"), columns, shown)
        .transform_filter(base.valid("value"))
        .transform_calculate(**texts)
        .mark_point(filled=True, clip=True)
        .encode(
            x=alt.X(field="x", type="quantitative"),
            y=alt.Y(field="value", type="quantitative"),
            color=alt.Color(field="quantity", type="nominal"),
            opacity=alt.condition(hover, alt.value(1), alt.value(0.9 if shape.few else 0)),
            size=alt.condition(hover, alt.value(90), alt.value(34)),
            tooltip=tooltip,
        )
        .add_params(hover)
    )
