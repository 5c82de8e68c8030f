"""What the user should know of a training, or of a measurement, that nothing failed in."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lossgap.core import inspection, keys, monitors
from lossgap.core.measurement import Measurement


class Caution(NamedTuple):
    """A text, and its topic, of which one is told in a training."""

    topic: str
    text: str


def of_training(model: Any, callbacks: Sequence[Any], measuring: Any) -> Iterator[Caution]:
    """Yield what to know before a training.

    Args:
        model: That is about to be trained.
        callbacks: Of the training, in the order in which Keras calls them.
        measuring: The one that measures. Those before it don't see its numbers.
    """
    early = callbacks[: callbacks.index(measuring)] if measuring in callbacks else ()
    for callback, monitor in monitors.monitoring(early):
        yield Caution(
            f"place of {monitor}",
            f"{type(callback).__name__}(monitor={monitor!r}) stands before TrueLoss in the "
            "callbacks and won't see its numbers. Put TrueLoss first, or use lossgap.fit.",
        )
    if inspection.overrides(model, "train_step"):
        yield Caution(
            "train_step",
            f"{type(model).__name__}.train_step is the model's own. What it reports is "
            "set against the compiled loss; whatever else it adds is in the part 'drift'.",
        )


def of_measurement(measurement: Measurement, *, is_estimate: bool) -> Iterator[Caution]:
    """Yield the first number that isn't finite, and what can't be had."""
    when = f"epoch {(measurement.epoch or 0) + 1}"
    for name, value in _losses(measurement):
        if value is not None and value - value != 0:  # true of NaN and of infinity
            yield Caution("finite", f"{when}: {name} is {value}.")
            break
    if measurement.reported_loss is None:
        yield Caution(
            "reported",
            f"{when}: Keras's logs hold no 'loss', so there is no gap. A train_step of your "
            "own must return it.",
        )
    if measurement.caveat is not None and is_estimate:
        yield Caution("caveat", f"{when}: {measurement.caveat}.")
    if measurement.val_loss is not None and measurement.true_val_loss is None:
        yield Caution(
            "validation",
            f"{when}: no true_val_loss. The model has a test_step of its own, or penalties "
            "that depend on the data or dwarf the loss: it takes a pass over the validation "
            "data, and these can't be read twice. Pass validation_data as arrays to fit.",
        )


def _losses(measurement: Measurement) -> Iterator[tuple[str, float | None]]:
    """Yield the losses in the order in which a bad number spreads."""
    yield keys.TRUE_LOSS, measurement.true_loss
    for name, part in measurement.parts.items():
        if name != keys.DRIFT:
            yield f"the part {name!r} of the gap", part.value
    yield "the reported loss", measurement.reported_loss
    yield keys.VAL_LOSS, measurement.val_loss
