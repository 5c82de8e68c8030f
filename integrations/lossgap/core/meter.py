"""One model, its data and the compiled passes: from Keras's logs to a measurement."""

import math
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import Any, Protocol

import numpy as np

from lossgap.core import backends, inspection, keys, random_states
from lossgap.core.batch_sampler import BatchSampler
from lossgap.core.decomposition import Decomposition
from lossgap.core.drawn import NoSampleLossesError
from lossgap.core.estimates.planning import Budget, Count, Plan, Precision
from lossgap.core.estimates.purse import Purse
from lossgap.core.evaluator import Evaluated, Evaluator
from lossgap.core.feeds import Feed
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.core.feeds.choose import Feeds
from lossgap.core.forward import Weights
from lossgap.core.measurement import Measurement, MetricValues, Part, Penalty
from lossgap.core.penalties import ACTIVITY, ADD_LOSS, COMPUTE_LOSS
from lossgap.core.sampler import Sampler
from lossgap.core.settings import Settings
from lossgap.core.shares import Shares

_DATA_DEPENDENT = frozenset({ACTIVITY, ADD_LOSS, COMPUTE_LOSS})
# Two passes over the same samples in batches of different sizes differ by rounding alone.
_ROUNDING = 1e-6
# A loss this many times smaller than the sum it is part of has too few digits left in float32.
_CANCELLING = 20.0
_HAS_MEMORY = (
    "the model has stateful recurrent layers, so that a batch depends on those before it and none "
    "can be left out: all samples are measured, whatever that costs"
)
_FOR_PARTS = 0.5  # of the time that a budget allows


class Measuring(Protocol):
    """Measures a feed: all of it, samples of it, or batches of it."""

    compile_seconds: float

    def run(self) -> Evaluated:
        """Measure the model as it is now."""
        ...


