"""The callback that measures the true loss while a model trains."""

import time
import warnings
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.utils import io_utils

from lossgap.core import backends, inspection, keys, monitors
from lossgap.core.averaging import validated_weights
from lossgap.core.feeds.choose import MAX_BYTES, Feeds, Given, choose
from lossgap.core.fit_call import FitCall
from lossgap.core.measurement import Measurement
from lossgap.core.meter import Meter, Options
from lossgap.core.summary import Summary, summarize
from lossgap.errors import (
    DataError,
    InvalidArgumentError,
    LossgapError,
    LossgapWarning,
    first_line,
)

UNITS = ("epoch", "step")


class TrueLoss(keras.callbacks.Callback):
    """Measures the true training loss at the end of an epoch, beside the reported one.

    Adds ``true_loss``, ``regularization_gap``, ``true_val_loss`` and ``true_<metric>`` to
    the logs, where ``History``, the progress bar and the callbacks that stand after this
    one find them: put it before an ``EarlyStopping(monitor="true_loss")``, or use
    :func:`lossgap.fit`, which puts it first. The training itself isn't changed.

    An element of a metric that is a vector gets its index as a suffix:
    ``true_f1_score_0``.

    Args:
        x: Inputs to measure on, arrays of shape ``(n_samples, ...)``, or a dataset that can be
            read again and yields targets and weights too. Left out, the training data are
            picked up from the running ``fit``: arrays after its ``validation_split``, and of
            anything else the batches as they pass. Given, and the same as those of ``fit``,
            arrays are measured with the sample weights of ``fit`` and without its
            validation part.
        y: Targets, likewise.
        sample_weight: Weights of the samples, as ``fit`` takes them.
        every: Measure every so many epochs or steps.
        unit: ``"epoch"``, or ``"step"`` to measure in mid-epoch: then the reported loss is
            Keras's running mean so far, and the numbers are in ``measurements`` alone.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics.
        batch_size: Batch size to measure with. Left out, it is the training's where it
            matters to the result, and else one that is fast.
        max_bytes: Memory for batches that are kept as they pass. Beyond it a uniform sample of
            them is kept, and the true loss is an estimate with a standard error.
        seed: Seed of samples and of the random masks that the parts are measured with.

    Attributes:
        measurements: The measurements of the last fit, in order.
        fit_seconds: Wall-clock time of the last fit; ``None`` before its end.
        compile_seconds: Wall-clock time of compiling the measurement, once per fit.

    Raises:
        InvalidArgumentError: An argument is out of range.
        DataError: At the start of training: there are no data that can be measured.
        UnsupportedModelError: At the start of training: the model has no loss on the data
            that can be computed.

    Example:
        ``model.fit(x, y, epochs=5, callbacks=[lossgap.TrueLoss(x, y)])``
    """

    def __init__(
        self,
        x: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        every: int = 1,
        unit: str = "epoch",
        parts: bool = True,
        metrics: bool = True,
        batch_size: int | None = None,
        max_bytes: int = MAX_BYTES,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check_count("every", every)
        _check_count("max_bytes", max_bytes)
        if unit not in UNITS:
            raise InvalidArgumentError(
                f"Expected `unit` to be one of {', '.join(map(repr, UNITS))}. Received: {unit!r}."
            )
        if batch_size is not None:
            _check_count("batch_size", batch_size)
        if x is None and (y is not None or sample_weight is not None):
            raise InvalidArgumentError(
                "Received `y` or `sample_weight` without `x`. Pass x too, or none of them to "
                "pick the training data up from fit."
            )
        self._given = Given(x, y, sample_weight)
        self._every = every
        self._unit = unit
        self._options = Options(batch_size, parts, metrics, seed)
        self._max_bytes = max_bytes
        if unit == "step":  # as a method, Keras would call it in every training, and wait for it
            self.on_train_batch_end = self._on_step
        self.measurements: list[Measurement] = []
        self.fit_seconds: float | None = None
        self.compile_seconds = 0.0
        self._reset()

    def _reset(self) -> None:
        self._call: FitCall | None = None
        self._feeds: Feeds | None = None
        self._n_steps = 0
        self._meter: Meter | None = None
        self._failed = False
        self._warned: set[str] = set()

    def summary(self) -> Summary:
        """Summarize the last fit: measurements, cost, and the verdict in words.

        Raises:
            InvalidArgumentError: Nothing was measured yet.
        """
        return summarize(self)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check model and data, so that what can't be measured fails before the training."""
        del logs
        self._reset()
        self.measurements = []
        self.fit_seconds = None
        self.compile_seconds = 0.0
        self._began = time.perf_counter()
        backends.active()
        inspection.check(self.model)
        self._call = FitCall.running(self.model)
        self._feeds = choose(
            self._given,
            self._call or FitCall(),
            keep=self._options.parts,
            max_bytes=self._max_bytes,
            seed=self._options.seed,
        )
        self._check_place()
        if inspection.overrides(self.model, "train_step"):
            self._warn(
                "train_step",
                f"{type(self.model).__name__}.train_step is the model's own. What it reports is "
                "set against the compiled loss; whatever else it adds is in the part 'drift'.",
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begin to keep the batches of the epoch, where they are kept as they pass."""
        del logs
        self._epoch = epoch
        self._last_batch = -1
        if self._feeds is not None:
            self._feeds.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, and add the numbers to the logs."""
        if self._call is not None:
            monitors.settle_directions(self._call.callbacks, self.model)
        if self._unit == "epoch" and (epoch + 1) % self._every == 0:
            measurement = self._try(epoch, {} if logs is None else logs)
            if measurement is not None and logs is not None:
                logs.update(measurement.logs())

    def _on_step(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure in mid-epoch; one call may stand for several steps (``steps_per_execution``)."""
        before = self._n_steps
        self._n_steps += batch - self._last_batch
        self._last_batch = batch
        if self._n_steps // self._every > before // self._every:
            self._try(self._epoch, {} if logs is None else logs)

    def _try(self, epoch: int, logs: dict[str, Any]) -> Measurement | None:
        """Measure; a failure is told once, and the training goes on without the true loss."""
        if self._failed:
            return None
        try:
            measurement = self._measure(epoch, logs)
        except Exception as error:  # noqa: BLE001 - whatever fails here must not end the training
            self._failed = True
            self._warn(
                "failed",
                f"epoch {epoch + 1} could not be measured, and this training goes on without "
                f"the true loss. {_reason(error)}",
            )
            return None
        self.measurements.append(measurement)
        self._check_numbers(measurement)
        return measurement

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Print the verdict, unless the fit is silent, and let go of the data."""
        del logs
        self.fit_seconds = time.perf_counter() - self._began
        self.let_go()
        if self.measurements and (self.params or {}).get("verbose"):
            io_utils.print_msg(str(self.summary()))

    def let_go(self) -> None:
        """Let go of the data and the compiled passes; the measurements stay."""
        self._call = self._feeds = self._meter = None

    def _measure(self, epoch: int, logs: dict[str, Any]) -> Measurement:
        backends.active().settle(self.model)
        if self._meter is None:
            self._meter = self._build_meter()
        optimizer = self.model.optimizer
        step = None if optimizer is None else int(backends.active().to_numpy(optimizer.iterations))
        measurement = self._meter.measure(
            logs, epoch=epoch, step=step, validate=keys.VAL_LOSS in logs
        )
        self.compile_seconds = self._meter.compile_seconds
        return measurement

    def _build_meter(self) -> Meter:
        if self._feeds is None:
            raise DataError("There are no training data. Was on_train_begin called?")
        callbacks = self._call.callbacks if self._call else ()
        weights = validated_weights(self.model, callbacks)
        return Meter(self.model, self._feeds, weights, self._options)

    def _check_place(self) -> None:
        """Warn when a callback that monitors one of our keys stands before us."""
        callbacks = self._call.callbacks if self._call else ()
        early = callbacks[: callbacks.index(self)] if self in callbacks else ()
        for callback, monitor in monitors.monitoring(early):
            self._warn(
                f"place of {monitor}",
                f"{type(callback).__name__}(monitor={monitor!r}) stands before TrueLoss in the "
                "callbacks and won't see its numbers. Put TrueLoss first, or use lossgap.fit.",
            )
        monitors.settle_directions(callbacks, self.model)

    def _check_numbers(self, measurement: Measurement) -> None:
        """Warn once about the first number that isn't finite, or that can't be had."""
        when = f"epoch {(measurement.epoch or 0) + 1}"
        for name, value in _losses(measurement):
            if value is not None and value - value != 0:  # true of NaN and of infinity
                self._warn("finite", f"{when}: {name} is {value}.")
                break
        if measurement.reported_loss is None:
            self._warn(
                "reported",
                f"{when}: Keras's logs hold no 'loss', so there is no gap. A train_step of your "
                "own must return it.",
            )
        if measurement.val_loss is not None and measurement.true_val_loss is None:
            self._warn(
                "validation",
                f"{when}: no true_val_loss. The model has a test_step of its own, or penalties "
                "that depend on the data or dwarf the loss: it takes a pass over the validation "
                "data, and these can't be read twice. Pass validation_data as arrays to fit.",
            )

    def _warn(self, topic: str, text: str) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            warnings.warn(f"lossgap: {text}", LossgapWarning, stacklevel=3)


def _losses(measurement: Measurement) -> Iterator[tuple[str, float | None]]:
    """Yield the losses in the order in which a bad number spreads."""
    yield keys.TRUE_LOSS, measurement.true_loss
    for name, part in measurement.parts.items():
        if name != keys.DRIFT:
            yield f"the part {name!r} of the gap", part.value
    yield "the reported loss", measurement.reported_loss
    yield keys.VAL_LOSS, measurement.val_loss


def _reason(error: Exception) -> str:
    """Say in a line what failed; our own errors say the way out themselves."""
    if isinstance(error, LossgapError):
        return str(error)
    return (
        f"{type(error).__name__}: {first_line(error)} To see all of it, call "
        "lossgap.measure(model, x, y) on a few samples."
    )


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(
            f"Expected `{name}` to be a whole number of at least 1. Received: {value!r}."
        )
