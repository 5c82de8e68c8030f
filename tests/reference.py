"""The true loss, once more, in NumPy and float64, written from the definitions.

Nothing here comes from lossgap, and nothing from Keras but the clipping constant:
model outputs come from ``model.predict``, masks are worked out from the inputs.

The true loss of a data set is ``sum_b n_b * L(batch b) / N`` over the batches in data
order, the last one partial.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

Array = np.ndarray
Values = Callable[[Array, Array], Array | tuple[Array, Array]]

EPSILON = keras.config.epsilon()


def exact(values: Any) -> Array:
    """Return what Keras computes with (float32), in float64."""
    return np.asarray(values, np.float32).astype(np.float64)


def softmax(x: Array) -> Array:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def log_sum_exp(x: Array) -> Array:
    return np.logaddexp.reduce(x, axis=-1)


def one_hot(labels: Array, n_classes: int) -> Array:
    return np.eye(n_classes)[labels.astype(int)]


# Losses: (y, y_pred) -> one value per sample (or per time step, or one for the batch).


def mean_squared_error(y, p):
    return ((y - p) ** 2).mean(-1)


def mean_absolute_error(y, p):
    return np.abs(y - p).mean(-1)


def mean_absolute_percentage_error(y, p):
    return 100 * (np.abs(y - p) / np.maximum(np.abs(y), EPSILON)).mean(-1)


def mean_squared_logarithmic_error(y, p):
    return ((np.log1p(np.maximum(p, EPSILON)) - np.log1p(np.maximum(y, EPSILON))) ** 2).mean(-1)


def huber(delta: float = 1.0) -> Values:
    def values(y, p):
        error = np.abs(p - y)
        return np.where(error <= delta, error**2 / 2, delta * error - delta**2 / 2).mean(-1)

    return values


def log_cosh(y, p):
    return np.log(np.cosh(p - y)).mean(-1)


def kl_divergence(y, p):
    y, p = np.clip(y, EPSILON, 1), np.clip(p, EPSILON, 1)
    return (y * np.log(y / p)).sum(-1)


def poisson(y, p):
    return (p - y * np.log(p + EPSILON)).mean(-1)


def signed(y: Array) -> Array:
    """Turn labels 0 and 1 into -1 and 1; Keras leaves any other labels alone."""
    return 2 * y - 1 if np.isin(y, (0, 1)).all() else y


def hinge(y, p):
    return np.maximum(1 - signed(y) * p, 0).mean(-1)


def squared_hinge(y, p):
    return (np.maximum(1 - signed(y) * p, 0) ** 2).mean(-1)


def categorical_hinge(y, p):
    return np.maximum(((1 - y) * p).max(-1) - (y * p).sum(-1) + 1, 0)


def cosine_similarity(y, p):
    norms = np.linalg.norm(y, axis=-1) * np.linalg.norm(p, axis=-1)
    return -(y * p).sum(-1) / norms


def binary_crossentropy(*, from_logits: bool = False, label_smoothing: float = 0.0) -> Values:
    def values(y, p):
        y = y * (1 - label_smoothing) + label_smoothing / 2
        if from_logits:
            return (np.logaddexp(0, p) - y * p).mean(-1)
        p = np.clip(p, EPSILON, 1 - EPSILON)
        return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(-1)

    return values


def binary_focal_crossentropy(
    *, gamma: float = 2.0, alpha: float | None = None, from_logits: bool = False
) -> Values:
    def values(y, p):
        p = np.clip(sigmoid(p) if from_logits else p, EPSILON, 1 - EPSILON)
        of_truth = y * p + (1 - y) * (1 - p)
        losses = -((1 - of_truth) ** gamma) * np.log(of_truth)
        if alpha is not None:
            losses = losses * (y * alpha + (1 - y) * (1 - alpha))
        return losses.mean(-1)

    return values


def log_probabilities(p: Array, *, from_logits: bool) -> Array:
    if from_logits:
        return p - log_sum_exp(p)[..., None]
    return np.log(np.clip(p / p.sum(-1, keepdims=True), EPSILON, 1 - EPSILON))


def categorical_crossentropy(*, from_logits: bool = False, label_smoothing: float = 0.0) -> Values:
    def values(y, p):
        y = y * (1 - label_smoothing) + label_smoothing / y.shape[-1]
        return -(y * log_probabilities(p, from_logits=from_logits)).sum(-1)

    return values


def categorical_focal_crossentropy(*, alpha: float = 0.25, gamma: float = 2.0) -> Values:
    def values(y, p):
        p = np.clip(p / p.sum(-1, keepdims=True), EPSILON, 1 - EPSILON)
        return -(alpha * (1 - p) ** gamma * y * np.log(p)).sum(-1)

    return values


def sparse_categorical_crossentropy(
    *, from_logits: bool = False, ignore_class: int | None = None
) -> Values:
    def values(y, p):
        labels = y[..., 0] if y.ndim == p.ndim else y
        valid = np.ones(labels.shape, bool) if ignore_class is None else labels != ignore_class
        logs = log_probabilities(p, from_logits=from_logits)
        labels = np.where(valid, labels, 0).astype(int)
        losses = -np.take_along_axis(logs, labels[..., None], -1)[..., 0] * valid
        return losses if ignore_class is None else (losses, valid)

    return values


def categorical_generalized_cross_entropy(q: float = 0.5) -> Values:
    def values(y, p):
        labels = (y[..., 0] if y.ndim == p.ndim else y).astype(int)
        return (1 - np.take_along_axis(p, labels[..., None], -1)[..., 0] ** q) / q

    return values


def dice(y, p):
    return 1 - 2 * (y * p).sum() / (y.sum() + p.sum() + EPSILON)


def tversky(alpha: float = 0.5, beta: float = 0.5) -> Values:
    def values(y, p):
        both = (y * p).sum()
        only_y, only_p = (y * (1 - p)).sum(), ((1 - y) * p).sum()
        return 1 - both / (both + alpha * only_y + beta * only_p + EPSILON)

    return values


def circle(gamma: float = 80.0, margin: float = 0.4) -> Values:
    """The circle loss inside a batch, on unit embeddings; samples with no loss are masked."""

    def values(y, p):
        labels = y.reshape(-1)
        similarity = np.minimum(p @ p.T, 1)
        same = labels[:, None] == labels[None]
        positive, negative = same & ~np.eye(len(labels), dtype=bool), ~same
        to_positive = -gamma * np.maximum(1 + margin - similarity, 0) * (similarity - (1 - margin))
        to_negative = gamma * np.maximum(similarity + margin, 0) * (similarity - margin)
        exponent = log_sum_exp(np.where(positive, to_positive, -np.inf)) + log_sum_exp(
            np.where(negative, to_negative, -np.inf)
        )
        losses = np.logaddexp(0, exponent)
        return losses, losses > 0

    return values


def ctc(y, p):
    """The negative log likelihood of the labels, summed over alignments (blank = 0)."""

    def one(labels, logits):
        logs = logits - log_sum_exp(logits)[:, None]
        extended = [0]
        for label in labels[labels != 0].astype(int):
            extended += [label, 0]
        alpha = np.full(len(extended), -np.inf)
        alpha[:2] = logs[0, extended[:2]]
        for step in logs[1:]:
            last = alpha.copy()
            for s in range(len(extended)):
                paths = [last[s]]
                if s >= 1:
                    paths.append(last[s - 1])
                if s >= 2 and extended[s] not in (0, extended[s - 2]):
                    paths.append(last[s - 2])
                alpha[s] = np.logaddexp.reduce(paths) + step[extended[s]]
        return -np.logaddexp(alpha[-1], alpha[-2])

    return np.array([one(labels, logits) for labels, logits in zip(y, p, strict=True)])


# Keras's reductions, sample weights and masks.


def same_rank(first: Array, second: Array, *, expand: bool = True) -> tuple[Array, Array]:
    """Squeeze or expand a last axis of length 1 where the ranks differ by one, as Keras does."""
    if first.ndim == second.ndim + 1 and first.shape[-1] == 1:
        return (
            (first, second[..., None]) if second.ndim == 1 and expand else (first[..., 0], second)
        )
    if second.ndim == first.ndim + 1 and second.shape[-1] == 1:
        return (first[..., None], second) if first.ndim == 1 and expand else (first, second[..., 0])
    return first, second


def reduced(
    values: Array,
    *,
    sample_weight: Array | None = None,
    mask: Array | None = None,
    reduction: str = "sum_over_batch_size",
) -> float:
    """Reduce one batch's losses to its loss.

    ``sum_over_batch_size`` divides by the number of values, or of unmasked values, and
    never by the sum of the weights; ``mean_with_sample_weight`` divides by that sum.
    """
    weights = sample_weight
    if mask is not None:
        mask_weights = mask.astype(float)
        if reduction == "sum_over_batch_size":
            mask_weights *= mask.size / mask.sum() if mask.any() else 0.0
        if sample_weight is None:
            weights = mask_weights
        else:
            mask_weights, sample_weight = same_rank(mask_weights, sample_weight)
            weights = sample_weight * mask_weights
    values = np.asarray(values)
    if weights is not None:
        values, weights = same_rank(values, weights)
        values = values * weights
    if values.ndim == 0:
        return float(values)
    divisor = {
        "sum": 1.0,
        "sum_over_batch_size": float(values.size),
        "mean_with_sample_weight": float(values.size if weights is None else weights.sum()),
    }[reduction]
    return float(values.sum() / divisor) if divisor else 0.0


@dataclass(frozen=True)
class Output:
    """One output of a model: its targets, predictions and loss."""

    values: Values
    y: Any
    y_pred: Any
    sample_weight: Any = None
    mask: Array | None = None
    weight: float = 1.0
    reduction: str = "sum_over_batch_size"

    def loss(self, batch: slice) -> float:
        """Return the loss of one batch, without the loss weight."""
        y, y_pred = same_rank(exact(self.y)[batch], exact(self.y_pred)[batch])
        values, mask = self.values(y, y_pred), None
        if isinstance(values, tuple):
            values, mask = values
        if self.mask is not None:
            mask = self.mask[batch] if mask is None else mask & self.mask[batch]
        weights = None if self.sample_weight is None else exact(self.sample_weight)[batch]
        return reduced(values, sample_weight=weights, mask=mask, reduction=self.reduction)


def batches(n_samples: int, batch_size: int) -> Iterator[tuple[int, slice]]:
    """Yield the size and the place of each batch, in data order."""
    for start in range(0, n_samples, batch_size):
        stop = min(start + batch_size, n_samples)
        yield stop - start, slice(start, stop)


def mean_over_batches(value: Callable[[slice], float], n_samples: int, batch_size: int) -> float:
    """Return ``sum_b n_b * value(batch b) / N``."""
    return sum(n * value(batch) for n, batch in batches(n_samples, batch_size)) / n_samples


def true_loss(*outputs: Output, batch_size: int) -> float:
    """Return the weighted sum of the outputs' losses, averaged over the batches."""
    n_samples = len(outputs[0].y_pred)
    return mean_over_batches(
        lambda batch: sum(output.weight * output.loss(batch) for output in outputs),
        n_samples,
        batch_size,
    )