class Meter:
    """Measures a model on its training data, compiled once."""

    def __init__(
        self,
        model: Any,
        feeds: Feeds,
        weights: Weights,
        settings: Settings,
        purse: Purse | None = None,
        *,
        main: Measuring | None = None,
    ) -> None:
        """Compile the passes for a built and compiled model.

        Args:
            model: The Keras model.
            feeds: The samples.
            weights: The trainable variables and where their values are read from.
            settings: What to measure, and how.
            purse: The time for it, where the settings have a budget.
            main: What measures the true loss, where that isn't done here: then the feed only
                hands out samples for the parts of the gap.
        """
        self._model = model
        self._feeds = feeds
        self._weights = weights
        self._settings = settings
        self._purse = purse
        self._caveat: str | None = None
        self._compile_seconds = 0.0
        self._feed = feeds.clean or feeds.fed
        has_two = settings.parts and feeds.clean is not None
        self._plan = planned(settings, purse, n_feeds=2 if has_two else 1)
        self._main = main or self._measuring(self._feed, metrics=settings.metrics)
        self._fed = self._measuring(feeds.fed, metrics=False) if has_two else None
        self._decomposition: Decomposition | None = None
        self._parts_seconds = 0.0
        self._saved = 0.0
        self._validation: Evaluator | None = None
        self._settle()

    def _settle(self) -> None:
        """Pay for what was compiled, so that it isn't taken for the time of a measurement."""
        if self._purse is not None:
            self._purse.settle()

    def _measuring(self, feed: Feed, *, metrics: bool) -> Measuring:
        """Compile what measures a feed: all of it, samples of it, or batches of it."""
        plan, seed = self._plan, self._settings.seed
        if plan is not None and inspection.has_memory(self._model):
            self._caveat = _HAS_MEMORY
            plan = None
        if plan is None:
            return self._compiled(feed, metrics=metrics)
        found: Measuring | None = None
        if isinstance(feed, ArrayFeed):
            with suppress(NoSampleLossesError):
                found = Sampler(
                    self._model,
                    feed,
                    self._weights,
                    plan,
                    batch_size=self._settings.batch_size,
                    metrics=metrics,
                    seed=seed,
                    loss_range=self._settings.loss_range,
                )
        return self._timed(found or self._by_batches(feed, plan, metrics=metrics))

    def _by_batches(self, feed: Feed, plan: Plan, *, metrics: bool) -> BatchSampler:
        seed = self._settings.seed
        return BatchSampler(self._model, feed, self._weights, plan, metrics=metrics, seed=seed)

    def _compiled(self, feed: Feed, *, metrics: bool = False) -> Evaluator:
        size = self._settings.batch_size
        found = Evaluator(self._model, feed, self._weights, batch_size=size, metrics=metrics)
        self._compile_seconds += found.compile_seconds
        return found

    def _timed(self, found: Measuring) -> Measuring:
        self._compile_seconds += found.compile_seconds
        return found

    def _evaluated(self, n_left: int | None) -> Evaluated:
        """Measure; where samples turn out to have no losses of their own, by batches from now."""
        if isinstance(self._main, Sampler):
            self._main.n_left = n_left
        try:
            return self._main.run()
        except NoSampleLossesError:
            if self._plan is None:
                raise
            metrics = self._settings.metrics
            self._main = self._timed(self._by_batches(self._feed, self._plan, metrics=metrics))
            return self._main.run()

    @property
    def compile_seconds(self) -> float:
        """Wall-clock time spent compiling so far."""
        return self._compile_seconds

    def measure(
        self,
        logs: Mapping[str, Any],
        *,
        epoch: int | None = None,
        step: int | None = None,
        n_left: int | None = None,
        validate: bool = True,
    ) -> Measurement:
        """Measure the model as it is now, and set it against what Keras reported.

        Args:
            logs: Keras's logs: ``loss``, ``val_loss``, the metrics. Those missing are
                absent from the measurement.
            epoch: Index of the epoch, from 0.
            step: Optimizer steps so far.
            n_left: Measurements that will follow; ``None`` where unknown.
            validate: Whether to look for the true validation loss too.
        """
        # Where threads of a pipeline run, putting states back would repeat their draws.
        with nullcontext() if self._feeds.pass_by else random_states.kept():
            return self._measured(logs, epoch, step, n_left, validate=validate)

    def _measured(
        self,
        logs: Mapping[str, Any],
        epoch: int | None,
        step: int | None,
        n_left: int | None,
        *,
        validate: bool,
    ) -> Measurement:
        begin, compiled = time.perf_counter(), self._compile_seconds
        evaluated = self._evaluated(n_left)
        fed = self._fed.run() if self._fed else evaluated
        shares = self._shares(n_left) if self._settings.parts else None
        reported = _scalar(logs.get(keys.LOSS))
        val_loss = _scalar(logs.get(keys.VAL_LOSS))
        true_val_loss = self._true_val_loss(val_loss, evaluated) if validate else None
        waited = self._compile_seconds - compiled
        return Measurement(
            true_loss=evaluated.data_loss,
            epoch=epoch,
            step=step,
            reported_loss=reported,
            val_loss=val_loss,
            true_val_loss=true_val_loss,
            parts={} if shares is None else gap_parts(reported, evaluated, fed, shares),
            penalties=tuple(
                Penalty(layer, kind, value) for (layer, kind), value in fed.penalties.items()
            ),
            metrics=_metric_values(evaluated, logs),
            n_samples=evaluated.n_samples,
            n_total=self._feed.n_total,
            standard_error=evaluated.standard_error,
            seconds=time.perf_counter() - begin - waited,
            precision=str(self._model.dtype_policy.name),
            interval=evaluated.interval,
            caveat=self._caveat or evaluated.caveat,
        )

    def _shares(self, n_left: int | None) -> Shares | None:
        """Share out the gap, after a pass: a feed may know its samples only then.

        Under a budget the parts wait until a share of the time has been saved up for them,
        and are absent until then. The last measurement of a training has them in any case.
        """
        if self._decomposition is None:
            plan = self._plan
            self._decomposition = Decomposition(
                self._model,
                self._feeds.fed,
                self._weights,
                seed=self._settings.seed,
                n_samples=plan.least(self._feed.n_total) if isinstance(plan, Count) else None,
            )
            self._compile_seconds += self._decomposition.compile_seconds
            self._settle()
        elif self._purse is not None:
            self._saved += _FOR_PARTS * self._purse.share()
            if self._saved < self._parts_seconds and n_left != 0:
                return None
        begin = time.perf_counter()
        shares = self._decomposition.run()
        self._parts_seconds = time.perf_counter() - begin
        self._saved = 0.0
        return shares

    def _true_val_loss(self, val_loss: float | None, evaluated: Evaluated) -> float | None:
        """Return the validation loss without the penalties.

        Penalties on the weights alone are the same on any data: they are subtracted. Where
        a penalty depends on the data or dwarfs the loss, or the model has a ``test_step`` of
        its own, the data loss is computed on the validation data. Without these it is absent.
        """
        by_subtraction = not inspection.overrides(self._model, "test_step") and not any(
            kind in _DATA_DEPENDENT for _, kind in evaluated.penalties
        )
        if val_loss is not None and by_subtraction:
            difference = val_loss - evaluated.penalty
            # Keras's float32 has lost the digits of a small loss beside a large penalty.
            if abs(val_loss) <= _CANCELLING * abs(difference) or not math.isfinite(difference):
                return difference
        if self._validation is None:
            feed = self._feeds.validation()
            if feed is None:
                return None
            self._validation = self._compiled(feed)
        return self._validation.run().data_loss


