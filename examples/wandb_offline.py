"""Every fit's true loss in a Weights & Biases run, offline: python examples/wandb_offline.py.

Writes wandb/ into the current directory, or into the one that is named. Nothing is sent.
"""

import os
import sys
from pathlib import Path

import keras
import wandb
from sklearn.datasets import load_digits

import lossgap

if len(sys.argv) > 1:
    os.chdir(sys.argv[1])
lossgap.wandb.autolog()  # logs to the run that is active when a fit begins

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

# Leave mode="offline" out once you have logged in with `wandb login`.
settings = wandb.Settings(silent=True)
with wandb.init(project="digits", mode="offline", settings=settings) as run:
    model.fit(digits.data / 16, digits.target, epochs=5, validation_split=0.2, verbose=0)
    folder = Path(run.dir).parent.relative_to(Path.cwd())

wandb.teardown()  # W&B writes the last rows a moment after the end of a run: this waits for them
(found,) = lossgap.wandb.read_runs(folder)
last = found.measurements[-1]
print(f"reported {last.reported_loss:.4f}  true {last.true_loss:.4f}")
print(f"of which the penalty is {last.parts['penalty'].value:.4f}")
print(f"Look at it: wandb leet {folder}")
