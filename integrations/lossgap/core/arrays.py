"""The samples that are measured, held the way ``fit`` holds them.

Keras's own array adapter does the conversion: whatever ``fit`` accepts as arrays
(NumPy, tensors, pandas frames, dicts and nested structures) is accepted here, with the
same dtypes, the same checks and the same broadcasting of sample weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils
from keras.src.trainers.data_adapters.array_data_adapter import (
    ArrayDataAdapter,
    can_convert_arrays,
)

from lossgap.errors import DataError


@dataclass(frozen=True, slots=True)
class Arrays:
    """Samples with their targets and weights; row ``i`` of every leaf is sample ``i``.

    Attributes:
        x: Inputs: a nested structure whose leaves have shape ``(n_samples, ...)``.
        y: Targets, likewise, or ``None``.
        sample_weight: Weights for the loss, one structure leaf per output, or ``None``.
        class_weighted: The sample weights that ``fit`` trains with when it is given
            class weights, shape ``(n_samples,)``, or ``None`` without class weights.
        n_samples: Number of samples.
    """

    x: Any
    y: Any
    sample_weight: Any
    class_weighted: Any
    n_samples: int

    @property
    def leaves(self) -> list[Any]:
        """The sliceable leaves of the structure, in a fixed order, without the absent ones."""
        structure = (self.x, self.y, self.sample_weight, self.class_weighted)
        return [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]

    @property
    def n_bytes(self) -> int:
        """Size of all leaves in bytes; 0 for a leaf that doesn't tell."""
        return sum(int(getattr(leaf.array, "nbytes", 0)) for leaf in self.leaves)

    def rows(self, selection: slice | np.ndarray) -> list[Any]:
        """Return the selected samples of every leaf as arrays that a backend can convert."""
        return [leaf.convert_to_numpy(leaf[selection]) for leaf in self.leaves]

    def pack(self, leaves: list[Any]) -> tuple[Any, Any, Any, Any]:
        """Put leaves back into ``(x, y, sample_weight, class_weighted)``."""
        remaining = iter(leaves)
        structure = (self.x, self.y, self.sample_weight, self.class_weighted)
        packed = keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(remaining), structure
        )
        return tuple(packed)


def can_read(x: Any, y: Any = None, sample_weight: Any = None) -> bool:
    """Tell whether the data are arrays, as opposed to datasets, generators and the like."""
    return x is not None and bool(can_convert_arrays((x, y, sample_weight)))


def read(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
) -> Arrays:
    """Read arrays the way ``fit`` does.

    Args:
        x: Inputs, a nested structure of arrays of shape ``(n_samples, ...)``.
        y: Targets, likewise, or ``None`` for models that compute their loss from ``x``.
        sample_weight: Weights, ``(n_samples,)``, or one array for each output.
        class_weight: Weight for each integer class label, as ``fit`` takes it.

    Raises:
        DataError: The data are no arrays, are empty, or their lengths differ.
    """
    if not can_read(x, y, sample_weight):
        odd = [
            type(leaf).__name__
            for leaf in keras.tree.flatten((x, y, sample_weight))
            if leaf is not None and not array_slicing.can_slice_array(leaf)
        ]
        raise DataError(
            "lossgap reads arrays: NumPy arrays, tensors, pandas frames, and dicts, lists or "
            f"tuples of them. Received: {', '.join(sorted(set(odd))) or 'no data'}. "
            "Pass the training data as arrays: `lossgap.TrueLoss(x, y)`, or "
            "`lossgap.measure(model, x, y)`."
        )
    try:
        adapter = ArrayDataAdapter(x, y, sample_weight=sample_weight, batch_size=32)
    except ValueError as error:
        raise DataError(f"The data can't be measured: {error}") from error
    if adapter._num_samples == 0:
        raise DataError("The data are empty: 0 samples. Pass at least one sample.")
    x, y, sample_weight = data_adapter_utils.unpack_x_y_sample_weight(adapter._inputs)
    structure = (x, y, sample_weight, _class_weighted(y, sample_weight, class_weight))
    x, y, sample_weight, class_weighted = array_slicing.convert_to_sliceable(
        structure, target_backend="numpy"
    )
    return Arrays(x, y, sample_weight, class_weighted, int(adapter._num_samples))


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


def same_samples(one: Arrays, other: Arrays, n_probes: int = 16) -> bool:
    """Tell whether two sets hold the same inputs, by structure, length and a few rows.

    Compares the shared leading samples, so a set also matches one that it is the
    first part of.
    """
    n_shared = min(one.n_samples, other.n_samples)
    probes = np.unique(np.linspace(0, n_shared - 1, min(n_probes, n_shared)).astype(int))
    ours, theirs = (keras.tree.flatten(arrays.x) for arrays in (one, other))
    return len(ours) == len(theirs) and all(
        np.array_equal(
            np.asarray(a.convert_to_numpy(a[probes])), np.asarray(b.convert_to_numpy(b[probes]))
        )
        for a, b in zip(ours, theirs, strict=True)
    )
