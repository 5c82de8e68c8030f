"""The gap by cause: what separates the reported loss from the true one, epoch by epoch."""

from collections.abc import Sequence
from functools import lru_cache

from lossgap.charts import palette
from lossgap.charts.frames import Frame, Run, Shape, frame, part_column
from lossgap.charts.panels import base, stacks
from lossgap.charts.signs import MINUS
from lossgap.core import keys
from lossgap.core.measurement import Measurement

TITLE = f"What the gap is made of (reported {MINUS} true loss)"


def gap_by_cause(source: Sequence[Run] | Run | Sequence[Measurement]) -> base.Spec:
    """Draw the parts of the gap as stacked bars, and the whole gap as a line.

    A part may be negative: it then hangs below zero. Several runs are drawn as lines.

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
    """Draw the rows of ``data``."""
    return base.finish(template(data.shape), TITLE, data.rows)


@lru_cache(maxsize=base.MOST_TEMPLATES)
def template(shape: Shape) -> base.Spec:
    """Return the panel without data and title; runs of the same shape share it."""
    texts, tooltip = base.tooltips(shape)
    looks = {part_column(name): palette.part_look(name) for name in shape.parts}
    layers = []
    if looks:
        folded = base.layer("parts").transform_calculate(**texts)
        folded = folded.transform_fold(list(looks), as_=["part", "value"])
        layers = stacks.share_layers(
            folded, shape, looks, tooltip, field="part", title="share of the loss"
        )
    total = stacks.total_line(shape, keys.REGULARIZATION_GAP, texts, tooltip)
    if not layers:  # else they bring the selection that the label looks at
        total = total.add_params(base.zoom("x"))
    label = [] if shape.many else [stacks.total_label(keys.REGULARIZATION_GAP, "gap")]
    return base.build([*layers, total, *label])