def class_weights(y: Array, weights: Mapping[int, float]) -> Array:
    """Return each sample's weight, looked up by its label: 1 for a label without one."""
    y = np.asarray(y)
    labels = y if y.ndim == 1 else y[:, 0] if y.shape[-1] == 1 else y.argmax(-1)
    return np.array([weights.get(int(label), 1.0) for label in np.round(labels)])


# Penalties.


def l1(weight: Any, factor: float) -> float:
    return factor * float(np.abs(exact(weight)).sum())


def l2(weight: Any, factor: float) -> float:
    return factor * float((exact(weight) ** 2).sum())


def orthogonal(weight: Any, factor: float, mode: str = "rows") -> float:
    """Return ``factor`` times the mean absolute cosine between two rows (or columns)."""
    rows = exact(weight) if mode == "rows" else exact(weight).T
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = np.abs(rows @ rows.T)
    n = len(rows)
    return factor * float(cosines[np.triu_indices(n, 1)].sum()) / (n * (n - 1) / 2)


@dataclass(frozen=True)
class Expected:
    """What a measurement should find.

    ``true_loss`` is ``None`` where the model is random in evaluation mode too.
    ``penalties`` has the penalties by the layer's name and the kind.
    """

    true_loss: float | None
    penalties: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def penalty(self) -> float:
        return sum(self.penalties.values())


# Metrics.


def roc_auc(y: Array, p: Array, sample_weight: Array | None = None) -> float:
    """Return the area under the ROC curve on Keras's 200 thresholds, by trapezoids."""
    inner = np.arange(1, 199, dtype=np.float64) / 199
    thresholds = np.concatenate([[-EPSILON], inner, [1 + EPSILON]])
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    above = p[None] > thresholds[:, None]
    hits = (above * (weight * (y == 1))).sum(1) / (weight * (y == 1)).sum()
    false_alarms = (above * (weight * (y == 0))).sum(1) / (weight * (y == 0)).sum()
    return float(-np.trapezoid(hits, false_alarms))
