"""TensorFlow: the loop over batches as one graph, and the pipelines of ``tf.data``."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from itertools import pairwise
from typing import Any
from weakref import WeakMethod

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from tensorflow.python.eager import context

from lossgap.core.backends import Loop, Step
from lossgap.errors import DataError, UnsupportedModelError

# Operations that draw from a tf.random.Generator, and so move it.
_GENERATOR = (
    "RngReadAndSkip",
    "RngSkip",
    "StatefulRandomBinomial",
    "StatefulStandardNormal",
    "StatefulTruncatedNormal",
    "StatefulUniform",
)
# Operations of a pipeline that draw from a state which other pipelines may share.
_SHARED_RANDOMNESS = (*_GENERATOR, "Shuffle", "RandomDataset")
# Operations that write to a resource.
_WRITES = (
    *_GENERATOR,
    "Assign",
    "LookupTableImport",
    "LookupTableInsert",
    "LookupTableRemove",
    "ResourceApply",
    "ResourceScatter",
    "ResourceSparseApply",
    "ResourceStridedSliceAssign",
)
_OWN_SEED = "lossgap"
# Where an iterator of Keras's holds who is shown its batches.
_TAPS = "_lossgap_taps"
_PYTHON = ("EagerPyFunc", "GeneratorDataset", "PyFunc")


def to_device(leaf: Any) -> Any:
    """Convert an array to a tensor; ragged tensors stay what they are."""
    return leaf if isinstance(leaf, tf.RaggedTensor) else tf.convert_to_tensor(leaf)


def to_numpy(leaf: Any) -> np.ndarray:
    """Return the values of an array or a variable, which may be mirrored on devices."""
    return np.asarray(
        leaf.numpy() if isinstance(leaf, keras.Variable) else ops.convert_to_numpy(leaf)
    )


def own(leaf: Any) -> Any:
    """Return the tensor itself: no one can write to it."""
    return leaf


def concatenate(leaves: list[Any]) -> Any:
    """Lay tensors end to end; one alone isn't copied."""
    return leaves[0] if len(leaves) == 1 else tf.concat(leaves, axis=0)


def n_bytes(leaf: Any) -> int:
    """Return the size of a tensor; strings count by their length."""
    total = 0
    for part in tf.nest.flatten(leaf, expand_composites=True):
        if part.dtype == tf.string:
            total += int(tf.reduce_sum(tf.strings.length(part)))
        else:
            total += int(tf.size(part)) * part.dtype.size
    return total


def is_sparse(leaf: Any) -> bool:
    """Tell whether an array is a sparse tensor."""
    return isinstance(leaf, tf.SparseTensor)


def is_ragged(leaf: Any) -> bool:
    """Tell whether an array is a ragged tensor."""
    return isinstance(leaf, tf.RaggedTensor)


def spec(leaf: Any) -> Any:
    """Return the type spec of a tensor, for any number of samples."""
    return any_length(tf.type_spec_from_value(leaf))


def any_length(spec: Any) -> Any:
    """Free the first dimension of a type spec."""
    if spec.shape.rank is None:
        return spec
    shape = (None, *spec.shape[1:])
    if isinstance(spec, tf.RaggedTensorSpec):
        return tf.RaggedTensorSpec(shape, spec.dtype, spec.ragged_rank, spec.row_splits_dtype)
    return tf.TensorSpec(shape, spec.dtype)


def looped(step: Step, leaves: list[Any], splits: Any, state: list[Any]) -> tuple[Any, list[Any]]:
    """Trace ``step`` into a loop over the batches between the splits."""
    n_batches = tf.size(splits) - 1

    def body(index: Any, rows: Any, state: list[Any]) -> tuple[Any, Any, list[Any]]:
        start, stop = splits[index], splits[index + 1]
        with _functions_inlined():
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


def traced(graph: Any, specs: list[Any], state: list[Any], *more: Any) -> Any:
    """Return the graph of leaves, splits and state, after checking that it writes to nothing.

    Autograph stays off: the step is traced Python, and its loop is `tf.while_loop`.
    """
    compiled = tf.function(graph, autograph=False).get_concrete_function(
        specs,
        tf.TensorSpec((None,), tf.int32),
        [tf.TensorSpec(value.shape, value.dtype) for value in state],
        *more,
    )
    _check_writes(compiled.graph.as_graph_def())
    return compiled


