"""The callback that measures the true loss while a model trains."""

import copy
import importlib
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict
from typing import Any

import keras
from keras.src.utils import io_utils

from lossgap.core import backends, cautions, inspection, keys, monitors
from lossgap.core.averaging import validated_weights
from lossgap.core.estimates.purse import Purse
from lossgap.core.failures import Failures, reason
from lossgap.core.feeds.choose import Feeds, Given, choose
from lossgap.core.fit_call import FitCall
from lossgap.core.measurement import Measurement
from lossgap.core.meter import Meter, build
from lossgap.core.observers import Observer, Training
from lossgap.core.settings import MAX_BYTES, Settings
from lossgap.core.summary import Summary, summarize
from lossgap.errors import DataError, InvalidArgumentError, LossgapError, LossgapWarning
from lossgap.redaction import shown

# By name: trackers stand on a higher floor, and are there only with their extras.
_TRACKERS = "lossgap.trackers"


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
        samples: Estimate the true loss from so many samples: a count, or a fraction of all.
        precision: Estimate it from as many samples as it takes for a 95 % interval of this
            relative half-width: ``0.02`` for plus or minus 2 %.
        budget: Estimate it as precisely as a fraction of the training's time allows:
            ``0.01`` is what is recommended for large data. Of ``samples``, ``precision`` and
            ``budget`` one may be given; with none the true loss is exact.
        loss_range: The smallest and largest loss that a sample can have. With it the intervals
            of an estimate hold at all numbers of samples at once; they are wider.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics.
        batch_size: Batch size to measure with. Left out, it is the training's where it
            matters to the result, and else one that is fast.
        max_bytes: Memory for batches that are kept as they pass. Beyond it a uniform sample of
            them is kept, and the true loss is an estimate with a standard error.
        trackers: Where to log: trackers such as ``lossgap.mlflow.MLflowTracker()``, or their
            names, ``"mlflow"``, ``"wandb"``, ``"tensorboard"``. One, or several in a list.
        seed: Seed of samples and of the random masks that the parts are measured with.
        strict: Whether a measurement or a tracker that fails ends the training with its
            exception. By default it is one warning, the training goes on, and the summary
            counts the failures. A tracker fails in the background: that is raised with the next
            measurement, or at the end of the training. What it didn't take is kept all the same.

    Attributes:
        measurements: The measurements of the last fit, in order.
        fit_seconds: Wall-clock time of the last fit; ``None`` before its end.
        compile_seconds: Wall-clock time of compiling the measurement, once per fit.
        observer: Who is told of the measurements: the trackers; ``None`` without.
        lenient: Whether a model or data that can't be measured are a warning, not an error:
            for those who didn't ask for this callback themselves.
        silent: Whether to print nothing and warn of nothing.

    Raises:
        InvalidArgumentError: An argument is out of range, or there is no such tracker.
        MissingDependencyError: The package of a tracker isn't installed.
        DataError: At the start of training: there are no data that can be measured.
        TrackerError: With ``strict``, while training: a tracker failed.
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
        samples: float | None = None,
        precision: float | None = None,
        budget: float | None = None,
        loss_range: tuple[float, float] | None = None,
        parts: bool = True,
        metrics: bool = True,
        batch_size: int | None = None,
        max_bytes: int = MAX_BYTES,
        trackers: Any = (),
        seed: int = 0,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self._settings = Settings(
            every=every,
            unit=unit,
            parts=parts,
            metrics=metrics,
            batch_size=batch_size,
            max_bytes=max_bytes,
            seed=seed,
            samples=samples,
            precision=precision,
            budget=budget,
            loss_range=loss_range,
            strict=strict,
        )
        if x is None and (y is not None or sample_weight is not None):
            raise InvalidArgumentError(
                "Received `y` or `sample_weight` without `x`. Pass x too, or none of them to "
                "pick the training data up from fit."
            )
        self._given = Given(x, y, sample_weight)
        self.observer = _observer(trackers)
        self._keeps_records = True
        self.lenient = self.silent = False
        self._hear_of_steps()
        self.measurements: list[Measurement] = []
        self.fit_seconds: float | None = None
        self.compile_seconds = 0.0
        self._reset()

    def _hear_of_steps(self) -> None:
        if self._settings.unit == "step":
            # As a method, Keras would call it in every training, and wait for it.
            self.on_train_batch_end = self._on_step

    def __getstate__(self) -> dict[str, Any]:
        """Leave model and running fit out of copies, which are made for other trainings.

        A copy has the settings, the data, the trackers and the measurements so far. Deep copies
        share the data.

        Raises:
            DataError: The data can't be pickled.
        """
        fresh = {"_model": None, "_call": None, "_feeds": None, "_meter": None, "_n_steps": 0}
        ended: dict[str, Any] = {
            "_failures": copy.deepcopy(self._failures),
            "_followed": None,
            "_warned": set(),
            "measurements": [*self.measurements],
        }
        state = self.__dict__ | fresh | ended
        state.pop("on_train_batch_end", None)  # is bound to this one
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`__getstate__` left."""
        self.__dict__.update(state)
        self._hear_of_steps()

    def _reset(self) -> None:
        self._call: FitCall | None = None
        self._feeds: Feeds | None = None
        self._purse: Purse | None = None
        self._n_measured = 0
        self._n_steps = 0
        self._meter: Meter | None = None
        self._failures = Failures()
        self._followed: Observer | None = None
        self._warned: set[str] = set()

    @property
    def troubles(self) -> tuple[str, ...]:
        """What failed in the last fit, a line each: measurements, and trackers as they are now."""
        told = () if self._followed is None else self._followed.troubles()
        return (*self._failures.lines(), *told)

    def summary(self) -> Summary:
        """Summarize the last fit: measurements, cost, the verdict in words, and what failed.

        Raises:
            InvalidArgumentError: Nothing was measured yet.
        """
        return summarize(self)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check model and data, so that what can't be measured fails before the training."""
        del logs
        self.let_go()  # of a fit that ended with an exception
        self._reset()
        self.measurements = []
        self.fit_seconds = None
        self.compile_seconds = 0.0
        self._began = time.perf_counter()
        if self._settings.budget is not None:
            self._purse = Purse(self._settings.budget, self._n_planned())
        try:
            with self._paid(counted=False):
                self._prepare()
        except Exception as error:
            if not self.lenient or self._settings.strict:
                raise
            self._failures.give_up(error)
            self._warn("failed", f"this training goes on without the true loss. {reason(error)}")

    def _prepare(self) -> None:
        self._keeps_records = backends.active().is_chief(self.model)
        inspection.check(self.model)
        self._call = FitCall.running(self.model)
        self._feeds = choose(
            self._given,
            self._call or FitCall(),
            keep=self._settings.parts,
            max_bytes=self._settings.max_bytes,
            seed=self._settings.seed,
        )
        callbacks = self._call.callbacks if self._call else ()
        for caution in cautions.of_training(self.model, callbacks, self):
            self._warn(*caution)
        monitors.settle_directions(callbacks, self.model)
        if self.observer is not None and self._keeps_records:
            self._followed = self.observer
            self.observer.begin(self._training())

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begin to keep the batches of the epoch, where they are kept as they pass."""
        del logs
        self._epoch = epoch
        self._last_batch = -1
        if self._feeds is not None:
            with self._guarded(f"epoch {epoch + 1} could not be prepared"):
                self._feeds.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, and add the numbers to the logs."""
        if self._call is not None:
            with self._guarded("the callbacks that monitor the true loss could not be set up"):
                monitors.settle_directions(self._call.callbacks, self.model)
        if self._settings.unit == "epoch" and (epoch + 1) % self._settings.every == 0:
            self._try(epoch, logs)

    def _on_step(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure in mid-epoch; one call may stand for several steps (``steps_per_execution``)."""
        before = self._n_steps
        self._n_steps += batch - self._last_batch
        self._last_batch = batch
        every = self._settings.every
        if self._n_steps // every > before // every:
            self._try(self._epoch, logs)

    def _try(self, epoch: int, logs: dict[str, Any] | None) -> None:
        """Measure where a measurement is due, and tell everybody."""
        if not self._failures.due():
            return
        n_before = len(self.measurements)
        with self._guarded(f"epoch {epoch + 1} could not be measured", measuring=True):
            with self._paid(counted=True):
                measurement = self._measure(epoch, {} if logs is None else logs)
            self._failures.measured()
            self.measurements.append(measurement)
        for measurement in self.measurements[n_before:]:
            with self._guarded(f"epoch {epoch + 1} was measured, and could not be handed on"):
                self._hand_on(measurement, logs)

    def _hand_on(self, measurement: Measurement, logs: dict[str, Any] | None) -> None:
        if logs is not None and self._settings.unit == "epoch":
            logs.update(measurement.logs())
        for caution in cautions.of_measurement(measurement, is_estimate=self._settings.is_estimate):
            self._warn(*caution)
        if self.observer is not None and self._keeps_records:
            self.observer.measured(measurement)

    @contextmanager
    def _guarded(self, what: str, *, measuring: bool = False) -> Iterator[None]:
        """Let nothing that is done for a measurement end the training: all of it passes here.

        A failure is told once and counted. Strict, it is raised, and the trackers are told that
        the training failed.
        """
        try:
            yield
        except LossgapWarning:  # the user has made warnings errors
            raise
        except Exception as error:
            if self._settings.strict:
                if not isinstance(error, LossgapError):  # which says by itself where it is from
                    error.add_note(f"lossgap: {what}. It is raised because of strict=True.")
                self.let_go()
                raise
            self._failures.failed(what, error, measuring=measuring)
            if measuring:
                self._meter = None  # what it is in the middle of isn't gone on with
                what = f"{what}, and the training goes on without its true loss"
            self._warn("failed" if measuring else "beside", f"{what}. {reason(error)}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Print the verdict, unless the fit is silent, and let go of the data."""
        del logs
        self.fit_seconds = time.perf_counter() - self._began
        verbose = (self.params or {}).get("verbose") and not self.silent
        with self._guarded("the verdict could not be printed"):
            if self.measurements and verbose:
                io_utils.print_msg(str(self.summary()))
        with self._guarded("the trackers could not be told of the end"):
            for line in self._end(failed=False):
                if verbose:
                    io_utils.print_msg(line)
        self.let_go()

    def let_go(self) -> None:
        """Let go of the data, the compiled passes and the trackers; the measurements stay.

        Called before ``on_train_end`` it tells the trackers that the training failed: Keras
        calls no callback when a fit ends with an exception. :func:`lossgap.fit` does it. Never
        raises: the exception of the fit is on its way.
        """
        with suppress(Exception):
            self._end(failed=True)
        self._call = self._feeds = self._meter = None

    def _end(self, *, failed: bool) -> list[str]:
        """Tell the observer, to whom a second time says nothing."""
        if self.observer is None or not self._keeps_records:
            return []
        summary = self.summary() if self.measurements else None
        return self.observer.end(summary, failed=failed)

    def _measure(self, epoch: int, logs: dict[str, Any]) -> Measurement:
        backends.active().settle(self.model)
        if self._meter is None:
            self._meter = self._build_meter()
        optimizer = self.model.optimizer
        step = None if optimizer is None else int(backends.active().to_numpy(optimizer.iterations))
        self._n_measured += 1
        planned = self._n_planned()
        measurement = self._meter.measure(
            logs,
            epoch=epoch,
            step=step,
            n_left=None if planned is None else max(planned - self._n_measured, 0),
            validate=keys.VAL_LOSS in logs,
        )
        self.compile_seconds = self._meter.compile_seconds
        return measurement

    def _build_meter(self) -> Meter:
        if self._feeds is None:
            raise DataError("There are no training data. Was on_train_begin called?")
        if self._call is None:  # a loop of the user's own: nobody has built the metrics
            build(self.model, self._feeds.fed)
        callbacks = self._call.callbacks if self._call else ()
        weights = validated_weights(self.model, callbacks)
        return Meter(self.model, self._feeds, weights, self._settings, self._purse)

    def _paid(self, *, counted: bool) -> AbstractContextManager[None]:
        """Pay for what happens meanwhile from the budget, where there is one."""
        return nullcontext() if self._purse is None else self._purse.measuring(counted=counted)

    def _n_planned(self) -> int | None:
        """Return how many measurements the fit is going to have, where that is known."""
        params, every = self.params or {}, self._settings.every
        n_epochs, n_steps = params.get("epochs"), params.get("steps")
        if n_epochs is None:
            return None
        if self._settings.unit == "epoch":
            return int(n_epochs) // every
        return None if n_steps is None else int(n_epochs) * int(n_steps) // every

    def _training(self) -> Training:
        """Describe the fit that begins to whoever observes it."""
        params = self.params or {}
        callbacks = self._call.callbacks if self._call else ()
        settings = asdict(self._settings)
        strict = settings.pop("strict")  # says nothing of the numbers
        for name in ("samples", "precision", "budget", "loss_range"):
            if settings[name] is None:  # exact, and nothing to tell
                del settings[name]
        return Training(
            settings,
            callbacks,
            params.get("epochs"),
            bool(params.get("verbose")),
            self.silent,
            strict,
        )

    def _warn(self, topic: str, text: str) -> None:
        if topic not in self._warned and not self.silent:
            self._warned.add(topic)
            warnings.warn(shown(f"lossgap: {text}"), LossgapWarning, stacklevel=3)


def _observer(trackers: Any) -> Observer | None:
    if isinstance(trackers, list | tuple) and not trackers:
        return None
    observer: Observer = importlib.import_module(_TRACKERS).Delivery(trackers)
    return observer
