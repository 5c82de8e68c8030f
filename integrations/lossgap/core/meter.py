"""One model, its data and the compiled passes: from Keras's logs to a measurement."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossgap.core import inspection, keys
from lossgap.core.arrays import Arrays
from lossgap.core.decomposition import Decomposition, Shares
from lossgap.core.evaluator import DEFAULT_BATCH_SIZE, Evaluated, Evaluator
from lossgap.core.measurement import Measurement, MetricValues, Part, Penalty
from lossgap.core.penalties import ACTIVITY, ADD_LOSS, COMPUTE_LOSS

_DATA_DEPENDENT = frozenset({ACTIVITY, ADD_LOSS, COMPUTE_LOSS})


@dataclass(frozen=True, slots=True)
class Batching:
    """How the training and the validation form batches, and how the measurement should.

    Attributes:
        training: Batch size of the training; ``None`` for Keras's default.
        validation: Batch size of the validation; ``None`` for the training's.
        measuring: Batch size to measure with; ``None`` to choose.
        shuffle: Whether the training draws its batches at random.
    """

    training: int | None = None
    validation: int | None = None
    measuring: int | None = None
    shuffle: bool = True


class Meter:
    """Measures a model on its training data, compiled once."""

    def __init__(
        self,
        model: Any,
        training: Arrays,
        validation: Callable[[], Arrays | None],
        *,
        batching: Batching,
        parts: bool,
        metrics: bool,
        seed: int,
    ) -> None:
        """Compile the passes for a built and compiled model.

        Args:
            model: The Keras model.
            training: The training samples.
            validation: Gives the validation samples, where they are needed and to be had.
            batching: How batches are formed.
            parts: Whether to find the causes of the gap.
            metrics: Whether to compute the compiled metrics.
            seed: Seed of the sample and the random masks for the parts.
        """
        self._model = model
        self._training = training
        self._evaluator = Evaluator(
            model,
            training,
            training_batch_size=batching.training,
            batch_size=batching.measuring,
            metrics=metrics,
        )
        self._decomposition = (
            Decomposition(
                model,
                training,
                batch_size=batching.training or batching.measuring or DEFAULT_BATCH_SIZE,
                shuffle=batching.shuffle,
                seed=seed,
            )
            if parts
            else None
        )
        self._validation = validation
        self._batching = batching
        self._val_evaluator: Evaluator | None = None
        self.compile_seconds = self._evaluator.compile_seconds + (
            self._decomposition.compile_seconds if self._decomposition else 0.0
        )

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
        begin, compiled = time.perf_counter(), self.compile_seconds
        evaluated = self._evaluator.run()
        shares = self._decomposition.run() if self._decomposition else None
        reported = _scalar(logs.get(keys.LOSS))
        val_loss = _scalar(logs.get(keys.VAL_LOSS))
        true_val_loss = self._true_val_loss(val_loss, evaluated) if validate else None
        waited = self.compile_seconds - compiled
        return Measurement(
            true_loss=evaluated.data_loss,
            epoch=epoch,
            step=step,
            reported_loss=reported,
            val_loss=val_loss,
            true_val_loss=true_val_loss,
            parts={} if shares is None else gap_parts(reported, evaluated, shares),
            penalties=tuple(
                Penalty(layer, kind, value) for (layer, kind), value in evaluated.penalties.items()
            ),
            metrics=_metric_values(evaluated.metrics, logs),
            n_samples=evaluated.n_samples,
            n_total=self._training.n_samples,
            seconds=time.perf_counter() - begin - waited,
            precision=str(self._model.dtype_policy.name),
        )

    def _true_val_loss(self, val_loss: float | None, evaluated: Evaluated) -> float | None:
        """Return the validation loss without the penalties.

        Penalties on the weights alone are the same on any data: they are subtracted. Where
        a penalty depends on the data, or the model has a ``test_step`` of its own, the data
        loss is computed on the validation data. Without these it is absent.
        """
        by_subtraction = not inspection.overrides(self._model, "test_step") and not any(
            kind in _DATA_DEPENDENT for _, kind in evaluated.penalties
        )
        if val_loss is not None and by_subtraction:
            return val_loss - evaluated.penalty
        if self._val_evaluator is None:
            validation = self._validation()
            if validation is None:
                return None
            self._val_evaluator = Evaluator(
                self._model,
                validation,
                training_batch_size=self._batching.validation or self._batching.training,
                batch_size=self._batching.measuring,
                metrics=False,
            )
            self.compile_seconds += self._val_evaluator.compile_seconds
        return self._val_evaluator.run().data_loss


def gap_parts(reported: float | None, evaluated: Evaluated, shares: Shares) -> dict[str, Part]:
    """Return the parts of the gap in order; those whose mechanism the model lacks are absent.

    ``drift`` is the rest of the reported loss, so that the parts sum to the gap. It
    carries the standard error of all mechanisms together.
    """
    parts = {}
    if evaluated.penalties:
        parts[keys.PENALTY] = Part(evaluated.penalty)
    if evaluated.class_weighted_loss is not None:
        parts[keys.CLASS_WEIGHT] = Part(evaluated.class_weighted_loss - evaluated.data_loss)
    parts.update(shares.parts)
    if reported is not None:
        explained = sum(part.value for part in parts.values())
        drift = reported - evaluated.data_loss - explained
        parts[keys.DRIFT] = Part(drift, shares.total.standard_error)
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
            suffix = f"_{index}" if np.ndim(result) else ""
            values[f"{name}{suffix}"] = MetricValues(
                float(value),
                None if reported is None else float(reported[index]),
                None if val is None else float(val[index]),
            )
    return values


def _scalar(value: Any) -> float | None:
    return None if value is None else float(value)
