"""Trackers for training loops of one's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lossgap.core.measurement import Measurement
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.trackers.delivery import Delivery


@contextmanager
def tracking(
    trackers: Any, *, unit: str = "epoch", every: int = 1
) -> Iterator[Callable[[Measurement], None]]:
    """Log the measurements of one training to trackers, in the background.

    What ``TrueLoss(trackers=...)`` promises holds here, too: the loop neither waits for a tracker
    that hangs nor ends because of one that fails.

    Args:
        trackers: A tracker or the name of one, or several of them.
        unit: What the steps in the tracker count: ``"epoch"``, as in ``Measurement.epoch``, or
            ``"step"``, as in ``Measurement.step``.
        every: A measurement is made every so many of them.

    Yields:
        A function that takes a measurement.

    Raises:
        LossgapError: A tracker can't start.

    Example:
        ``with lossgap.trackers.tracking("mlflow") as log: log(measurement)``
    """
    delivery = Delivery(trackers)
    delivery.begin(Training({"unit": unit, "every": every}))
    measurements: list[Measurement] = []

    def log(measurement: Measurement) -> None:
        measurements.append(measurement)
        delivery.measured(measurement)

    try:
        yield log
    except BaseException:
        delivery.end(_summary(measurements), failed=True)
        raise
    delivery.end(_summary(measurements))


def _summary(measurements: list[Measurement]) -> Summary | None:
    return Summary(tuple(measurements)) if measurements else None
