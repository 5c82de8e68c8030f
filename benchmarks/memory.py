"""What a measurement costs in memory: the peak of a process with it, against one without.

Every run is a process of its own, whose peak resident memory the operating system tells.
Processes with and without the measurement alternate, and the median is taken.

Usage: python benchmarks/memory.py [--runs 3] [--gigabytes 2]
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEGABYTE = 2**20
N_FEATURES = 256
STREAM_BATCH = 1024
STREAM_LIMIT = 64 * MEGABYTE
FEW_BATCHES = 3 * MEGABYTE  # what measures too, with next to no sample
TARGET = 1.05


def peak_bytes() -> int:
    """Return the peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def network() -> Any:
    """Build a tiny model of wide inputs, so that the data are all that weighs."""
    import keras

    keras.utils.set_random_seed(0)
    stack = [
        keras.layers.Input((N_FEATURES,)),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(1, kernel_regularizer="l2"),
    ]
    model = keras.Sequential(stack)
    model.compile(keras.optimizers.SGD(1e-4), "mse", metrics=["mae"])
    return model


def train_on_arrays(job: dict[str, Any], callbacks: list[Any]) -> None:
    """Train for an epoch on arrays in memory, or on a file that is mapped into it."""
    import numpy as np

    dtype = np.dtype(job["dtype"])
    n_samples = job["n_bytes"] // (dtype.itemsize * N_FEATURES)
    if job["path"] is None:
        x = np.ones((n_samples, N_FEATURES), dtype)
    else:
        x = np.memmap(job["path"], dtype, "r", shape=(n_samples, N_FEATURES))
    y = np.ones((n_samples, 1), np.float32)
    network().fit(x, y, batch_size=8192, verbose=0, callbacks=callbacks)


def train_on_a_stream(n_bytes: int, callbacks: list[Any]) -> None:
    """Train on batches that a generator makes without an end, of that size in all."""
    import numpy as np

    def batches() -> Iterator[tuple[Any, Any]]:
        while True:
            yield (
                np.ones((STREAM_BATCH, N_FEATURES), np.float32),
                np.ones((STREAM_BATCH, 1), np.float32),
            )

    steps = n_bytes // (4 * N_FEATURES * STREAM_BATCH)
    network().fit(
        batches(),
        steps_per_epoch=steps // 2,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


def run_here(job: dict[str, Any]) -> None:
    """Do one job in this process, and print its peak and what was measured."""
    import lossgap

    callbacks = []
    if job["measured"]:
        callbacks = [lossgap.TrueLoss(**job["options"])]
    if job["feed"] == "stream":
        train_on_a_stream(job["n_bytes"], callbacks)
    else:
        train_on_arrays(job, callbacks)
    measured = [[m.n_samples, m.n_total] for c in callbacks for m in c.measurements]
    print(json.dumps({"peak": peak_bytes(), "measured": measured}))


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job in a new process."""
    done = subprocess.run(  # noqa: S603  # this very file
        [sys.executable, __file__, "--job", json.dumps(job)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(job: dict[str, Any], n_runs: int) -> tuple[float, float, list[Any]]:
    """Return the median peaks without and with the measurement, and what was measured."""
    jobs = [{**job, "measured": measured} for measured in (False, True)]
    pairs = [tuple(run(each) for each in jobs) for _ in range(n_runs)]
    peaks = [statistics.median(each["peak"] for each in side) for side in zip(*pairs, strict=True)]
    return peaks[0], peaks[1], pairs[0][1]["measured"]


def report_arrays(title: str, n_runs: int, **changes: Any) -> None:
    """Print the ratio of the peaks for a fit on arrays."""
    job = {"feed": "arrays", "path": None, "dtype": "float32", "options": {}, **changes}
    without, with_it, measured = compare(job, n_runs)
    met = "met" if with_it / without <= TARGET else "not met"
    print(f"\n{title}: {job['n_bytes'] / 1e9:.2f} GB, {measured[-1][0]:,} samples measured")
    print(f"  peak without lossgap  {without / 1e6:9,.0f} MB")
    print(f"  peak with lossgap     {with_it / 1e6:9,.0f} MB")
    print(f"  ratio                 {with_it / without:9.3f}     target {TARGET}: {met}")


def report_stream(n_bytes: int, n_runs: int) -> None:
    """Print what a tapped stream adds to the peak, against its limit."""
    job = {"feed": "stream", "n_bytes": n_bytes, "path": None}
    job["options"] = {"max_bytes": STREAM_LIMIT}
    without, with_it, measured = compare(job, n_runs)
    n_samples, n_total = measured[-1]
    kept = n_samples * 4 * (N_FEATURES + 1)
    print(f"\nEndless stream, {n_bytes / 1e9:.2f} GB seen, max_bytes {STREAM_LIMIT / 1e6:.0f} MB")
    print(f"  kept at the end       {kept / 1e6:9,.0f} MB  {n_samples:,} of {n_total:,} samples")
    print(f"  peak without lossgap  {without / 1e6:9,.0f} MB")
    print(f"  peak with lossgap     {with_it / 1e6:9,.0f} MB")
    job["options"] = {"max_bytes": FEW_BATCHES}
    few = compare(job, n_runs)[1]
    job["options"] = {"max_bytes": STREAM_LIMIT, "parts": False}
    no_parts = compare(job, n_runs)[1]
    for name, added in (
        ("added, all in all     ", with_it - without),
        ("added by the sample   ", with_it - few),
        ("  without the parts   ", no_parts - few),
    ):
        print(f"  {name}{added / 1e6:9,.0f} MB     {added / STREAM_LIMIT:.2f} of the limit")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="processes of each kind")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the data")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_here(json.loads(arguments.job))
        return
    n_bytes = int(arguments.gigabytes * 1e9)
    report_arrays("NumPy array", arguments.runs, n_bytes=n_bytes)
    report_arrays("NumPy array of float64", arguments.runs, n_bytes=n_bytes, dtype="float64")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        with path.open("wb") as file:
            for _ in range(-(-n_bytes // (16 * MEGABYTE))):
                file.write(b"\0" * (16 * MEGABYTE))
        report_arrays("Memory-mapped file", arguments.runs, n_bytes=n_bytes, path=str(path))
    report_stream(n_bytes, arguments.runs)


if __name__ == "__main__":
    main()
