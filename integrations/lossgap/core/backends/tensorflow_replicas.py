"""TensorFlow on several devices and machines: a pass that is shared out.

Replicas of one process run a loop each, on its device, over its share of the batches, inside
of one graph: none waits for another. Workers measure a share each, and exchange what they
found in one operation that every worker joins, also one whose share is empty or has failed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from lossgap.core.backends import Loop, Step, tensorflow
from lossgap.errors import LossgapError

_MIRRORED = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
# Beyond it, some worker isn't going to come: it wasn't told to measure.
_PATIENCE_SECONDS = 600.0


def strategy_of(model: Any) -> Any:
    """Return the strategy that mirrors the model's variables; ``None`` without one."""
    strategy = model._distribute_strategy
    return strategy if isinstance(strategy, _MIRRORED) else None


def replicas(model: Any) -> "Replicas | None":
    """Return the devices that share the work; ``None`` where there is but one."""
    strategy = strategy_of(model)
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return None
    return Replicas(strategy)


class Replicas:
    """The devices of this process, and the workers of which it is one.

    Attributes:
        n_workers: Processes that train together.
        rank: Which of them this one is.
    """

    def __init__(self, strategy: Any) -> None:
        """Look at a strategy that mirrors variables."""
        extended = strategy.extended
        self._strategy = strategy
        self._devices = list(extended.worker_devices)
        together = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.n_workers = int(extended._num_workers) if together else 1
        self.rank = int(strategy.cluster_resolver.task_id or 0) if self.n_workers > 1 else 0

    def compile_loop(
        self,
        step: Step,
        specs: list[Any],
        state: list[Any],
        moving: Callable[[], list[bool] | None],
    ) -> Loop:
        """Compile ``step`` into a graph with a loop for each device of this process.

        Args:
            step: What runs for each batch.
            specs: The specs of the leaves.
            state: A state as the first step receives it.
            moving: Tells, once the step was traced, which states it adds to; ``None`` where it
                does something else with one: then the first device works alone.
        """

        def graph(
            leaves: list[Any], splits: Any, state: list[Any], bounds: Any
        ) -> tuple[Any, list[Any]]:
            rows, states = [], []
            for i, device in enumerate(self._devices):
                begin, end = bounds[i], bounds[i + 1]
                first, last = splits[begin], splits[end]
                own = [leaf[first:last] for leaf in leaves]  # and not all of them are copied
                with tf.device(device):
                    found = tensorflow.looped(step, own, splits[begin : end + 1] - first, state)
                rows.append(found[0])
                states.append(found[1])
                if moving() is None:
                    return found
            triples = zip(moving() or [], state, zip(*states, strict=True), strict=True)
            return tf.concat(rows, 0), [
                _sum(old, values) if moved else values[0] for moved, old, values in triples
            ]

        bounds = tf.TensorSpec((len(self._devices) + 1,), tf.int32)
        compiled = tensorflow.traced(graph, specs, state, bounds)

        def loop(
            leaves: list[Any], splits: np.ndarray, state: list[Any]
        ) -> tuple[np.ndarray, list[Any]]:
            n_batches, n_devices = len(splits) - 1, len(self._devices)
            ends = np.linspace(0, n_batches, n_devices + 1).round()
            if moving() is None:
                ends[1:] = n_batches
            rows, new_state = compiled(
                leaves, tf.constant(splits, tf.int32), state, tf.constant(ends, tf.int32)
            )
            return rows.numpy(), new_state

        return loop

    def exchange(self, message: bytes) -> list[bytes]:
        """Give every worker the messages of all of them, in the order of their ranks.

        Raises:
            LossgapError: A worker didn't come.
        """
        n_local = len(self._devices)
        options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=_PATIENCE_SECONDS)

        def gathered(values: list[int]) -> np.ndarray:
            def of_replica(context: Any) -> Any:
                is_first = context.replica_id_in_sync_group % n_local == 0
                return tf.constant(values if is_first else [], tf.int32)

            # As Strategy.gather does, which takes no options and so waits for ever.
            value = self._strategy.experimental_distribute_values_from_function(of_replica)
            found = self._strategy.extended._gather_to(value, value, axis=0, options=options)
            return np.asarray(self._strategy.experimental_local_results(found)[0])

        try:
            sizes = gathered([len(message)])
            everything = gathered(list(message)).astype(np.uint8).tobytes()
        except tf.errors.OpError as error:
            raise LossgapError(
                "A worker of the tf.distribute strategy didn't take part in the measurement. Call "
                "lossgap.measure on every worker, as you call the training step: each measures "
                "its share of the samples."
            ) from error
        ends = np.cumsum(sizes)
        return [everything[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _sum(before: Any, after: tuple[Any, ...]) -> Any:
    """Add up what each replica has added to a state."""
    total = after[0]
    for value in after[1:]:
        total = total + (value - before)
    return total
