"""What logging for TensorBoard costs a training: seconds on its thread per measurement.

A measurement is put into the outbox on the thread that trains; another thread writes it. Both
are timed, the first with the second at work, as beside a training.

Usage: python benchmarks/logging_tensorboard.py
"""

import statistics
import tempfile
import time
from pathlib import Path

from lossgap.core.measurement import Measurement, MetricValues, Part, Penalty
from lossgap.core.observers import Training
from lossgap.tensorboard import TensorBoardTracker
from lossgap.trackers import Delivery

N = 500
PAUSE_SECONDS = 0.002


def measurement(step: int, n_layers: int) -> Measurement:
    """Make a measurement with four parts, two metrics, and a penalty for each layer."""
    return Measurement(
        true_loss=1 / (step + 1),
        epoch=step,
        reported_loss=1.5 / (step + 1),
        val_loss=1.4,
        true_val_loss=1.3,
        parts={name: Part(0.1, 0.01) for name in ("penalty", "dropout", "batch_norm", "drift")},
        penalties=tuple(Penalty(f"encoder/dense_{i}", "l2", 0.01) for i in range(n_layers)),
        metrics={name: MetricValues(0.9, 0.8, 0.7) for name in ("accuracy", "auc")},
        n_samples=1000,
        n_total=60_000,
        standard_error=0.01,
        seconds=0.05,
    )


def on_the_training_thread(log_dir: Path, n_layers: int) -> list[float]:
    """Time what the training waits for: putting a measurement into the outbox."""
    delivery = Delivery(TensorBoardTracker(log_dir))
    delivery.begin(Training({}))
    times = []
    for step in range(N):
        made = measurement(step, n_layers)
        began = time.perf_counter()
        delivery.measured(made)
        times.append(time.perf_counter() - began)
        time.sleep(PAUSE_SECONDS)
    delivery.end(None)
    return times


def on_the_other_thread(log_dir: Path, n_layers: int) -> list[float]:
    """Time the writing itself: every file is flushed with every measurement."""
    tracker = TensorBoardTracker(log_dir)
    tracker.start(Training({}))
    times = []
    for step in range(N):
        made = measurement(step, n_layers)
        began = time.perf_counter()
        tracker.log(made, time.time())
        times.append(time.perf_counter() - began)
    tracker.finish(None, failed=False)
    return times[1:]  # the first one opens the files


def milliseconds(times: list[float]) -> str:
    """Tell the median and the 99th percentile."""
    return (
        f"{1e3 * statistics.median(times):8.3f} {1e3 * statistics.quantiles(times, n=100)[98]:8.3f}"
    )


if __name__ == "__main__":
    print(f"{N} measurements; milliseconds, median and 99th percentile\n")
    print("penalized layers   on the training's thread   on the other thread   bytes a measurement")
    for n_layers in (0, 10, 100, 1000):
        with tempfile.TemporaryDirectory() as folder:
            waited = on_the_training_thread(Path(folder, "one"), n_layers)
            written = on_the_other_thread(Path(folder, "two"), n_layers)
            size = sum(path.stat().st_size for path in Path(folder, "two").rglob("*tfevents*"))
        print(
            f"{n_layers:16}   {milliseconds(waited):>24}   {milliseconds(written):>19}   "
            f"{size // N:19,}"
        )