def build(model: Any, feed: Feed) -> None:
    """Build the model, its loss and its metrics for such samples, where its variables are kept.

    Nothing happens where they are built, as in a ``fit``.
    """
    with backends.active().scope(model):
        model._symbolic_build(data_batch=feed.layout.pack(feed.specs())[:3])


def gap_parts(
    reported: float | None, evaluated: Evaluated, fed: Evaluated, shares: Shares
) -> dict[str, Part]:
    """Return the parts of the gap in order; those whose mechanism the model lacks are absent.

    ``drift`` is the rest of the reported loss, so that the parts sum to the gap. It
    carries the standard errors of all other numbers together.

    Args:
        reported: The reported loss.
        evaluated: The samples that the true loss was measured on.
        fed: The samples as they are trained on, which may be the same.
        shares: What the mechanisms add.
    """
    parts = {}
    if fed.penalties:
        parts[keys.PENALTY] = Part(fed.penalty, fed.penalty_error)
    if fed.class_weighted_loss is not None:
        added = fed.class_weighted_loss - fed.data_loss
        parts[keys.CLASS_WEIGHT] = Part(added, fed.class_weight_error)
    parts.update(shares.parts)
    added = fed.data_loss - evaluated.data_loss
    clean_error = evaluated.standard_error if evaluated is not fed else None
    if not abs(added) <= _ROUNDING * abs(evaluated.data_loss):
        parts[keys.PIPELINE] = Part(added, _together(fed.standard_error, clean_error))
    if reported is not None:
        explained = sum(part.value for part in parts.values())
        error = _together(
            shares.total.standard_error,
            fed.standard_error,
            fed.penalty_error,
            fed.class_weight_error,
        )
        parts[keys.DRIFT] = Part(reported - evaluated.data_loss - explained, error)
    return parts


def planned(settings: Settings, purse: Purse | None, *, n_feeds: int = 1) -> Plan | None:
    """Return how many samples to take; ``None`` for all of them.

    Args:
        settings: The settings.
        purse: The time for measuring, where the settings have a budget.
        n_feeds: Feeds that share the time with each other, and with the parts.
    """
    if settings.samples is not None:
        return Count(settings.samples)
    if settings.precision is not None:
        return Precision(settings.precision)
    if purse is not None:
        return Budget(purse, (1.0 - _FOR_PARTS * settings.parts) / n_feeds)
    return None


def _together(*errors: float | None) -> float | None:
    """Return the standard error of a sum; ``None`` where all of it is exact."""
    known = [error for error in errors if error is not None]
    return math.hypot(*known) if known else None


def _metric_values(evaluated: Evaluated, logs: Mapping[str, Any]) -> dict[str, MetricValues]:
    """Pair true metrics with reported ones; a vector becomes one entry for each element."""
    values = {}
    for name, result in evaluated.metrics.items():
        triple = (result, logs.get(name), logs.get(keys.val_metric(name)))
        true, reported, val = (None if v is None else np.ravel(v).tolist() for v in triple)
        for index, value in enumerate(true or ()):
            suffix = f"_{index}" if np.size(result) > 1 else ""
            values[f"{name}{suffix}"] = MetricValues(
                float(value),
                None if reported is None else float(reported[index]),
                None if val is None else float(val[index]),
                evaluated.metric_errors.get(name),
            )
    return values


def _scalar(value: Any) -> float | None:
    return None if value is None else float(value)
