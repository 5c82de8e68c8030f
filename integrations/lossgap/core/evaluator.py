"""The exact pass: data loss, penalties and metrics over all samples, in one compiled loop."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossgap.core import backends
from lossgap.core.backends import Loop
from lossgap.core.feeds import Feed, splits
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.core.forward import Evaluation, Weights, compute_loss_label, looped
from lossgap.core.inspection import depends_on_batches, overrides
from lossgap.core.penalties import Label
from lossgap.errors import DataError, LossgapError, UnsupportedModelError, first_line

_MIN_BATCHES = 2  # the fewest that have a spread
_ALIKE = 1e-3  # relative; what a test step reports, in whatever precision
_SAME = 1e-5  # relative; sums of float32 in another order differ by less


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
        self._loop = self._looped()
        self._checked = not overrides(model, "test_step")
        self._batch_size = batch_size
        if batch_size is None and feed.n_batches is None and not self._mixes(metrics=metrics):
            self._batch_size = fast_batch_size(model)
        self.compile_seconds = time.perf_counter() - begin

    def _looped(self) -> Loop:
        state = self._evaluation.initial_state()
        steps = [name for name in ("train_step", "test_step") if overrides(self._model, name)]
        evaluation = self._evaluation
        try:
            return looped(self._model, evaluation.step, self._feed.specs(), state, evaluation.reads)
        except (ValueError, TypeError) as error:
            if isinstance(error, LossgapError) or not steps:
                raise
            raise UnsupportedModelError(
                f"The loss of {type(self._model).__name__} on the data as they are fed can't be "
                f"computed ({first_line(error)}). Its {' and '.join(steps)} may make the targets "
                "or change the inputs. Do that in the model's call, in compute_loss, or in the "
                "data, where lossgap sees it too."
            ) from error

    def _check_test_step(self, leaves: list[Any], data_loss: float, penalty: float) -> None:
        """Make sure that a ``test_step`` of the model's own reports the compiled loss.

        Else it changes the data or computes another loss, and the compiled loss on the data
        as they are fed means nothing.
        """
        reported = self._evaluation.test_step_loss(leaves, self._evaluation.initial_state())
        expected = data_loss + penalty
        if reported is None or np.isclose(float(reported), expected, rtol=_ALIKE, equal_nan=True):
            return
        name = type(self._model).__name__
        raise UnsupportedModelError(
            f"{name}.test_step reports a loss of {float(reported):.6g} for a batch where the "
            f"compiled loss and the penalties are {expected:.6g}: it changes the data, or computes "
            f"another loss, which lossgap can't follow. Move what it does into {name}.call or "
            f"{name}.compute_loss(x, y, y_pred, sample_weight, training), and call "
            "self.compute_loss(...) in the step."
        )

    def _mixes(self, *, metrics: bool) -> bool:
        """Tell whether the batch size may matter, by the code, by the trace and by trying.

        Half batches that give another loss than whole ones show a layer that looks at the
        whole batch.
        """
        if (
            backends.active().runs_eagerly(self._model)  # then nothing was traced that would tell
            or self._evaluation.mixes_batch
            or depends_on_batches(self._model, metrics=metrics)
            or not isinstance(self._feed, ArrayFeed)  # its batches are those of the training
        ):
            return True
        leaves, size = self._feed.first_batch()
        try:
            whole, halves = (
                self._loop(leaves, splits(sizes), self._evaluation.initial_state())[0]
                for sizes in ([size], [size - size // 2, size // 2])
            )
        except Exception:  # noqa: BLE001 - a model for one batch size alone
            return True
        means = [rows[:, 0] @ rows[:, 1] / size for rows in (whole, halves)]
        return not np.isclose(means[0], means[1], rtol=_SAME, atol=0.0, equal_nan=True)

    def run(self) -> Evaluated:
        """Measure the model as it is now.

        Raises:
            DataError: There are no samples, or too few to tell how sure the estimate is.
        """
        state = self._evaluation.initial_state()
        parts = []
        for chunk in self._feed.chunks(self._batch_size):
            rows, state = self._loop(chunk.leaves, chunk.splits, state)
            if not self._checked:
                self._checked = True
                leaves = [leaf[: chunk.splits[1]] for leaf in chunk.leaves]
                self._check_test_step(leaves, *self._first(rows))
            parts.append(rows)
        if not parts:
            raise DataError("The data are empty: no batch was read.")
        return self._evaluated(np.concatenate(parts), self._evaluation.metrics(state))

    def _first(self, rows: np.ndarray) -> tuple[float, float]:
        """Return data loss and penalty of the first batch."""
        n_losses = 3 if self._feed.layout.has_class_weights else 2
        if overrides(self._model, "compute_loss"):
            return float(rows[0, 1]), float(rows[0, n_losses] - rows[0, 1])
        return float(rows[0, 1]), float(rows[0, n_losses:].sum())

    def _evaluated(self, rows: np.ndarray, metrics: dict[str, np.ndarray]) -> Evaluated:
        counts = rows[:, 0]
        with np.errstate(invalid="ignore"):
            means = iter((counts @ rows[:, 1:] / counts.sum()).tolist())
        data_loss = next(means)
        weighted = next(means) if self._feed.layout.has_class_weights else None
        own = next(means) - data_loss if overrides(self._model, "compute_loss") else None
        penalties = dict(zip(self._evaluation.labels, means, strict=True))
        if own is not None and not np.isclose(own, sum(penalties.values()), rtol=1e-5, atol=1e-7):
            penalties = {compute_loss_label(self._model): own} if own else {}
        if self._feed.n_batches is not None and len(counts) < _MIN_BATCHES:
            raise DataError(
                "Only one batch fits into the memory for kept batches, too few to estimate from. "
                f"Raise max_bytes: TrueLoss(max_bytes=...). {int(counts.sum())} of "
                f"{self._feed.n_total} samples were kept."
            )
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
    if n_batches is None or m < _MIN_BATCHES:
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
