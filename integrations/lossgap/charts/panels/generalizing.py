"""Generalization: the true loss on both sides, measured alike."""

from collections.abc import Sequence

from lossgap.charts.frames import Frame, Run, frame
from lossgap.charts.panels import base, curves
from lossgap.core import keys
from lossgap.core.measurement import Measurement

TITLE = "Generalization: true loss on training and on validation data"


def generalization(source: Sequence[Run] | Run | Sequence[Measurement]) -> base.Spec:
    """Draw the true loss on training data against the true loss on validation data.

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
    columns = (keys.TRUE_LOSS, keys.TRUE_VAL_LOSS)
    return curves.draw(data, data.shape.losses(columns), columns, TITLE)
