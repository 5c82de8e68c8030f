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
        samples: Samples to measure on: a count, or a fraction of all; ``None`` for all.
        precision: Relative half-width of the 95 % interval to measure to; ``None`` for exactly.
        budget: Time for measuring as a fraction of the training's; ``None`` for no limit.
        loss_range: The smallest and largest loss that a sample can have, for intervals that
            hold at all numbers of samples at once; ``None`` for intervals that hold at one.
        strict: Whether what fails ends the training, and isn't just a warning.

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
    samples: float | None = None
    precision: float | None = None
    budget: float | None = None
    loss_range: tuple[float, float] | None = None
    strict: bool = False

    @property
    def is_estimate(self) -> bool:
        """Whether the true loss is to be estimated."""
        return not self.samples == self.precision == self.budget is None

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
        self._check_estimate()

    def _check_estimate(self) -> None:
        given = {
            name: value
            for name in ("samples", "precision", "budget")
            if (value := getattr(self, name)) is not None
        }
        if len(given) > 1:
            raise InvalidArgumentError(
                f"Received {' and '.join(f'{name}={value!r}' for name, value in given.items())}. "
                "Each of them says how many samples to measure on: pass one."
            )
        for name in given.keys() - {"samples"}:
            _check_fraction(name, given[name])
        if "samples" in given and (not _is_number(self.samples, int) or given["samples"] < 1):
            _check_fraction("samples", self.samples, "a count of at least 1, or ")
        if self.loss_range is not None:
            _check_range(self.loss_range)
            if not given:
                raise InvalidArgumentError(
                    f"Received loss_range={self.loss_range!r} without an estimate to give an "
                    "interval for. Pass samples, precision or budget too."
                )


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(
            f"Expected `{name}` to be a whole number of at least 1. Received: {value!r}."
        )


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _check_fraction(name: str, value: Any, otherwise: str = "") -> None:
    if not _is_number(value, float) or not 0 < value < 1:
        raise InvalidArgumentError(
            f"Expected `{name}` to be {otherwise}a fraction above 0.0 and below 1.0. "
            f"Received: {value!r}."
        )


def _check_range(ends: Any) -> None:
    two = isinstance(ends, tuple | list) and len(ends) == len(("low", "high"))
    if not two or not all(_is_number(end, int, float) for end in ends) or not ends[0] < ends[1]:
        raise InvalidArgumentError(
            "Expected `loss_range` to be two numbers, the smallest and the largest loss that a "
            f"sample can have, such as (0.0, 20.0). Received: {ends!r}."
        )
