"""The callback that measures the true loss while a model trains."""

import time
import warnings
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.utils import io_utils

from lossgap.core import arrays, backends, inspection, keys, monitors
from lossgap.core.arrays import Arrays
from lossgap.core.fit_call import FitCall
from lossgap.core.measurement import Measurement
from lossgap.core.meter import Batching, Meter
from lossgap.core.summary import Summary, summarize
from lossgap.errors import DataError, InvalidArgumentError, LossgapWarning


class TrueLoss(keras.callbacks.Callback):
    """Measures the true training loss at the end of an epoch, beside the reported one.

    Adds ``true_loss``, ``regularization_gap``, ``true_val_loss`` and ``true_<metric>`` to
    the logs, where ``History``, the progress bar and the callbacks that stand after this
    one find them: put it before an ``EarlyStopping(monitor="true_loss")``, or use
    :func:`lossgap.fit`, which puts it first. The training itself isn't changed.

    An element of a metric that is a vector gets its index as a suffix:
    ``true_f1_score_0``.

    Args:
        x: Inputs to measure on, arrays of shape ``(n_samples, ...)``. Left out, the
            training data are picked up from the running ``fit``, after its
            ``validation_split``. Given, and the same as those of ``fit``, they are measured
            with the sample weights of ``fit`` and without its validation part.
        y: Targets, likewise.
        sample_weight: Weights of the samples, as ``fit`` takes them.
        every: Measure every so many epochs.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics.
        batch_size: Batch size to measure with. Left out, it is the training's where it
            matters to the result, and else one that is fast.
        seed: Seed of the sample and the random masks that the parts are measured with.

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
        parts: bool = True,
        metrics: bool = True,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check_count("every", every)
        if batch_size is not None:
            _check_count("batch_size", batch_size)
        if x is None and (y is not None or sample_weight is not None):
            raise InvalidArgumentError(
                "Received `y` or `sample_weight` without `x`. Pass x too, or none of them to "
                "pick the training data up from fit."
            )
        self._given = (x, y, sample_weight)
        self._every = every
        self._parts = parts
        self._metrics = metrics
        self._batch_size = batch_size
        self._seed = seed
        self.measurements: list[Measurement] = []
        self.fit_seconds: float | None = None
        self.compile_seconds = 0.0
        self._reset()

    def _reset(self) -> None:
        self._call: FitCall | None = None
        self._training: Arrays | None = None
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
        self._training = self._find_training(self._call or FitCall())
        self._check_place()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, and add the numbers to the logs."""
        if self._call is not None:
            monitors.settle_directions(self._call.callbacks, self.model)
        if (epoch + 1) % self._every or self._failed:
            return
        try:
            measurement = self._measure(epoch, {} if logs is None else logs)
        except Exception as error:  # noqa: BLE001 - whatever fails here must not end the training
            self._failed = True
            self._warn(
                "failed",
                f"epoch {epoch + 1} could not be measured, and this training goes on without "
                f"the true loss. {type(error).__name__}: {error}",
            )
            return
        self.measurements.append(measurement)
        self._check_numbers(measurement)
        if logs is not None:
            logs.update(measurement.logs())

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Print the verdict, unless the fit is silent, and let go of the data."""
        del logs
        self.fit_seconds = time.perf_counter() - self._began
        self._call = self._training = self._meter = None
        if self.measurements and (self.params or {}).get("verbose"):
            io_utils.print_msg(str(self.summary()))

    def _measure(self, epoch: int, logs: dict[str, Any]) -> Measurement:
        if self._meter is None:
            self._meter = self._build_meter()
        optimizer = self.model.optimizer
        step = None if optimizer is None else int(optimizer.iterations)
        measurement = self._meter.measure(
            logs, epoch=epoch, step=step, validate=keys.VAL_LOSS in logs
        )
        self.compile_seconds = self._meter.compile_seconds
        return measurement

    def _build_meter(self) -> Meter:
        call = self._call or FitCall()
        if self._training is None:
            raise DataError("There are no training data. Was on_train_begin called?")
        return Meter(
            self.model,
            self._training,
            lambda: _validation(call),
            batching=Batching(
                call.batch_size, call.validation_batch_size, self._batch_size, call.shuffle
            ),
            parts=self._parts,
            metrics=self._metrics,
            seed=self._seed,
        )

    def _find_training(self, call: FitCall) -> Arrays:
        """Return the samples to measure: those given, or those that ``fit`` trains on."""
        x, y, sample_weight = self._given
        in_fit = arrays.can_read(call.x, call.y, call.sample_weight)
        if x is None and not in_fit:
            raise DataError(
                "TrueLoss was given no data, and can't measure on those of fit: it received "
                f"{'none' if call.x is None else type(call.x).__name__}. "
                "Pass arrays: TrueLoss(x, y)."
            )
        fitted = (
            arrays.read(call.x, call.y, call.sample_weight, call.class_weight) if in_fit else None
        )
        if x is None and fitted is not None:
            return fitted
        class_weight = call.class_weight if sample_weight is None else None
        given = arrays.read(x, y, sample_weight, class_weight)
        if fitted is None:
            return given
        if given.y is None and fitted.y is not None:
            raise DataError("TrueLoss received x without y, but fit trains with y. Pass both.")
        n_whole = fitted.n_samples + (_n_validation(call) if call.validation_split else 0)
        is_fitted = given.n_samples in (fitted.n_samples, n_whole) and arrays.same_samples(
            given, fitted
        )
        return fitted if is_fitted and sample_weight is None else given

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
                f"{when}: no true_val_loss, because the penalties in val_loss depend on the "
                "data. Pass validation_data as arrays to fit.",
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


def _validation(call: FitCall) -> Arrays | None:
    if call.validation is None or not arrays.can_read(*call.validation):
        return None
    return arrays.read(*call.validation)


def _n_validation(call: FitCall) -> int:
    validation = _validation(call)
    return 0 if validation is None else validation.n_samples


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(
            f"Expected `{name}` to be a whole number of at least 1. Received: {value!r}."
        )
