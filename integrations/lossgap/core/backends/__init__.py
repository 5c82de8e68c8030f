"""What differs between the backends that Keras runs on: compiling loops, reading pipelines.

Keras has no backend-neutral way to compile a function, so each module here may
import the backend that it is named after. It is loaded only when Keras runs on it.
"""

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

import keras
import numpy as np

from lossgap.errors import UnsupportedBackendError

# One batch and the carried state in, a row of scalars and the new state out.
Step = Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]]

_SUPPORTED = ("tensorflow", "jax", "torch")


class Loop(Protocol):
    """A compiled loop of one step over batches that are laid end to end."""

    def __call__(
        self, leaves: list[Any], splits: np.ndarray, state: list[Any]
    ) -> tuple[np.ndarray, list[Any]]:
        """Run the step over all batches.

        Args:
            leaves: Device arrays of shape ``(n_samples, ...)``.
            splits: Where batches begin and end, shape ``(n_batches + 1,)``.
            state: Device arrays that the first step receives.

        Returns:
            Rows of float64 scalars, shape ``(n_batches, n_columns)``, and the state
            after the last batch.
        """
        ...


class Replicas(Protocol):
    """Devices of this process that share a pass, and workers of which this process is one.

    Attributes:
        n_workers: Processes that train together.
        rank: Which of them this one is.
    """

    n_workers: int
    rank: int

    def compile_loop(
        self,
        step: Step,
        specs: list[Any],
        state: list[Any],
        moving: Callable[[], list[bool] | None],
    ) -> Loop:
        """Compile ``step`` into a loop that the devices share.

        Args:
            step: What runs for each batch.
            specs: The specs of the leaves.
            state: A state as the first step receives it.
            moving: Tells, once the step was traced, which states it adds to; ``None`` where
                batches can't be measured apart.
        """
        ...

    def exchange(self, message: bytes) -> list[bytes]:
        """Give every worker the messages of all of them, in the order of their ranks.

        Raises:
            LossgapError: A worker didn't come.
        """
        ...


class Backend(Protocol):
    """What a backend module offers. Specs are the backend's own: shape and dtype of a leaf."""

    def compile_loop(
        self, step: Step, specs: list[Any], state: list[Any], reads: list[Any]
    ) -> Loop:
        """Compile ``step`` into a loop, for data with these specs and a state like this one.

        Args:
            step: What runs for each batch.
            specs: The specs of the leaves.
            state: A state as the first step receives it.
            reads: Variables whose values of the moment the step reads, besides its state.

        Raises:
            UnsupportedModelError: The step writes to a state that isn't Keras's, so that
                running it would change the training.
        """
        ...

    def eager_loop(self, step: Step) -> Loop:
        """Make a loop that runs ``step`` batch by batch, for models that can't be compiled."""
        ...

    def scope(self, model: Any) -> AbstractContextManager[Any]:
        """Build what belongs to the model where its variables are kept."""
        ...

    def n_replicas(self, model: Any) -> int:
        """Return among how many devices each batch of the training is split, by its samples."""
        ...

    def replicas(self, model: Any) -> Replicas | None:
        """Return what shares the work of measuring the model; ``None`` for one device alone."""
        ...

    def is_chief(self, model: Any) -> bool:
        """Tell whether this process is the one of several that keeps records."""
        ...

    def runs_eagerly(self, model: Any) -> bool:
        """Tell whether Keras trains the model without a trace of it."""
        ...

    def random_states(self, seed: int) -> list[Any]:
        """Return the backend's own random states for a seed, which end the state of a loop.

        None where all that Keras draws is drawn from its seed generators.
        """
        ...

    def kept(self, model: Any) -> AbstractContextManager[None]:
        """Put back at the end what the model holds beside Keras's variables."""
        ...

    def settle(self, model: Any) -> None:
        """Let the model's variables hold what the running training has made of them."""
        ...

    def test_step(self, model: Any, data: Any) -> Any:
        """Run the model's ``test_step`` inside a stateless scope, and return its logs."""
        ...

    def to_device(self, leaf: Any) -> Any:
        """Put an array on the device."""
        ...

    def to_numpy(self, leaf: Any) -> np.ndarray:
        """Return the values of an array or a variable, without a warning of NumPy's."""
        ...

    def own(self, leaf: Any) -> Any:
        """Return an array with the same values that no one else writes to."""
        ...

    def concatenate(self, leaves: list[Any]) -> Any:
        """Lay device arrays end to end."""
        ...

    def n_bytes(self, leaf: Any) -> int:
        """Return the size of a device array in bytes."""
        ...

    def is_sparse(self, leaf: Any) -> bool:
        """Tell whether an array is a sparse tensor of this backend."""
        ...

    def is_ragged(self, leaf: Any) -> bool:
        """Tell whether an array is a ragged tensor of this backend."""
        ...

    def spec(self, leaf: Any) -> Any:
        """Return the spec of a device array, for any number of samples."""
        ...

    def any_length(self, spec: Any) -> Any:
        """Return a spec with any number of samples."""
        ...

    def can_tap(self, epoch_iterator: Any) -> bool:
        """Tell whether the batches of a fit can be kept as they pass."""
        ...

    def tap(self, epoch_iterator: Any, receive: Callable[[Any], None]) -> Any:
        """Let every batch of a fit that is about to begin pass through ``receive``.

        Returns:
            The structure of specs that a batch has; ``None`` where the first batch will tell.

        Raises:
            DataError: The pipeline can't be tapped.
        """
        ...

    def reads_ahead(self, epoch_iterator: Any) -> bool:
        """Tell whether threads prepare batches while the training runs."""
        ...

    def batches(self, adapter: Any) -> Any:
        """Return the batches of one of Keras's adapters, to be read again and again.

        Their ``element_spec`` is the structure of specs that a batch has.
        """
        ...

    def divert_random_state(self) -> Callable[[], None]:
        """Let the backend draw from another random state, and return what ends that."""
        ...

    def is_python(self, dataset: Any) -> bool:
        """Tell whether a dataset of this backend calls Python code of the user's."""
        ...

    def check_readable(self, dataset: Any) -> None:
        """Make sure that a dataset of this backend can be read without touching a training.

        Raises:
            DataError: It never ends, or draws at random from a state that may be shared.
        """
        ...


def active() -> Backend:
    """Return the module for the backend that Keras runs on.

    Raises:
        UnsupportedBackendError: lossgap doesn't measure on this backend.
    """
    name = keras.config.backend()
    if name not in _SUPPORTED:
        raise UnsupportedBackendError(
            f"lossgap measures on these backends of Keras: {', '.join(_SUPPORTED)}. Received: "
            f"KERAS_BACKEND={name}. Set KERAS_BACKEND=tensorflow before keras is imported."
        )
    return cast("Backend", importlib.import_module(f"lossgap.core.backends.{name}"))
