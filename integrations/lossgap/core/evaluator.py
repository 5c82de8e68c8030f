"""The exact pass: data loss, penalties and metrics over all samples, in one compiled loop."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossgap.core.feeds import Feed
from lossgap.core.forward import Evaluation, Weights, compute_loss_label, looped
from lossgap.core.inspection import depends_on_batches, overrides
from lossgap.core.penalties import Label
from lossgap.errors import DataError


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one pass in evaluation mode found; means over the samples, in float64.

    Attributes:
        data_loss: The true loss.
        class_weighted_loss: The data loss under class weights; ``None`` without them.
        penalties: Penalty by layer and kind.
        metrics: Results of the compiled metrics, as Keras names and shapes them.
        n_samples: Number of samples.
        standard_error: Of the data loss, where the feed kept a random part of its batches.
    """

    data_loss: float
    class_weighted_loss: float | None
    penalties: dict[Label, float]
    metrics: dict[str, np.ndarray]
    n_samples: int
    standard_error: float | None

    @property
    def penalty(self) -> float:
        """The sum of the penalties."""
        return float(sum(self.penalties.values()))


class Evaluator:
    """Measures a model on a feed, as often as asked, compiled once.

    Where the loss can depend on how samples are batched (see
    :func:`lossgap.core.inspection.depends_on_batches`), batches have the training's size,
    in the order of the data; elsewhere they are as large as is fast. A random part of a
    feed is measured in the batches of the training.
    """

    def __init__(
        self,
        model: Any,
        feed: Feed,
        weights: Weights,
        *,
        batch_size: int | None,
        metrics: bool,
    ) -> None:
        """Trace and compile the pass for a built, compiled model.

        Args:
            model: The Keras model.
            feed: The samples.
            weights: The trainable variables and where their values are read from.
            batch_size: Batch size of the pass; ``None`` to choose.
            metrics: Whether to compute the compiled metrics too.
        """
        begin = time.perf_counter()
        self._model = model
        self._feed = feed
        self._evaluation = Evaluation(model, feed.layout, weights, metrics=metrics)
        self._loop = looped(
            model, self._evaluation.step, feed.specs(), self._evaluation.initial_state()
        )
        mixes = (
            model.run_eagerly  # then nothing was traced that would tell
            or self._evaluation.mixes_batch
            or depends_on_batches(model, metrics=metrics)
        )
        self._batch_size = batch_size or (None if mixes else fast_batch_size(model))
        self.compile_seconds = time.perf_counter() - begin

    def run(self) -> Evaluated:
        """Measure the model as it is now."""
        state = self._evaluation.initial_state()
        parts = []
        for chunk in self._feed.chunks(self._batch_size):
            rows, state = self._loop(chunk.leaves, chunk.splits, state)
            parts.append(rows)
        if not parts:
            raise DataError("The data are empty: no batch was read.")
        return self._evaluated(np.concatenate(parts), self._evaluation.metrics(state))

    def _evaluated(self, rows: np.ndarray, metrics: dict[str, np.ndarray]) -> Evaluated:
        counts = rows[:, 0]
        with np.errstate(invalid="ignore"):
            means = iter((counts @ rows[:, 1:] / counts.sum()).tolist())
        data_loss = next(means)
        weighted = next(means) if self._feed.layout.has_class_weights else None
        own = next(means) if overrides(self._model, "compute_loss") else None
        penalties = dict(zip(self._evaluation.labels, means, strict=True))
        if own is not None and not np.isclose(own, sum(penalties.values()), rtol=1e-5, atol=1e-7):
            penalties = {compute_loss_label(self._model): own} if own else {}
        error = standard_error(rows[:, 1], counts, self._feed.n_batches)
        return Evaluated(data_loss, weighted, penalties, metrics, int(counts.sum()), error)


def standard_error(values: np.ndarray, counts: np.ndarray, n_batches: int | None) -> float | None:
    r"""Estimate the standard error of a mean over some of the batches of an epoch.

    The mean :math:`\hat L = \sum n_b L_b / \sum n_b` over :math:`m` batches, drawn from
    :math:`M` uniformly without replacement, is a ratio estimator; its variance is

    .. math:: \left(1 - \frac{m}{M}\right) \frac{m}{m - 1}
              \frac{\sum_b n_b^2 (L_b - \hat L)^2}{(\sum_b n_b)^2}

    Args:
        values: Mean of each batch, shape ``(m,)``.
        counts: Samples in each batch, shape ``(m,)``.
        n_batches: The number :math:`M`; ``None`` where all batches were measured.

    Returns:
        The standard error; ``None`` where the mean is exact, where there is but one batch,
        and where a value isn't finite.

    References:
        W. G. Cochran, "Sampling Techniques", 3rd edition, 1977, sections 2.6 and 6.4.
    """
    m = len(values)
    if n_batches is None or m < 2:  # noqa: PLR2004
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        deviations = counts * (values - counts @ values / counts.sum())
        variance = (1 - m / n_batches) * m / (m - 1) * np.sum(deviations**2) / counts.sum() ** 2
    return math.sqrt(variance) if math.isfinite(variance) else None


def fast_batch_size(model: Any) -> int:
    """Return a batch size that keeps the activations of a batch about in the cache.

    Counted over the outputs of the model's layers, where their shapes are known.
    """
    elements = 0
    for layer in model._flatten_layers():
        shape = _output_shape(layer)
        elements += int(np.prod([size or 1 for size in shape[1:]])) if shape else 0
    size = _CACHED_ELEMENTS // max(elements, 1)
    return int(2 ** np.clip(np.log2(max(size, 1)) // 1, *np.log2(_BATCH_SIZES)))


_CACHED_ELEMENTS = 4 * 2**20
_BATCH_SIZES = (32, 4096)


def _output_shape(layer: Any) -> tuple[int | None, ...]:
    try:
        output = layer.output
    except (AttributeError, ValueError):  # not called on symbolic tensors, or more than once
        return ()
    shape = getattr(output, "shape", None)
    return tuple(shape) if shape is not None else ()
