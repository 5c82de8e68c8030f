"""Data of the backends whose ``fit`` iterates in plain Python: JAX and PyTorch.

There an epoch is a Python loop over Keras's own iterator, and nothing reads ahead behind
it. So a tap is an iterator around that iterator, and a dataset is read again by iterating
anew. Pipelines of ``tf.data`` run there too, where TensorFlow is installed.
"""

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters import data_adapter_utils

from lossgap.errors import DataError


class Tapped:
    """An iterable of batches that shows each batch when the training takes it."""

    def __init__(self, batches: Iterable[Any], receive: Callable[[Any], None]) -> None:
        self._batches = batches
        self._receive = receive

    def __iter__(self) -> Iterator[Any]:
        """Begin an epoch; what that draws at random is drawn now, as without the tap."""
        return self._shown(iter(self._batches))

    def _shown(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._receive(batch)
            yield batch


def tap(epoch_iterator: Any, receive: Callable[[Any], None]) -> None:
    """Let every batch of a fit pass through ``receive``, before the training step gets it."""
    begin = epoch_iterator._get_iterator
    epoch_iterator._get_iterator = lambda: Tapped(begin(), receive)


def reads_ahead(epoch_iterator: Any) -> bool:
    """Tell whether threads prepare batches while the training runs."""
    adapter = epoch_iterator.data_adapter
    alone = data_adapters.ArrayDataAdapter, data_adapters.GeneratorDataAdapter
    if isinstance(adapter, data_adapters.PyDatasetAdapter):
        return adapter.enqueuer is not None
    return not isinstance(adapter, (*alone, data_adapters.TorchDataLoaderAdapter))


class Rereadable:
    """The batches of a dataset, from the first one on each time.

    Attributes:
        element_spec: The structure of the first batch, with the specs of its leaves.
    """

    def __init__(self, begin: Callable[[], Iterable[Any]], spec: Callable[[Any], Any]) -> None:
        """Read the first batch.

        Args:
            begin: Returns what is iterated over, once for each pass.
            spec: Returns the spec of a leaf.

        Raises:
            DataError: There is no batch.
        """
        self._begin = begin
        first = next(iter(self), None)
        if first is None:
            raise DataError("The data are empty: no batch was read.")
        self.element_spec = specs_of(first, spec)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._begin())


def specs_of(batch: Any, spec: Callable[[Any], Any]) -> Any:
    """Return the structure of a batch with the specs of its leaves."""
    return keras.tree.map_structure(lambda leaf: None if leaf is None else spec(leaf), batch)


def is_ragged(leaf: Any) -> bool:
    """Tell whether an array is a ragged tensor of TensorFlow."""
    return bool(data_adapter_utils.is_tensorflow_ragged(leaf))


def is_sparse(leaf: Any) -> bool:
    """Tell whether an array is a sparse tensor of TensorFlow or JAX."""
    utils = data_adapter_utils
    return bool(utils.is_tensorflow_sparse(leaf) or utils.is_jax_sparse(leaf))


def check_dense(leaf: Any) -> None:
    """Refuse what has no fixed number of values for each sample.

    Raises:
        DataError: The array is ragged or sparse.
    """
    if is_ragged(leaf) or is_sparse(leaf):
        raise DataError(
            f"Expected dense arrays on the {keras.config.backend()} backend of Keras. Received: "
            f"{type(leaf).__name__}. Pad ragged data with x.to_tensor() and a Masking layer, and "
            "pass sparse ones dense."
        )


def check_readable(dataset: Any) -> None:
    """Make sure that a ``tf.data.Dataset`` can be read without touching a training.

    Raises:
        DataError: It never ends, or draws at random from a state that may be shared.
    """
    _of_tensorflow().check_readable(dataset)


def is_python(dataset: Any) -> bool:
    """Tell whether a ``tf.data.Dataset`` calls Python code of the user's."""
    return bool(_of_tensorflow().is_python(dataset))


def divert_random_state() -> Callable[[], None]:
    """Let TensorFlow, where a pipeline of it is in use, draw from another random state."""
    if sys.modules.get("tensorflow") is None:
        return lambda: None
    restore: Callable[[], None] = _of_tensorflow().divert_random_state()
    return restore


def _of_tensorflow() -> Any:
    return importlib.import_module("lossgap.core.backends.tensorflow")
