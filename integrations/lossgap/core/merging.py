"""A pass in several places: what each of them found, and how it becomes one number.

The data loss and the penalties are means over samples, so parts of them are put together
by their numbers of samples. All metrics of Keras are sums over batches until their result
is asked for, so their states add up.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, slots=True)
class Partial:
    """What a pass over some of the samples found, small whatever their number.

    Attributes:
        rows: Samples, and the means over them of what
            :class:`lossgap.core.forward.Evaluation` has in a row, in float64. Shape
            ``(n_rows, n_columns)``.
        sums: What the samples have added to the states of the metrics, floats in float64.
    """

    rows: np.ndarray
    sums: list[np.ndarray]

    @classmethod
    def of(cls, rows: np.ndarray, sums: list[np.ndarray]) -> Self:
        """Take the rows of some batches, and what they have added to the states."""
        counts = rows[:, 0]
        if not counts.sum():
            return cls(rows[:0], [np.zeros_like(_wide(value)) for value in sums])
        with np.errstate(invalid="ignore"):
            mean = counts @ rows / counts.sum()
        mean[0] = counts.sum()
        return cls(mean[None], [_wide(value) for value in sums])

    @classmethod
    def joined(cls, partials: Iterable["Partial"]) -> Self:
        """Put together what passes over different samples found: at least one pass."""
        rows: list[np.ndarray] = []
        sums: list[np.ndarray] = []
        for partial in partials:
            sums = (
                [a + b for a, b in zip(sums, partial.sums, strict=True)] if rows else partial.sums
            )
            rows.append(partial.rows)
        return cls.of(np.concatenate(rows), sums)


def _wide(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if value.dtype.kind not in "biu" else value


def summed(model: Any) -> frozenset[int]:
    """Return the identities of the metrics' variables that hold sums over batches.

    That is known of Keras's own metrics. A metric with an ``update_state`` of the user's
    own may do anything.
    """
    return frozenset(
        id(variable)
        for metric in _leaves(model.metrics)
        if _adds_up(metric)
        for variable in metric._variables
    )


def unsummed_names(model: Any) -> list[str]:
    """Return the names, as Keras has them in its logs, of metrics that may not be sums."""
    names = [metric.name for metric in _leaves(model.metrics) if not _adds_up(metric)]
    compiled = model._compile_metrics
    if compiled is None or not compiled.built:
        return names
    for entry in filter(None, [*compiled._flat_metrics, *compiled._flat_weighted_metrics]):
        prefix = f"{entry.output_name}_" if entry.output_name else ""
        names += [f"{prefix}{metric.name}" for metric in entry.metrics if not _adds_up(metric)]
    return names


def _adds_up(metric: Any) -> bool:
    """Tell whether the metric's states are sums, as they are in each class of Keras's own."""
    return str(type(metric).update_state.__module__).startswith("keras.src.")


def _leaves(metrics: Iterable[Any]) -> Iterator[Any]:
    """Yield metrics and those inside of them, which hold the variables."""
    for metric in metrics:
        yield metric
        inner: Iterable[Any] = getattr(metric, "metrics", None) or metric._metrics
        yield from _leaves(inner)
