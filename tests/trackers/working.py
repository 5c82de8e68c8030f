"""A training whose data come from other processes: ``python working.py START_METHOD FOLDER``.

Trains so with trackers, and without both, and prints what was measured and whether the weights are
the same.
"""

import json
import multiprocessing
import os
import sys
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

import keras
from tracking import Book, set_mood

import lossgap
from lossgap.trackers import outbox
from small import linear, regression, state

N_EPOCHS = 2


class Batches(keras.utils.PyDataset):
    """Batches that processes of their own make, which tell that they did."""

    def __init__(self, folder, **how):
        super().__init__(**how)
        self.folder = folder
        self.x, self.y = regression()

    @property
    def num_batches(self):
        return 3

    def __getitem__(self, index):
        (self.folder / f"worker-{os.getpid()}").touch()
        rows = slice(32 * index, 32 * (index + 1))
        return self.x[rows], self.y[rows]


class Mood(keras.callbacks.Callback):
    """Lets a tracker hang while the first processes are made, and then answer."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_train_begin(self, logs=None):
        set_mood(self.path, "hangs")

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == N_EPOCHS - 1:
            set_mood(self.path, "works")


def train(data, trackers, *callbacks):
    """Train, and return the callback that measured, and the bytes of all variables."""
    model, callback = linear(), lossgap.TrueLoss(trackers=trackers)
    model.fit(
        data,
        epochs=N_EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[callback, *callbacks],
    )
    return callback, [variable.tobytes() for variable in state(model)]


def main():
    """Train twice, and print one line of JSON."""
    multiprocessing.set_start_method(sys.argv[1])
    folder = Path(sys.argv[2])
    outbox.PATIENCE = outbox.FIRST_PATIENCE = outbox.LAST_PATIENCE = 300.0  # however busy it is
    book = Book(folder / "book.txt")
    trackers = [
        book,
        lossgap.mlflow.MLflowTracker(
            tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", panels=False, view=False
        ),
        lossgap.tensorboard.TensorBoardTracker(folder / "logs"),
    ]
    by_processes = Batches(folder, workers=2, use_multiprocessing=True)
    callback, logged = train(by_processes, trackers, Mood(book.path))
    other, alone = train(Batches(folder), ())
    told = {
        "losses": [measured.true_loss for measured in callback.measurements],
        "alone": [measured.true_loss for measured in other.measurements],
        "same": logged == alone,
        "troubles": callback.troubles,
        "me": os.getpid(),
    }
    print(json.dumps(told))  # noqa: T201 - to the test


if __name__ == "__main__":
    main()
