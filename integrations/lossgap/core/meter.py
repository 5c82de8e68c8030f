"""One model, its data and the compiled passes: from Keras's logs to a measurement."""

import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from lossgap.core import inspection, keys, random_states
from lossgap.core.decomposition import Decomposition, Shares
from lossgap.core.evaluator import Evaluated, Evaluator
from lossgap.core.feeds.choose import Feeds
from lossgap.core.forward import Weights
from lossgap.core.measurement import Measurement, MetricValues, Part, Penalty
from lossgap.core.penalties import ACTIVITY, ADD_LOSS, COMPUTE_LOSS
from lossgap.core.settings import Settings

_DATA_DEPENDENT = frozenset({ACTIVITY, ADD_LOSS, COMPUTE_LOSS})
# Two passes over the same samples in batches of different sizes differ by rounding alone.
_ROUNDING = 1e-6
# A loss this many times smaller than the sum it is part of has too few digits left in float32.
_CANCELLING = 20.0


class Meter:
    """Measures a model on its training data, compiled once."""

    def __init__(self, model: Any, feeds: Feeds, weights: Weights, settings: Settings) -> None:
        """Compile the passes for a built and compiled model."""
        self._model = model
        self._feeds = feeds
        self._weights = weights
        self._batch_size = settings.batch_size
        self._compile_seconds = 0.0
        self._feed = feeds.clean or feeds.fed
        self._evaluator = self._compiled(self._feed, metrics=settings.metrics)
        self._fed = (
            self._compiled(feeds.fed) if settings.parts and feeds.clean is not None else None
        )
        self._settings = settings
        self._decomposition: Decomposition | None = None
        self._validation: Evaluator | None = None

    def _compiled(self, feed: Any, *, metrics: bool = False) -> Evaluator:
        evaluator = Evaluator(
            self._model, feed, self._weights, batch_size=self._batch_size, metrics=metrics
        )
        self._compile_seconds += evaluator.compile_seconds
        return evaluator

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
        validate: bool = True,
    ) -> Measurement:
        """Measure the model as it is now, and set it against what Keras reported.

        Args:
            logs: Keras's logs: ``loss``, ``val_loss``, the metrics. Those missing are
                absent from the measurement.
            epoch: Index of the epoch, from 0.
            step: Optimizer steps so far.
            validate: Whether to look for the true validation loss too.
        """
        # Where threads of a pipeline run, putting states back would repeat their draws.
        with nullcontext() if self._feeds.pass_by else random_states.kept():
            return self._measured(logs, epoch, step, validate=validate)

    def _measured(
        self, logs: Mapping[str, Any], epoch: int | None, step: int | None, *, validate: bool
    ) -> Measurement:
        begin, compiled = time.perf_counter(), self._compile_seconds
        evaluated = self._evaluator.run()
        fed = self._fed.run() if self._fed else evaluated
        shares = self._shares() if self._settings.parts else None
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
            metrics=_metric_values(evaluated.metrics, logs),
            n_samples=evaluated.n_samples,
            n_total=self._feed.n_total,
            standard_error=evaluated.standard_error,
            seconds=time.perf_counter() - begin - waited,
            precision=str(self._model.dtype_policy.name),
        )

    def _shares(self) -> Shares:
        """Share out the gap, after a pass: a feed may know its samples only then."""
        if self._decomposition is None:
            self._decomposition = Decomposition(
                self._model, self._feeds.fed, self._weights, seed=self._settings.seed
            )
            self._compile_seconds += self._decomposition.compile_seconds
        return self._decomposition.run()

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
        parts[keys.PENALTY] = Part(fed.penalty)
    if fed.class_weighted_loss is not None:
        parts[keys.CLASS_WEIGHT] = Part(fed.class_weighted_loss - fed.data_loss)
    parts.update(shares.parts)
    added = fed.data_loss - evaluated.data_loss
    if not abs(added) <= _ROUNDING * abs(evaluated.data_loss):
        parts[keys.PIPELINE] = Part(added, fed.standard_error)
    if reported is not None:
        explained = sum(part.value for part in parts.values())
        errors = [e for e in (shares.total.standard_error, fed.standard_error) if e is not None]
        parts[keys.DRIFT] = Part(
            reported - evaluated.data_loss - explained, math.hypot(*errors) if errors else None
        )
    return parts


def _metric_values(
    results: Mapping[str, np.ndarray], logs: Mapping[str, Any]
) -> dict[str, MetricValues]:
    """Pair true metrics with reported ones; a vector becomes one entry for each element."""
    values = {}
    for name, result in results.items():
        triple = (result, logs.get(name), logs.get(keys.val_metric(name)))
        true, reported, val = (None if v is None else np.ravel(v).tolist() for v in triple)
        for index, value in enumerate(true or ()):
            suffix = f"_{index}" if np.size(result) > 1 else ""
            values[f"{name}{suffix}"] = MetricValues(
                float(value),
                None if reported is None else float(reported[index]),
                None if val is None else float(val[index]),
            )
    return values


def _scalar(value: Any) -> float | None:
    return None if value is None else float(value)
