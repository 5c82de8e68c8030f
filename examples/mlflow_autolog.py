"""One line before unchanged code, and MLflow has the true loss: python examples/mlflow_autolog.py.

Writes mlflow.db and mlruns/ into the current directory, or into the one that is named.
"""

import os
import sys

import keras
import mlflow
from sklearn.datasets import load_digits

import lossgap

if len(sys.argv) > 1:
    os.chdir(sys.argv[1])
mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("digits")

lossgap.mlflow.autolog()  # the one line

keras.utils.set_random_seed(0)
digits = load_digits()
model = keras.Sequential(
    [
        keras.layers.Input((64,)),
        keras.layers.Dropout(0.4),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(digits.data / 16, digits.target, epochs=5, validation_split=0.2, verbose=0)

(run,) = mlflow.search_runs(max_results=1, output_format="list")
for name in ("reported_loss", "true_loss", "regularization_gap", "gap_dropout", "true_val_loss"):
    print(f"{name:18}  {run.data.metrics[f'lossgap/{name}']:.4f}")
print("Look at it: mlflow ui --backend-store-uri sqlite:///mlflow.db")
