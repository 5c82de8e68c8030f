"""The smallest model and data that a test about fitting needs."""

import keras
import numpy as np
from keras import layers


def regression(n=70, seed=0):
    """Return 70 samples of 4 features with a noisy linear target: two full batches and a rest."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype("float32")
    return x, (x @ np.array([1.0, -2.0, 0.5, 0.0]) + rng.normal(size=n)).astype("float32")[:, None]


def linear(*, dropout=0.3, l2=0.01, metrics=("mae",), loss="mse", seed=1, **compiling):
    """Return a compiled linear model with dropout on its input and an L2 penalty."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dropout(dropout),
            layers.Dense(1, kernel_regularizer=keras.regularizers.L2(l2)),
        ]
    )
    model.compile("sgd", loss, metrics=list(metrics), **compiling)
    return model


def mse(model, x, y, sample_weight=None):
    """Compute the mean squared error in NumPy, from the predictions."""
    errors = np.mean((model.predict(x, verbose=0).astype("float64") - y) ** 2, axis=-1)
    return float(np.mean(errors if sample_weight is None else errors * sample_weight))


def l2_penalty(model, l2=0.01):
    """Compute the penalty of :func:`linear` in NumPy."""
    return float(l2 * np.sum(model.layers[-1].kernel.numpy().astype("float64") ** 2))


def state(model):
    """Copy every variable that a training leaves behind."""
    variables = [*model.variables, *model.metrics_variables]
    if model.optimizer is not None:
        variables += model.optimizer.variables
    return [variable.numpy().copy() for variable in variables]


def assert_same_state(one, other):
    """Compare two states bit by bit."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
