"""The exact pass: data loss, penalties and metrics over all samples, in one compiled loop."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossgap.core import backends
from lossgap.core.arrays import Arrays
from lossgap.core.forward import Evaluation, compute_loss_label
from lossgap.core.inspection import depends_on_batches, overrides
from lossgap.core.penalties import Label

DEFAULT_BATCH_SIZE = 32  # Keras's own
_DEVICE_BYTES = 256 * 2**20  # data up to this size stay on the device between passes
_CHUNK_BYTES = 64 * 2**20  # larger data go there in pieces of about this size


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one pass in evaluation mode found; means over the samples, in float64.

    Attributes:
        data_loss: The true loss.
        class_weighted_loss: The data loss under class weights; ``None`` without them.
        penalties: Penalty by layer and kind.
        metrics: Results of the compiled metrics, as Keras names and shapes them.
        n_samples: Number of samples.
    """

    data_loss: float
    class_weighted_loss: float | None
    penalties: dict[Label, float]
    metrics: dict[str, np.ndarray]
    n_samples: int

    @property
    def penalty(self) -> float:
        """The sum of the penalties."""
        return float(sum(self.penalties.values()))


class Evaluator:
    """Measures a model on fixed samples, as often as asked, compiled once.

    Where the loss can depend on how samples are batched (see
    :func:`lossgap.core.inspection.depends_on_batches`), batches have the training's size,
    in the order of the data; elsewhere they are as large as is fast.
    """

    def __init__(
        self,
        model: Any,
        arrays: Arrays,
        *,
        training_batch_size: int | None,
        batch_size: int | None,
        metrics: bool,
    ) -> None:
        """Trace and compile the pass for a built, compiled model.

        Args:
            model: The Keras model.
            arrays: The samples.
            training_batch_size: Batch size of the training; ``None`` for Keras's default.
            batch_size: Batch size of the pass; ``None`` to choose.
            metrics: Whether to compute the compiled metrics too.
        """
        begin = time.perf_counter()
        self._model = model
        self._arrays = arrays
        self._backend = backends.active()
        self._evaluation = Evaluation(model, arrays, metrics=metrics)
        self._on_device: list[Any] | None = None
        if arrays.n_bytes <= _DEVICE_BYTES:
            self._on_device = self._to_device(slice(None))
        self._loop = self._backend.compile_loop(
            self._evaluation.step,
            self._to_device(slice(0, 1)),
            self._evaluation.initial_state(),
        )
        mixes = self._evaluation.mixes_batch or depends_on_batches(model, metrics=metrics)
        training_size = training_batch_size or DEFAULT_BATCH_SIZE
        self._batch_size = batch_size or (training_size if mixes else fast_batch_size(model))
        self.compile_seconds = time.perf_counter() - begin

    def run(self) -> Evaluated:
        """Measure the model as it is now."""
        state = self._evaluation.initial_state()
        parts = []
        for leaves in self._chunks():
            rows, state = self._loop(leaves, self._batch_size, state)
            parts.append(rows)
        return self._evaluated(np.concatenate(parts), self._evaluation.metrics(state))

    def _chunks(self) -> Iterator[list[Any]]:
        if self._on_device is not None:
            yield self._on_device
            return
        n_samples = self._arrays.n_samples
        per_batch = max(self._arrays.n_bytes * self._batch_size // n_samples, 1)
        size = self._batch_size * max(_CHUNK_BYTES // per_batch, 1)
        for start in range(0, n_samples, size):
            yield self._to_device(slice(start, min(start + size, n_samples)))

    def _to_device(self, selection: slice) -> list[Any]:
        return [self._backend.to_device(leaf) for leaf in self._arrays.rows(selection)]

    def _evaluated(self, rows: np.ndarray, metrics: dict[str, np.ndarray]) -> Evaluated:
        counts = rows[:, 0]
        with np.errstate(invalid="ignore"):
            means = iter((counts @ rows[:, 1:] / counts.sum()).tolist())
        data_loss = next(means)
        weighted = next(means) if self._arrays.class_weighted is not None else None
        own = next(means) if overrides(self._model, "compute_loss") else None
        penalties = dict(zip(self._evaluation.labels, means, strict=True))
        if own is not None and not np.isclose(own, sum(penalties.values()), rtol=1e-5, atol=1e-7):
            penalties = {compute_loss_label(self._model): own} if own else {}
        return Evaluated(data_loss, weighted, penalties, metrics, int(counts.sum()))


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
