"""A tracker of your own, in thirty lines: python examples/own_tracker.py.

Appends every measurement to a table, measurements.csv, in the current directory or in the one
that is named. docs/add-a-tracker.md tells what each method has to do.
"""

import csv
import sys
from pathlib import Path

import keras
from sklearn.datasets import load_digits

import lossgap


class TableTracker:
    """Appends a line for each number of each measurement to a CSV file."""

    name = "table"

    def __init__(self, path="measurements.csv"):
        self.path = Path(path)
        self.training = 0

    def start(self, training):
        """Begin a training: on the thread that trains, so nothing here waits."""
        del training
        self.training += 1

    def log(self, measurement, wall_time):
        """Write all numbers of a measurement: on another thread, which may wait."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            for name, value in measurement.tracked().items():
                csv.writer(file).writerow(
                    [self.training, measurement.epoch, wall_time, name, repr(value)]
                )

    def finish(self, summary, *, failed):
        """End the training; the lines are printed by a fit that prints."""
        del summary, failed
        return [f"Table: {self.path}"]


def main():
    """Train a small model, and log to the table."""
    keras.utils.set_random_seed(0)
    digits = load_digits()
    model = keras.Sequential(
        [keras.layers.Input((64,)), keras.layers.Dropout(0.4), keras.layers.Dense(10, "softmax")]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    tracker = TableTracker(Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "measurements.csv")
    callbacks = [lossgap.TrueLoss(trackers=tracker)]
    model.fit(digits.data / 16, digits.target, epochs=3, callbacks=callbacks, verbose=0)
    for line in tracker.path.read_text(encoding="utf-8").splitlines()[:3]:
        print(line)


if __name__ == "__main__":
    main()