def compile_loop(step: Step, specs: list[Any], state: list[Any], reads: list[Any]) -> Loop:
    """Compile ``step`` into a graph that slices the batches and loops over them."""
    del reads  # a graph reads variables as they are when it runs
    compiled = traced(partial(looped, step), specs, state)

    def loop(
        leaves: list[Any], splits: np.ndarray, state: list[Any]
    ) -> tuple[np.ndarray, list[Any]]:
        rows, new_state = compiled(leaves, tf.constant(splits, tf.int32), state)
        return rows.numpy(), new_state

    # The graph is optimised when it first runs: a run over no samples pays for that now.
    if all(isinstance(spec, tf.TensorSpec) and spec.shape.rank is not None for spec in specs):
        empty = [tf.zeros([size or 0 for size in spec.shape], spec.dtype) for spec in specs]
        with suppress(tf.errors.InvalidArgumentError):  # a shape that the model can't take
            loop(empty, np.zeros(1, np.int32), state)
    return loop


@contextmanager
def _functions_inlined() -> Iterator[None]:
    """Trace a ``tf.function`` inside the model as the Python that it is.

    As a function it would keep the trace, with tensors of ours in place of the variables,
    and use it again in the training.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(run_eagerly=True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _check_writes(graph: Any) -> None:
    writes = sorted({op for op in _operations(graph) if op.startswith(_WRITES)})
    if writes:
        raise UnsupportedModelError(
            f"A layer writes to a state of TensorFlow's own in its call ({', '.join(writes)}): a "
            "tf.Variable, a tf.random.Generator or a table. Measuring would move it and so "
            "change the training. Use self.add_weight(...) and keras.random.SeedGenerator instead."
        )


def _operations(graph: Any) -> Iterator[str]:
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        yield from (node.op for node in nodes)


def eager_loop(step: Step) -> Loop:
    """Run ``step`` batch by batch, as ``run_eagerly`` does."""

    def loop(
        leaves: list[Any], splits: np.ndarray, state: list[Any]
    ) -> tuple[np.ndarray, list[Any]]:
        rows = []
        for start, stop in pairwise(splits.tolist()):
            row, state = step([leaf[start:stop] for leaf in leaves], state)
            rows.append([float(value) for value in row])
        return np.array(rows, np.float64), state

    return loop


def can_tap(epoch_iterator: Any) -> bool:
    """Tell whether the batches of a fit can be kept: a distributed dataset reads ahead of it."""
    return isinstance(epoch_iterator._distributed_dataset, tf.data.Dataset)


def tap(epoch_iterator: Any, receive: Callable[[Any], None]) -> Any:
    """Put one more stage at the end of the pipeline, which shows every batch to ``receive``.

    The stage runs when the training asks for the next batch, and no stage reads ahead
    behind it, so what passes is what is trained on. It changes neither the batches nor
    any random state before it. A pipeline gets one stage, which shows batches to all who ask.
    """
    dataset = epoch_iterator._distributed_dataset
    if not can_tap(epoch_iterator):
        raise DataError(
            "Batches can't be kept as they pass under a tf.distribute strategy. Pass the training "
            "data to lossgap too: as arrays, TrueLoss(x, y), or as a dataset that doesn't shuffle, "
            "TrueLoss(dataset)."
        )
    spec = dataset.element_spec
    if hasattr(epoch_iterator, _TAPS):
        getattr(epoch_iterator, _TAPS).append(WeakMethod(receive))
        return spec
    if any(not isinstance(leaf, tf.TensorSpec | tf.RaggedTensorSpec) for leaf in _leaves(spec)):
        raise DataError(
            f"Batches of this kind can't be measured: {spec}. Pass dense or ragged tensors, or "
            "the training data as arrays: TrueLoss(x, y)."
        )

    # TensorFlow never lets go of a Python function in a pipeline: it must not hold the batches.
    receivers = [WeakMethod(receive)]
    setattr(epoch_iterator, _TAPS, receivers)

    def show(*flat: Any) -> None:
        batch = tf.nest.pack_sequence_as(spec, flat, expand_composites=True)
        for receiver in receivers:
            take = receiver()
            if take is not None:
                take(batch)

    def stage(*batch: Any) -> Any:
        structure = batch if isinstance(spec, tuple) else batch[0]
        flat = tf.nest.flatten(structure, expand_composites=True)
        shown = tf.py_function(show, flat, [])
        with tf.control_dependencies([shown]):
            flat = [tf.identity(part) for part in flat]
        return tf.nest.pack_sequence_as(structure, flat, expand_composites=True)

    # TensorFlow reads ahead at the end of a pipeline. It has to go on where it did, before the
    # tap, and not behind it: what passes the tap would not be what was trained on.
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    if dataset.options().autotune.enabled is not False:
        dataset = dataset.prefetch(tf.data.AUTOTUNE)
    as_it_is = tf.autograph.experimental.do_not_convert(stage)
    epoch_iterator._distributed_dataset = dataset.map(as_it_is).with_options(options)
    return spec


def reads_ahead(epoch_iterator: Any) -> bool:
    """Tell whether threads prepare batches: any pipeline may have some."""
    del epoch_iterator
    return True


def batches(adapter: Any) -> Any:
    """Return the adapter's data as a dataset."""
    return adapter.get_tf_dataset()


