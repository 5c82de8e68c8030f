"""How far the reported loss is from the true one under dropout: python examples/article.py.

The question that this project starts from, asked of scikit-learn's digits: a dense network, once
for each of four dropout rates. Writes true-loss.gif, the plot that everybody knows turning into
the true one, into the current directory, or into the one that is named.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import lossgap
from lossgap.charts import Run, write_gif

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
digits = load_digits()
x, y = digits.data / 16, digits.target


def train(rate):
    """Train a network with this dropout rate, and return its measurements."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dropout(rate),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dropout(rate),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    callback = lossgap.TrueLoss(parts=False)  # the causes aren't asked for here
    lossgap.fit(model, x, y, epochs=13, validation_split=0.2, verbose=0, true_loss=callback)
    return callback.measurements


print("dropout  reported/true, mean over epochs  epochs with reported > val  with true > val")
for rate in (0.0, 0.2, 0.4, 0.6):
    measured = train(rate)
    ratio = np.mean([m.reported_loss / m.true_loss for m in measured])
    apparent = sum(m.reported_loss > m.val_loss for m in measured)
    real = sum(m.true_loss > m.true_val_loss for m in measured)
    print(f"{rate:7}  {ratio:30.2f}x  {apparent:26}  {real:15}")
write_gif(folder / "true-loss.gif", Run("dropout 0.6", tuple(measured)))
print(f"Animation of the last: {folder / 'true-loss.gif'}")
