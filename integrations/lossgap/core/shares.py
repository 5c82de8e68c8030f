"""What mechanisms add to the loss at fixed weights, from rows of batches."""

import math
from dataclasses import dataclass, field

import numpy as np

from lossgap.core.measurement import Part


@dataclass(frozen=True, slots=True)
class Shares:
    """What the mechanisms add to the total loss at fixed weights.

    Attributes:
        parts: Share of each mechanism, its Shapley value.
        total: Their sum: the loss with all mechanisms in train mode less the loss with none.
    """

    parts: dict[str, Part] = field(default_factory=dict)
    total: Part = field(default_factory=lambda: Part(0.0))


def share(counts: np.ndarray, values: np.ndarray, *, exact: bool) -> Part:
    """Return the mean of a share over batches, with the standard error of that mean.

    Args:
        counts: Samples of each batch, shape ``(n_batches,)``.
        values: The share in each batch, likewise.
        exact: Whether these are all batches, and nothing in them was drawn at random.

    Returns:
        The mean weighted by samples. Without a standard error where it is exact, where there
        is one batch alone, and where a value isn't finite.
    """
    weights = counts / counts.sum()
    mean = float(weights @ values)
    if exact or len(values) < 2:  # noqa: PLR2004
        return Part(mean)
    spread = weights @ (weights * (values - mean) ** 2) * len(values) / (len(values) - 1)
    return Part(mean, math.sqrt(spread) if math.isfinite(spread) else None)
