"""JAX: a compiled step for each shape of a batch, and data in NumPy arrays.

Data stay in NumPy on the host, as in Keras's own loop on JAX, where slices of NumPy
arrays are faster than slices of JAX arrays. Rows come back in the precision that JAX is
set to, float32 by default, and are added up in float64 on the host.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops

from lossgap.core.backends import Loop, Step, iteration
from lossgap.core.backends.iteration import (
    check_dense,
    check_readable,
    divert_random_state,
    is_python,
    is_ragged,
    is_sparse,
    reads_ahead,
)

__all__ = [
    "check_readable",
    "divert_random_state",
    "is_python",
    "is_ragged",
    "is_sparse",
    "reads_ahead",
]


def to_device(leaf: Any) -> Any:
    """Return a NumPy array; JAX takes it to the device batch by batch."""
    check_dense(leaf)
    return np.asarray(leaf)


def to_numpy(leaf: Any) -> np.ndarray:
    """Return the values of an array or a variable."""
    return np.asarray(ops.convert_to_tensor(leaf))


def own(leaf: Any) -> Any:
    """Copy an array, unless it is one of JAX, which no one can write to."""
    check_dense(leaf)
    return leaf if isinstance(leaf, jax.Array) else np.array(leaf)


def concatenate(leaves: list[Any]) -> Any:
    """Lay arrays end to end in NumPy; one alone isn't copied."""
    return np.asarray(leaves[0]) if len(leaves) == 1 else np.concatenate(leaves)


def n_bytes(leaf: Any) -> int:
    """Return the size of an array."""
    return int(leaf.nbytes)


def spec(leaf: Any) -> Any:
    """Return the shape and dtype of a leaf, with its number of samples: JAX has no other."""
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
    return jax.ShapeDtypeStruct(leaf.shape, dtype)


def any_length(spec: Any) -> Any:
    """Return the spec as it is: a shape has a number of samples."""
    return spec


def compile_loop(step: Step, specs: list[Any], state: list[Any], reads: list[Any]) -> Loop:
    """Trace ``step``; it is compiled when a batch of a new shape comes.

    What the step reads from variables is passed in: in a trace they are constants.
    """

    def batch(
        values: list[Any], leaves: list[Any], state: list[Any]
    ) -> tuple[jax.Array, list[Any]]:
        with keras.StatelessScope(state_mapping=list(zip(reads, values, strict=True))):
            row, new_state = step(leaves, state)
        dtype = jnp.result_type(float)
        return jnp.stack([jnp.asarray(value, dtype) for value in row]), new_state

    compiled = jax.jit(batch)
    jax.eval_shape(compiled, [variable.value for variable in reads], specs, state)

    def loop(
        leaves: list[Any], splits: np.ndarray, state: list[Any]
    ) -> tuple[np.ndarray, list[Any]]:
        values = [variable.value for variable in reads]
        rows = []
        for start, stop in pairwise(splits.tolist()):
            row, state = compiled(values, [leaf[start:stop] for leaf in leaves], state)
            rows.append(row)
        return np.stack(jax.device_get(rows)).astype(np.float64), state

    return loop


def eager_loop(step: Step) -> Loop:
    """Run ``step`` batch by batch, as ``run_eagerly`` does."""

    def loop(
        leaves: list[Any], splits: np.ndarray, state: list[Any]
    ) -> tuple[np.ndarray, list[Any]]:
        rows = []
        for start, stop in pairwise(splits.tolist()):
            batch = [jnp.asarray(leaf[start:stop]) for leaf in leaves]
            row, state = step(batch, state)
            rows.append([float(value) for value in row])
        return np.array(rows, np.float64), state

    return loop


def scope(model: Any) -> AbstractContextManager[None]:
    """Do nothing: Keras puts variables where its distribution has them."""
    del model
    return nullcontext()


def n_replicas(model: Any) -> int:
    """Return 1: in JAX a batch stays one batch, on however many devices it is."""
    del model
    return 1


def replicas(model: Any) -> None:
    """Return nothing: JAX itself shares out what is compiled over the devices."""
    del model


def is_chief(model: Any) -> bool:
    """Tell whether this is the first of the processes that JAX was told of."""
    del model
    return int(jax.process_index()) == 0


def runs_eagerly(model: Any) -> bool:
    """Tell whether Keras trains the model without a trace."""
    return bool(model.run_eagerly or not model.jit_compile)


def random_states(seed: int) -> list[Any]:
    """Return no states: every draw in JAX has its own key."""
    del seed
    return []


def kept(model: Any) -> AbstractContextManager[None]:
    """Keep nothing: a trace writes to no state."""
    del model
    return nullcontext()


def settle(model: Any) -> None:
    """Give the variables their values: in an epoch, Keras keeps these outside of the model."""
    model.jax_state_sync()


def test_step(model: Any, data: Any) -> Any:
    """Run the model's ``test_step``, which on JAX takes and returns the state."""
    groups = model.trainable_variables, model.non_trainable_variables, model.metrics_variables
    logs, _ = model.test_step(tuple([v.value for v in group] for group in groups), data)
    return logs


def can_tap(epoch_iterator: Any) -> bool:
    """Tell that the batches of any fit can be kept."""
    del epoch_iterator
    return True


def tap(epoch_iterator: Any, receive: Callable[[Any], None]) -> Any:
    """Show each batch as the training takes it; what it is like shows with the first one."""
    iteration.tap(epoch_iterator, receive)


def batches(adapter: Any) -> Any:
    """Return the batches that Keras would train on, to be read again and again."""
    return iteration.Rereadable(adapter.get_jax_iterator, spec)
