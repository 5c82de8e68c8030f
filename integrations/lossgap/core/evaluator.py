"""The exact pass: data loss, penalties and metrics over all samples, in one compiled loop."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lossgap.core import workers
from lossgap.core.estimates.intervals import caveat, interval
from lossgap.core.estimates.means import ratio_mean
from lossgap.core.feeds import Feed
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.core.forward import Evaluation, Weights
from lossgap.core.merging import Partial
from lossgap.core.passes import Pass, fast_batch_size
from lossgap.core.penalties import Label
from lossgap.errors import DataError

_MIN_BATCHES = 2  # the fewest that have a spread
_ROUNDING = 1e-6  # relative; the same penalty differs by less from batch to batch


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one pass in evaluation mode found; means over the samples, in float64.

    Attributes:
        data_loss: The true loss.
        class_weighted_loss: The data loss under class weights; ``None`` without them.
        penalties: Penalty by layer and kind.
        metrics: Results of the compiled metrics, as Keras names and shapes them.
        n_samples: Number of samples.
        standard_error: Of the data loss, where a random part of the samples was measured.
        metric_errors: Standard errors of the metrics that are means, in an estimate.
        penalty_error: Standard error of the penalties' sum, in an estimate; ``None`` where it is
            exact.
        class_weight_error: Standard error of what class weights add, in an estimate.
        interval: Where the data loss is with a probability of 95 %, in an estimate.
        caveat: Why the interval can't be trusted, or what else stands in the way.
    """

    data_loss: float
    class_weighted_loss: float | None
    penalties: dict[Label, float]
    metrics: dict[str, np.ndarray]
    n_samples: int
    standard_error: float | None
    metric_errors: dict[str, float] = field(default_factory=dict)
    penalty_error: float | None = None
    class_weight_error: float | None = None
    interval: tuple[float, float] | None = None
    caveat: str | None = None

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
        self._pass = Pass(model, feed, self._evaluation)
        self._batch_size = batch_size
        if batch_size is None and feed.n_batches is None and not self._pass.mixes(metrics=metrics):
            self._batch_size = fast_batch_size(model)
        self.compile_seconds = time.perf_counter() - begin

    def run(self) -> Evaluated:
        """Measure the model as it is now.

        Raises:
            DataError: There are no samples, or too few to tell how sure the estimate is.
        """
        if self._is_shared_out():
            return self.joined(workers.exchanged(self._model, self._share))
        chunks = self._feed.chunks(self._batch_size)
        parts, state = self._pass.over(chunks, self._evaluation.initial_state())
        if not parts:
            raise DataError("The data are empty: no batch was read.")
        return self._evaluated(np.concatenate(parts), self._evaluation.metrics(state))

    def _is_shared_out(self) -> bool:
        """Whether workers measure a share each: of arrays and of a model that all of them have.

        Every worker asks, since each answer is an exchange between them.
        """
        if workers.number(self._model) == 1 or not isinstance(self._feed, ArrayFeed):
            return False
        self._probe()
        return self._evaluation.moving() is not None and workers.agree(self._model)

    def _share(self, rank: int, n_workers: int) -> Partial:
        """Measure a part of each chunk."""
        chunks = (chunk.share(rank, n_workers) for chunk in self._feed.chunks(self._batch_size))
        parts, state = self._pass.over(chunks, self._evaluation.initial_state())
        return self._evaluation.partial(np.concatenate(parts), state)

    @property
    def is_sequential(self) -> bool:
        """Whether a batch depends on those before it, so that no two places can share a pass."""
        self._probe()
        return self._evaluation.is_sequential

    def mixes(self, *, metrics: bool) -> bool:
        """Tell whether it may matter which samples share a batch."""
        self._probe()
        return self._pass.mixes(metrics=metrics)

    def _probe(self) -> None:
        """Let a step that was never traced run once, so that it is known what it does."""
        if isinstance(self._feed, ArrayFeed):
            self._pass.probe(*self._feed.first_batch())

    def partial(self, feed: Feed) -> Partial:
        """Measure the model on some samples of the same kind, as a part of a whole."""
        parts, state = self._pass.over(
            feed.chunks(self._batch_size), self._evaluation.initial_state()
        )
        return self._evaluation.partial(np.concatenate(parts), state)

    def joined(self, partials: Iterable[Partial]) -> Evaluated:
        """Put the parts of a whole together, whoever measured them.

        Raises:
            DataError: They hold no samples.
        """
        rows, metrics = self._evaluation.joined(partials)
        if not len(rows):
            raise DataError("The data are empty: no batch was read.")
        return self._evaluated(rows, metrics)

    def _evaluated(self, rows: np.ndarray, metrics: dict[str, np.ndarray]) -> Evaluated:
        counts = rows[:, 0]
        data_loss, weighted, penalties = self._pass.means(rows)
        if self._feed.n_batches is not None and len(counts) < _MIN_BATCHES:
            raise DataError(
                "Only one batch fits into the memory for kept batches, too few to estimate from. "
                f"Raise max_bytes: TrueLoss(max_bytes=...). {int(counts.sum())} of "
                f"{self._feed.n_total} samples were kept."
            )
        return with_batch_errors(
            Evaluated(data_loss, weighted, penalties, metrics, int(counts.sum()), None),
            rows,
            self._pass.penalties(rows),
            self._feed.n_batches,
        )


def with_batch_errors(
    exact: Evaluated, rows: np.ndarray, penalties: np.ndarray, n_batches: int | None
) -> Evaluated:
    """Add the errors of means over some of the batches of an epoch.

    Args:
        exact: The means.
        rows: A row for each batch, as :class:`lossgap.core.forward.Evaluation` has them.
        penalties: The sum of the penalties of each batch.
        n_batches: Batches in the epoch; ``None`` where they all were measured.
    """
    counts = rows[:, 0]
    if n_batches is None or len(counts) < _MIN_BATCHES:
        return exact
    loss = ratio_mean(rows[:, 1], counts, n_batches)
    added = rows[:, 2] - rows[:, 1] if exact.class_weighted_loss is not None else None
    return replace(
        exact,
        standard_error=loss.standard_error,
        penalty_error=_error(penalties, counts, n_batches),
        class_weight_error=None if added is None else _error(added, counts, n_batches),
        interval=interval(loss),
        caveat=caveat(loss, "batches"),
    )


def standard_error(values: np.ndarray, counts: np.ndarray, n_batches: int | None) -> float | None:
    """Estimate the standard error of a mean over some of the batches of an epoch.

    Args:
        values: Mean of each batch, shape ``(m,)``.
        counts: Samples in each batch, shape ``(m,)``.
        n_batches: Batches in the epoch; ``None`` where all batches were measured.

    Returns:
        That of :func:`lossgap.core.estimates.means.ratio_mean`; ``None`` where the mean is
        exact, where there is but one batch, and where a value isn't finite.
    """
    if n_batches is None or len(values) < _MIN_BATCHES:
        return None
    return ratio_mean(values, counts, n_batches).standard_error


def _error(values: np.ndarray, counts: np.ndarray, n_batches: int) -> float | None:
    """Return the standard error of a mean over batches; ``None`` where it is the same in all."""
    error = ratio_mean(values, counts, n_batches).standard_error
    rounding = _ROUNDING * float(np.abs(values).max(initial=0.0))
    return None if error is None or error <= rounding else error
