"""The loss comparison: what Keras printed, and what the losses really are."""

from collections.abc import Sequence

from lossgap.charts import palette
from lossgap.charts.frames import Frame, Run, frame
from lossgap.charts.panels import base, curves
from lossgap.core import keys
from lossgap.core.measurement import Measurement

TITLE = "Reported loss and true loss"


def loss_comparison(source: Sequence[Run] | Run | Sequence[Measurement]) -> base.Spec:
    """Draw reported, true, validation and true validation loss, the gap shaded.

    A true loss that was estimated on a sample has its 95 % band.

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
    shade = (keys.TRUE_LOSS, palette.REPORTED_LOSS)
    return curves.draw(data, data.shape.losses(), shade, TITLE)
