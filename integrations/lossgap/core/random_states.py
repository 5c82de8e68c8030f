"""The random states that a whole process shares, put back after something drew from them."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from lossgap.core import backends


@contextmanager
def kept() -> Iterator[None]:
    """Put the states of Python, NumPy, PyTorch and the Keras backend back at the end.

    Not for use while other threads draw: their draws would be repeated.
    """
    torch = sys.modules.get("torch")
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the state that users draw from
    torch_state = None if torch is None else torch.get_rng_state()
    restore_backend = backends.active().divert_random_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        if torch is not None:
            torch.set_rng_state(torch_state)
        restore_backend()
