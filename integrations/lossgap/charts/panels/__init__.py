"""The panels, one module each."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from lossgap.charts import palette
from lossgap.charts.frames import Frame
from lossgap.charts.panels import comparison, gap, generalizing, penalty
from lossgap.charts.panels.base import Spec as Spec
from lossgap.charts.panels.comparison import loss_comparison as loss_comparison
from lossgap.charts.panels.gap import gap_by_cause as gap_by_cause
from lossgap.charts.panels.generalizing import generalization as generalization
from lossgap.charts.panels.penalty import penalty_by_layer as penalty_by_layer
from lossgap.charts.panels.steps import last_finite
from lossgap.charts.panels.steps import waterfall as waterfall
from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.errors import DataError

PANELS: Final[Mapping[str, Callable[[Frame], Spec]]] = MappingProxyType(
    {
        "loss_comparison": comparison.draw,
        "gap_by_cause": gap.draw,
        "generalization": generalizing.draw,
        "penalty_by_layer": penalty.draw,
    }
)
"""The panels over epochs by name, in the order in which they are shown; each draws a frame."""

_NEEDED: Final = {
    "gap_by_cause": (palette.REPORTED_LOSS, keys.TRUE_LOSS),
    "generalization": (keys.TRUE_LOSS, keys.TRUE_VAL_LOSS),
}


def panels_of(data: Frame, measurements: Sequence[Measurement]) -> dict[str, Spec]:
    """Draw the panels of one run that there are numbers for.

    Args:
        data: The run's rows, thinned where there are many.
        measurements: All of the run. The waterfall is of the last one with finite losses.

    Returns:
        The specifications by name.
    """
    drawn = {}
    for name, draw in PANELS.items():
        enough = all(column in data.shape.columns for column in _NEEDED.get(name, ()))
        if enough and (data.penalties or name != "penalty_by_layer"):
            drawn[name] = draw(data)
    with suppress(DataError):  # No finite reported loss: no way down from it.
        drawn["waterfall"] = waterfall(last_finite(measurements))
    return drawn
