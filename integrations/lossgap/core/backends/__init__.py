"""What differs between the backends that Keras runs on: compiling loops, reading pipelines.

Keras has no backend-neutral way to compile a function, so each module here may
import the backend that it is named after. It is loaded only when Keras runs on it.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast

import keras
import numpy as np

from lossgap.errors import UnsupportedBackendError

# One batch and the carried state in, a row of scalars and the new state out.
Step = Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]]

_SUPPORTED = ("tensorflow",)


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


class Backend(Protocol):
    """What a backend module offers. Specs are the backend's own: shape and dtype of a leaf."""

    def compile_loop(self, step: Step, specs: list[Any], state: list[Any]) -> Loop:
        """Compile ``step`` into a loop, for data with these specs and a state like this one.

        Raises:
            UnsupportedModelError: The step writes to a state that isn't Keras's, so that
                running it would change the training.
        """
        ...

    def eager_loop(self, step: Step) -> Loop:
        """Make a loop that runs ``step`` batch by batch, for models that can't be compiled."""
        ...

    def to_device(self, leaf: Any) -> Any:
        """Put an array on the device."""
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

    def tap(self, epoch_iterator: Any, receive: Callable[[Any], None]) -> Any:
        """Let every batch of a fit that is about to begin pass through ``receive``.

        Returns:
            The structure of specs that a batch has.

        Raises:
            DataError: The pipeline can't be tapped.
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
            f"lossgap measures on the {' and '.join(_SUPPORTED)} backend of Keras. "
            f"Received: KERAS_BACKEND={name}. Set KERAS_BACKEND=tensorflow before keras "
            "is imported."
        )
    return cast("Backend", importlib.import_module(f"lossgap.core.backends.{name}"))
