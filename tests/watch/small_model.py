"""A small model whose checkpoints are measured."""

import keras


def build():
    """Build and compile a small model."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, kernel_regularizer="l2"),
            keras.layers.Dropout(0.2),
        ]
    )
    model.compile("adam", "mse")
    return model
