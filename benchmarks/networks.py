"""Four small networks with synthetic data that they can learn, for the benchmarks."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

N_CLASSES = 10
NOISE = 1.6
WRONG_LABELS = 0.02


def clusters(n_samples: int, shape: tuple[int, ...], seed: int = 0) -> tuple[Any, Any]:
    """Draw samples around three centres for each class, some with a wrong label.

    They are drawn in pieces, so that ten million take no more than their own memory.
    """
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(N_CLASSES, 3, *shape)).astype(np.float32)
    x = np.empty((n_samples, *shape), np.float32)
    y = rng.integers(0, N_CLASSES, n_samples)
    for start in range(0, n_samples, 2**16):
        piece = slice(start, min(start + 2**16, n_samples))
        n = piece.stop - piece.start
        spread = rng.gamma(4, 0.25, (n,) + (1,) * len(shape)).astype(np.float32)
        noise = rng.standard_normal((n, *shape), np.float32)
        x[piece] = centres[y[piece], rng.integers(0, 3, n)] + NOISE * spread * noise
    wrong = rng.random(n_samples) < WRONG_LABELS
    y[wrong] = rng.integers(0, N_CLASSES, int(wrong.sum()))
    return x, y


def dense() -> Any:
    """Return a network like that of the starting article: 64-32-10 with dropout."""
    return keras.Sequential(
        [
            layers.Input((64,)),
            layers.Dropout(0.4),
            layers.Dense(32, "relu"),
            layers.Dense(N_CLASSES, "softmax"),
        ]
    )


def convolutional() -> Any:
    """Return a small convolutional network on 8 x 8 images."""
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(N_CLASSES, "softmax"),
        ]
    )


def recurrent() -> Any:
    """Return a GRU over 8 steps of 8 features."""
    return keras.Sequential(
        [
            layers.Input((8, 8)),
            layers.GRU(16),
            layers.Dropout(0.2),
            layers.Dense(N_CLASSES, "softmax"),
        ]
    )


def transformer() -> Any:
    """Return one transformer block over 8 tokens of 8 features."""
    inputs = keras.Input((8, 8))
    tokens = layers.Dense(16)(inputs)
    attended = layers.MultiHeadAttention(2, 8, dropout=0.1)(tokens, tokens)
    tokens = layers.LayerNormalization()(tokens + attended)
    hidden = layers.Dense(16)(layers.Dense(32, "gelu")(tokens))
    tokens = layers.LayerNormalization()(tokens + layers.Dropout(0.1)(hidden))
    pooled = layers.GlobalAveragePooling1D()(tokens)
    return keras.Model(inputs, layers.Dense(N_CLASSES, "softmax")(pooled))


NETWORKS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "dense": (dense, (64,)),
    "convolutional": (convolutional, (8, 8, 1)),
    "recurrent": (recurrent, (8, 8)),
    "transformer": (transformer, (8, 8)),
}


def compiled(name: str) -> Any:
    """Build and compile a network from a fixed seed."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[name][0]()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