def scope(model: Any) -> AbstractContextManager[Any]:
    """Build what belongs to the model where its strategy keeps its variables."""
    strategy = model._distribute_strategy
    return nullcontext() if strategy is None else strategy.scope()


def n_replicas(model: Any) -> int:
    """Return the number of replicas that a ``tf.distribute`` strategy splits each batch among."""
    strategy = model._distribute_strategy
    return 1 if strategy is None else int(strategy.num_replicas_in_sync)


def replicas(model: Any) -> Any:
    """Return the devices of a ``tf.distribute`` strategy that share the work."""
    if model._distribute_strategy is None:
        return None
    from lossgap.core.backends import tensorflow_replicas

    return tensorflow_replicas.replicas(model)


def is_chief(model: Any) -> bool:
    """Tell whether this process is the one of a ``tf.distribute`` strategy that keeps records."""
    strategy = model._distribute_strategy
    return strategy is None or bool(strategy.extended.should_save_summary)


def runs_eagerly(model: Any) -> bool:
    """Tell whether the model was compiled to run eagerly."""
    return bool(model.run_eagerly)


def random_states(seed: int) -> list[Any]:
    """Return no states: what a graph draws is drawn from Keras's seed generators."""
    del seed
    return []


def kept(model: Any) -> AbstractContextManager[None]:
    """Keep nothing: a graph that writes to a state of TensorFlow's own isn't run."""
    del model
    return nullcontext()


def settle(model: Any) -> None:
    """Do nothing: the variables are always those of the training."""
    del model


def test_step(model: Any, data: Any) -> Any:
    """Run the model's ``test_step``."""
    return model.test_step(data)


def _leaves(spec: Any) -> list[Any]:
    return list(tf.nest.flatten(spec))


def check_readable(dataset: Any) -> None:
    """Make sure that reading the dataset moves no random state that a training may share."""
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DataError(
            "The dataset never ends. Pass one without .repeat(), or leave it out to measure on "
            "the batches of fit as they pass."
        )
    shared = sorted({op for op in _pipeline(dataset) if op.startswith(_SHARED_RANDOMNESS)})
    if shared:
        raise DataError(
            f"The dataset draws at random ({', '.join(shared)}): reading it could change what "
            "the training draws. Pass a dataset without .shuffle() and without a "
            "tf.random.Generator, or leave it out to measure on the batches of fit as they pass."
        )


def is_python(dataset: Any) -> bool:
    """Tell whether a pipeline calls Python code."""
    return any(op in _PYTHON for op in _pipeline(dataset))


def _pipeline(dataset: Any) -> Iterator[str]:
    return _operations(tf.compat.v1.GraphDef.FromString(dataset._as_serialized_graph().numpy()))


def divert_random_state() -> Callable[[], None]:
    """Let eager random operations draw their seeds from another state for a while.

    Taking the state and putting it back isn't enough: TensorFlow keeps an operation with
    its seed, and one with the same seed would go on where the first one stopped.
    """
    shared = context.context()
    before = getattr(shared, "_rng", None)  # comes into being with the first global seed
    if before is None:  # no global seed: nothing that could be repeated
        return lambda: None
    shared._rng = random.Random(_OWN_SEED)  # noqa: S311 - no secret

    def restore() -> None:
        shared._rng = before

    return restore
