"""Choose a regularizer by the loss on new data, not by the curve: python examples/sweep.py.

Keras's two losses rank regularizers by how they look. Measured alike, the ranking is another one.
Writes sweep.html, a report that compares all of them, into the current directory, or into the
one that is named.
"""

import sys
from pathlib import Path

import keras
from sklearn.datasets import load_digits

import lossgap
from lossgap.charts import Run, write_report

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
digits = load_digits()
x, y = digits.data / 16, digits.target
layers, regularizers = keras.layers, keras.regularizers
SWEEP = {
    "none": ([], None),
    "dropout 0.5": ([layers.Dropout(0.5)], None),
    "noise 0.3": ([layers.GaussianNoise(0.3)], None),
    "L2 0.001": ([], regularizers.L2(0.001)),
    "L1 0.001": ([], regularizers.L1(0.001)),
}


def train(mechanisms, penalty):
    """Train with a regularizer, and return the measurements."""
    keras.utils.set_random_seed(0)
    hidden = layers.Dense(128, activation="relu", kernel_regularizer=penalty)
    output = layers.Dense(10, activation="softmax")
    model = keras.Sequential([layers.Input((64,)), hidden, *mechanisms, output])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    callback = lossgap.TrueLoss()
    lossgap.fit(model, x, y, epochs=10, validation_split=0.2, verbose=0, true_loss=callback)
    return callback.measurements


runs = [Run(name, tuple(train(*options))) for name, options in SWEEP.items()]
last = {run.name: run.measurements[-1] for run in runs}
print(f"{'':12}  {'loss':>7} {'val_loss':>8}   {'true':>7} {'true val':>8}  generalization gap")
for name, m in sorted(last.items(), key=lambda pair: pair[1].true_val_loss):
    keras_says = f"{m.reported_loss:7.4f} {m.val_loss:8.4f}"
    alike = f"{m.true_loss:7.4f} {m.true_val_loss:8.4f}"
    print(f"{name:12}  {keras_says}   {alike}  {m.generalization_gap:18.4f}")
by_curve = min(last, key=lambda name: abs(last[name].reported_loss - last[name].val_loss))
best = min(last, key=lambda name: last[name].true_val_loss)
print(f"Curves that lie closest: {by_curve}. Lowest loss on new data: {best}.")
write_report(folder / "sweep.html", runs, title="Regularizers on the digits")
print(f"All of them, epoch by epoch: {folder / 'sweep.html'}")
