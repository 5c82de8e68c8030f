"""How each Keras backend compiles a loop over batches.

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
    """A compiled loop of one step over the batches of in-memory arrays."""

    def __call__(
        self, leaves: list[Any], batch_size: int, state: list[Any]
    ) -> tuple[np.ndarray, list[Any]]:
        """Run the step over all batches.

        Args:
            leaves: Device arrays of shape ``(n_samples, ...)``.
            batch_size: Samples in a batch; the last batch may be smaller.
            state: Device arrays that the first step receives.

        Returns:
            Rows of float64 scalars, shape ``(n_batches, n_columns)``, and the state
            after the last batch.
        """
        ...


class Backend(Protocol):
    """What a backend module offers."""

    def compile_loop(self, step: Step, leaves: list[Any], state: list[Any]) -> Loop:
        """Compile ``step`` into a loop, for data and state like the given ones."""
        ...

    def to_device(self, leaf: Any) -> Any:
        """Put an array on the device."""
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
