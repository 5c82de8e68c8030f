"""The settings of a measurement, checked. Known before Keras is imported."""

from dataclasses import dataclass
from typing import Any, Final

from lossgap.errors import InvalidArgumentError

UNITS: Final = ("epoch", "step")

MAX_BYTES: Final = 256 * 2**20
"""Memory for batches that are kept as they pass."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure, when and how: the keyword arguments of ``TrueLoss``.

    Attributes:
        every: Measure every so many epochs or steps.
        unit: ``"epoch"`` or ``"step"``.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics.
        batch_size: Batch size to measure with; ``None`` to choose.
        max_bytes: Memory for batches that are kept as they pass.
        seed: Seed of the samples and the random masks.

    Raises:
        InvalidArgumentError: A value is out of range.
    """

    every: int = 1
    unit: str = "epoch"
    parts: bool = True
    metrics: bool = True
    batch_size: int | None = None
    max_bytes: int = MAX_BYTES
    seed: int = 0

    def __post_init__(self) -> None:
        _check_count("every", self.every)
        _check_count("max_bytes", self.max_bytes)
        if self.unit not in UNITS:
            raise InvalidArgumentError(
                f"Expected `unit` to be one of {', '.join(map(repr, UNITS))}. "
                f"Received: {self.unit!r}."
            )
        if self.batch_size is not None:
            _check_count("batch_size", self.batch_size)


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(
            f"Expected `{name}` to be a whole number of at least 1. Received: {value!r}."
        )
