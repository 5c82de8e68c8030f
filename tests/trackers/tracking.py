"""Trackers and processes for tests of what lies between a training and its trackers.

Nothing here imports Keras.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from lossgap import Measurement
from lossgap.trackers import journal
from lossgap.trackers.outbox import Outbox
from lossgap.trackers.records import Finish, Log

HERE = Path(__file__).resolve().parent
ENOUGH = 120.0  # seconds that a test waits for what has to happen


class PlainBook:
    """Writes each call as a line into a file; the word in a file beside it is its mood."""

    name = "plain"

    def __init__(self, path=None):
        self.path = Path(path or os.environ["BOOK"])
        self.trainings = []

    def start(self, training):
        self.trainings.append(training)

    def log(self, measurement, wall_time):
        self._write(
            {
                "epoch": measurement.epoch,
                "true_loss": repr(measurement.true_loss),
                "metrics": list(measurement.metrics),
                "wall_time": wall_time,
            }
        )

    def finish(self, summary, *, failed):
        n = None if summary is None else len(summary.measurements)
        self._write({"failed": failed, "n": n})
        return [f"It is written in {self.path.name}."]

    def _write(self, line):
        while (mood := mood_of(self.path)) == "hangs":
            time.sleep(0.005)
        if mood == "fails":
            raise ConnectionError("nobody answers\nand nobody will")
        if mood == "exits":
            raise SystemExit(3)
        if mood == "interrupts":
            raise KeyboardInterrupt
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Book(PlainBook):
    """A book that can be opened again by another process."""

    name = "book"

    def destination(self):
        return {"path": str(self.path)}

    @classmethod
    def resume(cls, destination):
        return cls(destination["path"])


class BufferedBook(Book):
    """A book that writes what it was given when it is told to: ``flush``."""

    name = "buffered"

    def __init__(self, path=None):
        super().__init__(path)
        self.buffer = []
        self.n_written = 0

    def log(self, measurement, wall_time):
        if mood_of(self.path) == "fails":
            raise ConnectionError("nobody answers")
        self.buffer.append((measurement, wall_time))

    def flush(self):
        for measurement, wall_time in self.buffer[self.n_written :]:
            super().log(measurement, wall_time)
            self.n_written += 1

    def n_safe(self):
        return self.n_written

    def has(self, measurement):
        return measurement.epoch in epochs(self.path)

    def close(self):
        self.flush()
        return [f"Closed {self.path.name}."]


def mood_of(path):
    with contextlib.suppress(OSError):
        return path.with_suffix(".mood").read_text()
    return "works"


def set_mood(path, mood):
    """Change the mood at once: no reader sees half a word."""
    draft = path.with_suffix(".draft")
    draft.write_text(mood)
    draft.replace(path.with_suffix(".mood"))


def lines(path):
    """Return the lines of a book."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def epochs(path):
    """Return the epochs in a book, in order, and "end" for the end."""
    return [line.get("epoch", "end") for line in lines(path)]


def log(epoch, **fields):
    fields = {"true_loss": 1.0 / (epoch + 1), "epoch": epoch} | fields
    return Log(Measurement(**fields), wall_time=1e9 + epoch)


END = Finish(None, failed=False)


def filled(tracker, n, *, end=True):
    """Return an outbox with ``n`` measurements in it, and the end of the training."""
    outbox = Outbox(tracker)
    for epoch in range(n):
        outbox.put(log(epoch))
    if end:
        outbox.put(END)
    return outbox


def wait_until(happened):
    """Wait for what has to happen."""
    last = time.monotonic() + ENOUGH
    while not happened():
        assert time.monotonic() < last, "it never happened"
        time.sleep(0.005)


def kept(outbox):
    """Tell how many records an outbox has on disk or delivered."""
    return max(outbox._backlog.n_kept, outbox._backlog.n_safe)


def n_journals():
    """Count the journals, but for files that were left empty.

    Whoever looks at a new file before its owner has it takes it away, unless its process ends.
    """
    files = [(path, path.with_name(f"{path.name}-wal")) for path in journal.paths()]
    return sum(any(f.exists() and f.stat().st_size for f in pair) for pair in files)


def run_python(program, *, warnings="error", **variables):
    """Run a program in a process of its own, which can import these tests' modules."""
    return subprocess.run(
        [sys.executable, "-W", warnings, "-c", program],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * ENOUGH,
    )


def environment(**variables):
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])} | variables
