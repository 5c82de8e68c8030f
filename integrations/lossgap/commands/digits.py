"""Three small models on scikit-learn's digits, each with another cause of the gap."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lossgap.errors import MissingDependencyError

# Read once, when TensorFlow's C++ library is loaded. oneDNN announces itself at any log level,
# and without it the order of summation doesn't depend on the processor. MLflow tells of every
# table that it makes.
_QUIET: Final = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_EXTRA: Final = ("sklearn", "tensorflow")
_OTHER_BACKEND: Final = "install it, or let KERAS_BACKEND=tensorflow choose Keras's backend"


@dataclass(frozen=True, slots=True)
class Example:
    """A model of the demo.

    Attributes:
        name: One word, for runs and folders.
        title: What the model is.
        build: Returns it, compiled. Keras must have been prepared before.
    """

    name: str
    title: str
    build: Callable[[], Any]


def prepare() -> None:
    """Import what the demo needs, and keep TensorFlow's start-up messages off the screen.

    Settings that the user made in the environment stand.

    Raises:
        MissingDependencyError: scikit-learn, Keras's backend or another package is missing.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        with _native_stderr_silenced():
            import keras
            import sklearn.datasets  # noqa: F401

            keras.ops.zeros(())  # starts the devices, which have their say too
    except ModuleNotFoundError as error:
        wanted = (error.name or "").partition(".")[0] in _EXTRA
        raise MissingDependencyError(
            f"lossgap demo needs {error.name}, which is not installed: "
            + ('pip install "lossgap[demo]"' if wanted else _OTHER_BACKEND)
        ) from error


@contextmanager
def _native_stderr_silenced() -> Iterator[None]:
    """Silence what C++ code writes to standard error; Python's exceptions pass.

    TensorFlow's start-up has messages that no setting switches off.
    """
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def load() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load the digits: 1,797 images of shape (8, 8, 1) with values in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[..., np.newaxis] / 16).astype(np.float32)
    return images, digits.target.astype(np.int64)


def _dropout() -> Any:
    from keras import Sequential, layers

    return _compiled(
        Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.Flatten(),
                layers.Dropout(0.4),
                layers.Dense(32, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
    )


def _l2() -> Any:
    from keras import Sequential, layers

    return _compiled(
        Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.Flatten(),
                layers.Dense(64, activation="relu", kernel_regularizer="l2"),
                layers.Dense(10, activation="softmax", kernel_regularizer="l2"),
            ]
        )
    )


def _convolution() -> Any:
    from keras import Sequential, layers

    return _compiled(
        Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.RandomTranslation(0.1, 0.1),
                layers.RandomRotation(0.05),
                layers.Conv2D(16, 3, use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Flatten(),
                layers.Dense(10, activation="softmax"),
            ]
        )
    )


def _compiled(model: Any) -> Any:
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


EXAMPLES: Final = (
    Example("dropout", "A dense network with dropout 0.4 on its input", _dropout),
    Example("l2", "A dense network with L2 penalties on its weights", _l2),
    Example(
        "convolution",
        "A convolution with batch normalization and augmentation layers",
        _convolution,
    ),
)
