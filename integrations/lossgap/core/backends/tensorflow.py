"""The loop over batches as one TensorFlow graph."""

from typing import Any

import numpy as np
import tensorflow as tf

from lossgap.core.backends import Loop, Step


def to_device(leaf: Any) -> Any:
    """Convert an array to a tensor; ragged and sparse tensors stay what they are."""
    if isinstance(leaf, tf.RaggedTensor | tf.SparseTensor):
        return leaf
    return tf.convert_to_tensor(leaf)


def compile_loop(step: Step, leaves: list[Any], state: list[Any]) -> Loop:
    """Compile ``step`` into a graph that slices the batches and loops over them.

    Autograph stays off: the step is traced Python, and its loop is `tf.while_loop`.

    Args:
        step: Maps a batch (leaves of up to ``batch_size`` rows) and the state to a row of
            scalars and the new state.
        leaves: Example of the data: tensors of shape ``(n_samples, ...)``.
        state: Example of the state.
    """

    def graph(leaves: list[Any], batch_size: Any, state: list[Any]) -> tuple[Any, list[Any]]:
        n_samples = tf.shape(leaves[0], out_type=tf.int32)[0]
        n_batches = (n_samples + batch_size - 1) // batch_size

        def body(index: Any, rows: Any, state: list[Any]) -> tuple[Any, Any, list[Any]]:
            start = index * batch_size
            stop = tf.minimum(start + batch_size, n_samples)
            row, new_state = step([leaf[start:stop] for leaf in leaves], state)
            for new, old in zip(new_state, state, strict=True):
                new.set_shape(old.shape)
            values = tf.stack([tf.cast(value, tf.float64) for value in row])
            return index + 1, rows.write(index, values), new_state

        _, rows, state = tf.while_loop(
            lambda index, *_: index < n_batches,
            body,
            (tf.constant(0), tf.TensorArray(tf.float64, size=n_batches), state),
        )
        return rows.stack(), state

    compiled = tf.function(graph, autograph=False).get_concrete_function(
        [_any_length(leaf) for leaf in leaves],
        tf.TensorSpec((), tf.int32),
        [tf.TensorSpec(value.shape, value.dtype) for value in state],
    )

    def loop(leaves: list[Any], batch_size: int, state: list[Any]) -> tuple[np.ndarray, list[Any]]:
        rows, new_state = compiled(leaves, tf.constant(batch_size), state)
        return rows.numpy(), new_state

    # The graph is optimised when it first runs: a run over no samples pays for that now.
    loop([leaf[:0] for leaf in leaves], 1, state)
    return loop


def _any_length(leaf: Any) -> Any:
    spec = tf.type_spec_from_value(leaf)
    if isinstance(spec, tf.TensorSpec):
        return tf.TensorSpec((None, *spec.shape[1:]), spec.dtype)
    return spec
