"""Samples in arrays, held the way ``fit`` holds them.

Keras's own array adapter does the conversion: whatever ``fit`` accepts as arrays
(NumPy, tensors, pandas frames, dicts and nested structures) is accepted here, with the
same dtypes, the same checks and the same broadcasting of sample weights.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils
from keras.src.trainers.data_adapters.array_data_adapter import (
    ArrayDataAdapter,
    can_convert_arrays,
)
from keras.src.trainers.data_adapters.data_adapter_utils import is_scipy_sparse

from lossgap.core import backends
from lossgap.core.feeds import Chunk, Draw, Layout, Wish, even_splits, flatten, splits
from lossgap.errors import DataError

DEFAULT_BATCH_SIZE = 32  # Keras's own
_DEVICE_BYTES = 256 * 2**20  # data up to this size stay on the device between passes
_CHUNK_BYTES = 64 * 2**20  # larger data go there in pieces of about this size


def can_read(x: Any, y: Any = None, sample_weight: Any = None) -> bool:
    """Tell whether the data are arrays, as opposed to datasets, generators and the like."""
    return x is not None and bool(can_convert_arrays((x, y, sample_weight)))


class ArrayFeed:
    """All samples of arrays, in their order; row ``i`` of every leaf is sample ``i``."""

    n_batches = None

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        class_weight: Mapping[int, float] | None = None,
        batch_size: int | None = None,
        n_replicas: int = 1,
        shuffle: bool = True,
    ) -> None:
        """Read arrays the way ``fit`` does.

        Args:
            x: Inputs, a nested structure of arrays of shape ``(n_samples, ...)``.
            y: Targets, likewise, or ``None`` for models that compute their loss from ``x``.
            sample_weight: Weights, ``(n_samples,)``, or one array for each output.
            class_weight: Weight for each integer class label, as ``fit`` takes it.
            batch_size: The training's batch size; ``None`` for Keras's default.
            n_replicas: Devices that the training splits each batch among.
            shuffle: Whether the training draws its batches at random.

        Raises:
            DataError: The data are no arrays, are empty, or their lengths differ.
        """
        _check_kind(x, y, sample_weight)
        self.batch_size = batch_size or DEFAULT_BATCH_SIZE
        self._n_replicas = n_replicas
        self._shuffle = shuffle
        self._last: tuple[Wish, Draw] | None = None
        try:
            adapter = ArrayDataAdapter(x, y, sample_weight=sample_weight, batch_size=32)
        except ValueError as error:
            raise DataError(f"The data can't be measured: {error}") from error
        self.n_total = int(adapter._num_samples)
        if self.n_total == 0:
            raise DataError("The data are empty: 0 samples. Pass at least one sample.")
        x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(adapter._inputs)
        class_weighted = _class_weighted(y, sample_weight, class_weight)
        self._data = array_slicing.convert_to_sliceable(
            (x, y, sample_weight, class_weighted), target_backend="numpy"
        )
        self.layout = Layout.of(*self._data)
        self._leaves = flatten(self._data)

    @property
    def has_targets(self) -> bool:
        """Whether there are targets."""
        return self._data[1] is not None

    def targets(self, indices: np.ndarray) -> np.ndarray | None:
        """Return the targets of samples, where they are one array of numbers; else ``None``."""
        y = self._data[1]
        if y is None or keras.tree.is_nested(y) or backends.active().is_ragged(y.array):
            return None
        return np.asarray(y.convert_to_numpy(y[indices]))

    @cached_property
    def n_bytes(self) -> int:
        """Size of all leaves on the device in bytes, judged by the first few samples."""
        n_probes = min(self.n_total, 16)
        size = backends.active().n_bytes
        probed = sum(size(leaf) for leaf in self._to_device(slice(0, n_probes)))
        return probed * self.n_total // n_probes

    def first_batch(self) -> tuple[list[Any], int]:
        """Return the first batch of the training's size, and its number of samples."""
        size = min(self.batch_size, self.n_total)
        return self._to_device(slice(0, size)), size

    def specs(self) -> list[Any]:
        """Return the leaves' shapes and dtypes, in a batch of the training's size."""
        spec = backends.active().spec
        return [spec(leaf) for leaf in self.first_batch()[0]]

    def rows(self, selection: slice | np.ndarray) -> list[Any]:
        """Return the selected samples of every leaf as arrays that a backend can convert."""
        is_ragged = backends.active().is_ragged
        return [
            leaf[selection] if is_ragged(leaf.array) else leaf.convert_to_numpy(leaf[selection])
            for leaf in self._leaves
        ]

    def chunks(self, batch_size: int | None) -> Iterator[Chunk]:
        """Yield the samples in order, in batches of one size and a rest."""
        size = batch_size or self.batch_size
        n_replicas = 1 if batch_size else self._n_replicas
        if self.n_bytes <= _DEVICE_BYTES:
            yield Chunk(self._on_device, even_splits(self.n_total, size, n_replicas))
            return
        per_batch = max(self.n_bytes * size // self.n_total, 1)
        step = size * max(_CHUNK_BYTES // per_batch, 1)
        for start in range(0, self.n_total, step):
            stop = min(start + step, self.n_total)
            yield Chunk(
                self._to_device(slice(start, stop)), even_splits(stop - start, size, n_replicas)
            )

    def draw(self, wish: Wish) -> Draw:
        """Draw the same samples for the same wish.

        See :meth:`_drawn`.
        """
        if self._last is None or self._last[0] != wish:
            self._last = (wish, self._drawn(wish))
        return self._last[1]

    def _drawn(self, wish: Wish) -> Draw:
        """Draw samples at random, or whole batches at random where the training doesn't shuffle.

        In the order of the draw, or of the data, respectively.
        """
        size, n = min(self.batch_size, self.n_total), self.n_total
        fitting = wish.max_bytes * n // max(self.n_bytes, 1)
        wanted = max(min(wish.n_samples, fitting), wish.min_batches * size)
        n_batches = math.ceil(wanted / size)
        rng = np.random.default_rng(wish.seed)
        is_full = n_batches * size >= n
        if is_full:
            chosen = rng.permutation(n) if self._shuffle else np.arange(n)
        elif self._shuffle:
            chosen = rng.permutation(n)[: n_batches * size]
        else:
            starts = np.sort(rng.permutation(n // size)[:n_batches]) * size
            chosen = (starts[:, None] + np.arange(size)).ravel()
        ends = even_splits(len(chosen), size, self._n_replicas)
        return Draw([Chunk(self._to_device(chosen), ends)], is_full)

    def units(self, seed: int) -> "ArrayUnits":
        """Return the batches that the data have in their order, in random order."""
        n_batches = math.ceil(self.n_total / self.batch_size)
        order = np.random.default_rng(seed).permutation(n_batches)
        return ArrayUnits(self, order)

    @cached_property
    def _on_device(self) -> list[Any]:
        return self._to_device(slice(None))

    def _to_device(self, selection: slice | np.ndarray) -> list[Any]:
        to_device = backends.active().to_device
        return [to_device(leaf) for leaf in self.rows(selection)]

    def starts_as(self, other: "ArrayFeed") -> bool:
        """Tell whether inputs and targets of both are the same as far as both go.

        All values are compared, NaN being equal to NaN; sample weights aren't.
        """
        ours, theirs = (len(flatten(feed._data[:2])) for feed in (self, other))
        if ours != theirs:
            return False
        n_shared = min(self.n_total, other.n_total)
        step = max(_CHUNK_BYTES * self.n_total // max(self.n_bytes, 1), 1)
        return all(
            _equal(a, b)
            for start in range(0, n_shared, step)
            for a, b in zip(
                self.rows(slice(start, min(start + step, n_shared)))[:ours],
                other.rows(slice(start, min(start + step, n_shared)))[:ours],
                strict=True,
            )
        )


@dataclass(frozen=True, slots=True)
class ArrayUnits:
    """Batches of the training's size in the order of the data, the last one with the rest.

    Attributes:
        feed: The samples.
        order: Numbers of the batches, in random order.
    """

    feed: ArrayFeed
    order: np.ndarray

    @property
    def n_units(self) -> int:
        """All batches."""
        return len(self.order)

    @property
    def n_all(self) -> int:
        """All batches."""
        return len(self.order)

    def chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        """Yield the batches from ``start`` up to ``stop``."""
        feed, size = self.feed, self.feed.batch_size
        per_batch = max(feed.n_bytes * size // feed.n_total, 1)
        step = max(_CHUNK_BYTES // per_batch, 1)
        for first in range(start, stop, step):
            begins = self.order[first : min(first + step, stop)] * size
            rows = [np.arange(begin, min(begin + size, feed.n_total)) for begin in begins]
            leaves = feed._to_device(np.concatenate(rows))
            yield Chunk(leaves, splits([len(row) for row in rows]))


def _equal(one: Any, other: Any) -> bool:
    if backends.active().is_ragged(one) or backends.active().is_ragged(other):
        return one is other
    a, b = np.asarray(one), np.asarray(other)
    floats = a.dtype.kind == b.dtype.kind == "f"
    return bool(np.array_equal(a, b, equal_nan=floats))


def _check_kind(x: Any, y: Any, sample_weight: Any) -> None:
    if can_read(x, y, sample_weight):
        is_sparse = backends.active().is_sparse
        leaves = flatten((x, y, sample_weight))
        if any(is_sparse(leaf) or is_scipy_sparse(leaf) for leaf in leaves):
            raise DataError(
                "Sparse arrays can't be measured. Pass dense ones: tf.sparse.to_dense(x), or "
                "x.toarray() for SciPy."
            )
        return
    odd = {
        type(leaf).__name__
        for leaf in flatten((x, y, sample_weight))
        if not array_slicing.can_slice_array(leaf)
    }
    raise DataError(
        "Expected arrays: NumPy arrays, tensors, pandas frames, and dicts, lists or tuples of "
        f"them. Received: {', '.join(sorted(odd)) or 'no data'}. Convert lists of numbers with "
        "np.asarray."
    )


def _class_weighted(y: Any, sample_weight: Any, class_weight: Mapping[int, float] | None) -> Any:
    """Return the weights that ``fit`` makes of class weights, shape ``(n_samples,)``."""
    if class_weight is None:
        return None
    if y is None or keras.tree.is_nested(y):
        raise DataError(
            "`class_weight` is only supported for models with a single output, as in Keras. "
            f"Received targets of type {type(y).__name__}."
        )
    if sample_weight is not None:
        raise DataError(
            "Received both `class_weight` and `sample_weight`; Keras takes one of them. "
            "Multiply the class weights into `sample_weight`."
        )
    return data_adapter_utils.class_weight_to_sample_weights(y, dict(class_weight))
