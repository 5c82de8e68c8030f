"""Penalty by layer: which layers the penalties in the reported loss come from."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from lossgap.charts import palette
from lossgap.charts.frames import Frame, Row, Run, Shape, frame
from lossgap.charts.panels import base, stacks
from lossgap.core.measurement import Measurement
from lossgap.extras import require

TITLE = "Penalty by layer"


def penalty_by_layer(source: Sequence[Run] | Run | Sequence[Measurement]) -> base.Spec:
    """Draw each layer's penalty as stacked bars; each kind (L1, L2 …) counts by itself.

    Beyond the seven largest, the rest is drawn as one.

    Args:
        source: The measurements of a run, a run, or several runs.

    Returns:
        A Vega-Lite 5 specification with its data.

    Raises:
        DataError: There is nothing to draw.
        MissingDependencyError: altair isn't installed.
    """
    return draw(frame(source))


def draw(data: Frame) -> base.Spec:
    """Draw the penalties of ``data``."""
    largest = _largest(data.penalties)
    rows = together(data.penalties, largest)
    shares = dict.fromkeys([*largest, *(row["share"] for row in rows)])
    return base.finish(template(data.shape, tuple(shares)), TITLE, rows)


@lru_cache(maxsize=base.MOST_TEMPLATES)
def template(shape: Shape, shares: tuple[str, ...]) -> base.Spec:
    """Return the panel without data and title, for ``shares`` from the largest to the smallest."""
    alt = require("altair", extra="charts")
    colours = (*palette.LAYERS, palette.REST)
    looks = {
        name: palette.Look(colour, name, name)
        for name, colour in zip(shares, colours, strict=False)
    }
    tooltip = [
        *([alt.Tooltip(field="run", type="nominal")] if shape.many else []),
        alt.Tooltip(field="x", type="quantitative", title=shape.axis, format="d"),
        alt.Tooltip(field="share", type="nominal", title="layer"),
        alt.Tooltip(field="value", type="quantitative", title="penalty", format=".5~g"),
    ]
    chart = base.layer("penalties")
    layers = stacks.share_layers(chart, shape, looks, tooltip, field="share", title="penalty")
    return base.build(layers)


def _share(row: Row) -> str:
    return f"{row['layer']} · {row['kind']}"


def _largest(rows: Iterable[Row]) -> list[str]:
    """Return the layers and kinds with the largest penalty at any time, largest first."""
    sizes: dict[str, float] = {}
    for row in rows:
        sizes[_share(row)] = max(sizes.get(_share(row), 0.0), abs(row["value"] or 0.0))
    ranked = sorted(sizes, key=lambda name: -sizes[name])
    return ranked[: len(palette.LAYERS)]


def together(rows: Iterable[Row], largest: Sequence[str]) -> list[Row]:
    """Name each row's share, and add up those that aren't among the ``largest``.

    If one of the added numbers is missing, so is the sum.
    """
    kept: list[Row] = []
    rest: dict[tuple[str, int], Row] = {}
    names: set[str] = set()
    for row in rows:
        name = _share(row)
        if name in largest:
            kept.append(row | {"share": name})
            continue
        names.add(name)
        place = row["run"], row["x"]
        if place not in rest:
            rest[place] = row | {"layer": "", "kind": "", "value": 0.0}
        before, value = rest[place]["value"], row["value"]
        rest[place]["value"] = None if before is None or value is None else before + value
    return kept + [row | {"share": f"{len(names)} others together"} for row in rest.values()]
