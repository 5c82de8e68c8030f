"""The summary of one training: its measurements, its cost and the verdict in words."""

import contextlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lossgap.core import keys, verdict
from lossgap.core.measurement import Measurement
from lossgap.errors import InvalidArgumentError, LossgapError

# By name: the panels stand on a higher floor, and are there only with their extra.
_DISPLAY: Final = "lossgap.charts.display"

_SOURCES: Final = (
    "a sequence of lossgap.Measurement, a lossgap.TrueLoss callback after its training, or a "
    "Keras History (or its dict) with the true loss in it"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What one training's measurements show.

    Attributes:
        measurements: In the order in which they were taken.
        fit_seconds: Wall-clock time of the whole ``fit``, measurements and their
            compilation included; ``None`` where unknown.
        compile_seconds: Wall-clock time that compiling the measurement took, once
            per fit; ``None`` where unknown.
        troubles: What failed, a line each: measurements, and trackers.
    """

    measurements: tuple[Measurement, ...]
    fit_seconds: float | None = None
    compile_seconds: float | None = None
    troubles: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """A few plain sentences with the numbers, silent where these support no conclusion.

        ``±`` stands before one standard error.
        """
        return verdict.tell(self.measurements)

    @property
    def measurement_seconds(self) -> float:
        """Wall-clock time of all measurements together, without compilation."""
        return sum(m.seconds for m in self.measurements)

    def __str__(self) -> str:
        return "\n".join([self.verdict, *self.troubles])

    def _repr_mimebundle_(
        self,
        include: object = None,  # noqa: ARG002 - part of the notebooks' protocol
        exclude: object = None,  # noqa: ARG002
    ) -> dict[str, str]:
        """Return what a notebook shows: the verdict, and the panels where they can be drawn."""
        bundle = {"text/plain": str(self)}
        with contextlib.suppress(ImportError, LossgapError):
            bundle["text/html"] = importlib.import_module(_DISPLAY).to_html(
                self.measurements, self.troubles
            )
        return bundle


def summarize(source: object) -> Summary:
    """Summarize one training from its measurements or its ``History``.

    ``History`` knows neither the gap's causes nor which epochs a number belongs to:
    a column counts only if it has a value for every epoch, so that a validation loss
    taken every few epochs is left out. The callback knows both.

    Args:
        source: A sequence of measurements, an object with ``measurements`` such as
            :class:`lossgap.TrueLoss`, a Keras ``History``, or its dict.

    Returns:
        The summary. Its costs are known only where the source has ``fit_seconds`` and
        ``compile_seconds``.

    Raises:
        InvalidArgumentError: The source is none of these, is empty, or is a history
            without a true loss for each of its epochs.
    """
    if isinstance(source, Mapping):
        return Summary(_from_history(source, None))
    if hasattr(source, "measurements"):
        troubles = tuple(getattr(source, "troubles", ()))
        if troubles and not source.measurements:
            raise InvalidArgumentError(f"Nothing was measured. {' '.join(troubles)}")
        return Summary(
            _checked(source.measurements),
            fit_seconds=getattr(source, "fit_seconds", None),
            compile_seconds=getattr(source, "compile_seconds", None),
            troubles=troubles,
        )
    history = getattr(source, "history", None)
    if isinstance(history, Mapping):
        return Summary(_from_history(history, getattr(source, "epoch", None)))
    return Summary(_checked(source))


def _checked(source: object) -> tuple[Measurement, ...]:
    if not isinstance(source, Sequence) or isinstance(source, str | bytes):
        raise InvalidArgumentError(
            f"Received {source!r} of type {type(source).__name__}, expected {_SOURCES}. "
            "Put a single measurement into a list."
        )
    for index, item in enumerate(source):
        if not isinstance(item, Measurement):
            raise InvalidArgumentError(
                f"Received {item!r} of type {type(item).__name__} at index {index}, "
                f"expected {_SOURCES}."
            )
    if not source:
        raise InvalidArgumentError(
            f"Received no measurement, expected {_SOURCES}. "
            "Summarize after at least one measured epoch."
        )
    return tuple(source)


def _from_history(history: Mapping[Any, Any], epochs: object) -> tuple[Measurement, ...]:
    true = _column(history, keys.TRUE_LOSS)
    if not true:
        raise InvalidArgumentError(
            f"Received a history with the keys {list(map(str, history))}, expected "
            f"{keys.TRUE_LOSS!r} among them and at least one epoch. Train with lossgap.fit, or "
            "with lossgap.TrueLoss among the callbacks."
        )
    reported = _column(history, keys.LOSS)
    if reported and len(reported) != len(true):
        raise InvalidArgumentError(
            f"Received a history with {len(true)} values of {keys.TRUE_LOSS!r} for "
            f"{len(reported)} of {keys.LOSS!r}, expected one for each epoch: a history doesn't "
            "say which epochs were measured. Summarize the lossgap.TrueLoss callback instead."
        )
    n = len(true)
    numbers = list(epochs) if isinstance(epochs, Sequence) else []
    rows = zip(
        true,
        numbers if len(numbers) == n else range(n),
        _aligned(reported, n),
        _aligned(_column(history, keys.VAL_LOSS), n),
        _aligned(_column(history, keys.TRUE_VAL_LOSS), n),
        strict=True,
    )
    return tuple(
        Measurement(
            true_loss=true_loss,
            epoch=epoch,
            reported_loss=loss,
            val_loss=val_loss,
            true_val_loss=true_val_loss,
        )
        for true_loss, epoch, loss, val_loss, true_val_loss in rows
    )


def _aligned(values: list[float], n_epochs: int) -> Sequence[float | None]:
    return values if len(values) == n_epochs else [None] * n_epochs


def _column(history: Mapping[Any, Any], name: str) -> list[float]:
    values = history.get(name, [])
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"Received {values!r} under {name!r} of the history, expected a list with a number "
            "for each epoch, as Keras's History holds it."
        ) from None
