"""How the verdict writes numbers, epochs and causes, and when two numbers differ."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from lossgap.core import keys
from lossgap.core.measurement import Measurement, Part

SIGNIFICANT_ERRORS: Final = 2.0
"""Standard errors by which a number must stand out before it is called real."""

CAUSES: Final = {
    keys.PENALTY: "the penalty",
    keys.CLASS_WEIGHT: "class weighting",
    keys.DROPOUT: "dropout",
    keys.NOISE: "noise",
    keys.BATCH_NORM: "batch normalization",
    keys.AUGMENTATION: "augmentation",
    keys.OTHER: "the training mode of other layers",
    keys.PIPELINE: "augmentation in the input pipeline",
    keys.DRIFT: "the epoch's averaging",
}
"""Every part of the gap as a singular noun."""

_SIGNIFICANT_DIGITS: Final = 4
_MOST_DECIMALS: Final = 8


def cause(name: str) -> str:
    """Name a part of the gap in a sentence, without a word of the name of an unknown one.

    A verdict goes into notes that are read as Markdown. What stands in a foreign log must not.
    """
    return CAUSES.get(name, "a cause unknown to this version of lossgap")


def differs(a: float, b: float, *, relative: float, error: float = 0.0) -> bool:
    """Tell whether two losses differ by more than rounding, habit and sampling explain.

    Args:
        a: One loss.
        b: The other loss.
        relative: Smallest difference that counts, as a fraction of the larger of both.
        error: Standard error of the difference; 0 where both are exact.

    Returns:
        Whether ``|a - b|`` exceeds both thresholds. ``False`` if any number is NaN.
    """
    difference = abs(a - b)
    return difference > relative * max(abs(a), abs(b)) and difference > SIGNIFICANT_ERRORS * error


def is_certain(part: Part) -> bool:
    """Tell whether a part is exact or larger than two of its standard errors."""
    if part.standard_error is None:
        return True
    return abs(part.value) > SIGNIFICANT_ERRORS * part.standard_error


def total_of(values: Iterable[float]) -> float:
    """Add up numbers; infinite where their sum is too large for a number."""
    values = list(values)
    try:
        return math.fsum(values)
    except OverflowError:
        return sum(values)


def percent(share: float) -> str:
    """Write a fraction as a whole percentage, and a tiny one as "under 1 %"."""
    return "under 1 %" if 0 <= share < 0.005 else f"{100 * share:.0f} %"  # noqa: PLR2004


def sentence(text: str) -> str:
    """Write ``text`` with a capital letter in front and a full stop behind."""
    return f"{text[:1].upper()}{text[1:]}."


@dataclass(frozen=True, slots=True)
class Words:
    """Writes the numbers and times of one verdict, all in the same form.

    Attributes:
        decimals: Decimal places of every number, so that a reader can add and
            subtract what is written.
        with_steps: Whether epochs alone don't tell the measurements apart.
    """

    decimals: int
    with_steps: bool = False

    @classmethod
    def of(cls, measurements: Sequence[Measurement]) -> Self:
        """Choose the form that suits the last measurement: four digits of its loss."""
        last = measurements[-1]
        scale = max(abs(last.true_loss), abs(last.reported_loss or 0.0))
        whole = math.floor(math.log10(scale)) + 1 if scale > 0 else 0
        epochs = [m.epoch for m in measurements]
        return cls(
            decimals=max(_SIGNIFICANT_DIGITS - whole, 0),
            with_steps=len(set(epochs)) < len(epochs),
        )

    def number(self, value: float, standard_error: float | None = None) -> str:
        """Write a number, and "± its standard error" where it is an estimate."""
        text = f"{value:.{self.decimals}f}"
        if self.decimals > _MOST_DECIMALS:
            text = f"{value:.{_SIGNIFICANT_DIGITS}g}"
        elif float(text) == 0 and value != 0:
            text = f"{value:.1g}"
        if standard_error is None:
            return text
        return f"{text} ± {self.number(standard_error)}"

    def when(self, measurement: Measurement) -> str:
        """Name the time of a measurement: "epoch 5", counted from 1 as Keras prints it."""
        epoch = None if measurement.epoch is None else f"epoch {measurement.epoch + 1}"
        step = None if measurement.step is None else f"step {measurement.step}"
        if epoch is None or (self.with_steps and step is not None):
            return ", ".join(name for name in (epoch, step) if name is not None)
        return epoch
