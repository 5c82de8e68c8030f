"""Other callbacks that monitor lossgap's keys: their place and their direction.

Keras's ``EarlyStopping``, ``ReduceLROnPlateau`` and ``ModelCheckpoint`` with
``mode="auto"`` know the direction of Keras's own names alone, and end the training with
an error for any other.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from lossgap.core import keys

# Names of Keras's own metrics that look like ours.
_OF_KERAS = ("true_positives", "true_negatives")
_LOSSES = (keys.TRUE_LOSS, keys.TRUE_VAL_LOSS, keys.REGULARIZATION_GAP)


def monitoring(callbacks: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    """Yield the callbacks that monitor a key of lossgap's, and the key."""
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and (
            monitor in _LOSSES
            or (monitor.startswith(keys.TRUE_PREFIX) and not monitor.startswith(_OF_KERAS))
        ):
            yield callback, monitor


def settle_directions(callbacks: Iterable[Any], model: Any) -> None:
    """Set ``mode`` where it is ``"auto"``: down for losses, and as Keras would for metrics.

    Metrics are known once the model was trained for a batch; until then, and where a
    metric has no direction, nothing is set.
    """
    directions = {
        keys.true_metric(metric.name): getattr(metric, "_direction", None)
        for metric in (model._compile_metrics.metrics if model._compile_metrics else ())
    }
    directions.update(dict.fromkeys(_LOSSES, "down"))
    modes = {"down": "min", "up": "max"}
    for callback, monitor in monitoring(callbacks):
        mode = modes.get(directions.get(monitor) or "")
        if mode and getattr(callback, "mode", None) == "auto":
            callback.mode = mode
