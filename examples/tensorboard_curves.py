"""The true loss on the card of TensorBoard's own: python examples/tensorboard_curves.py.

Writes logs/ into the current directory, or into the one that is named.
"""

import sys
from pathlib import Path

import keras
from sklearn.datasets import load_digits

import lossgap

logs = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "logs"
lossgap.tensorboard.autolog()  # writes beside Keras's own TensorBoard callback

keras.utils.set_random_seed(0)
digits = load_digits()
model = keras.Sequential(
    [
        keras.layers.Input((64,)),
        keras.layers.Dense(64, activation="relu", kernel_regularizer="l2"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(
    digits.data / 16,
    digits.target,
    epochs=5,
    validation_split=0.2,
    callbacks=[keras.callbacks.TensorBoard(logs / "l2")],
    verbose=0,
)

print("Curves:", ", ".join(sorted(path.name for path in (logs / "l2").iterdir())))
print(f"Look at it: tensorboard --logdir {logs}")
