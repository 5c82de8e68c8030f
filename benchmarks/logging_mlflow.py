"""Print what logging to MLflow costs the training: ``python benchmarks/logging_mlflow.py``.

Two ``mlflow server`` on loopback; one is killed. Three figures:

1. What the thread that trains pays for a measurement: from handing it over to going on.
2. What one synchronous ``log_batch`` of the same numbers would cost it.
3. The same training without a tracker, with a live and with a killed server, in turns: ratios of
   the medians, beside the spread of the trainings without a tracker.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

import keras
import mlflow
import numpy as np
from mlflow.entities import Metric

import lossgap
from lossgap.core.observers import Training
from lossgap.trackers import Delivery

LIMIT_MS = 0.3


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, Any]]:
    """Run a server, and yield its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    uri = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
    try:
        while True:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=2).close()  # noqa: S310
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        yield uri, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measurement(epoch: int) -> lossgap.Measurement:
    """Return a measurement with a usual number of numbers."""
    parts = {name: lossgap.Part(0.1, 0.01) for name in ("penalty", "dropout", "drift")}
    return lossgap.Measurement(
        0.5, epoch=epoch, reported_loss=0.8, val_loss=0.7, true_val_loss=0.65, parts=parts
    )


def handing_over(uri: str, n: int) -> list[float]:
    """Return the milliseconds that each of ``n`` measurements takes from the training."""
    client = mlflow.MlflowClient(uri)
    run_id = client.create_run("0").info.run_id
    delivery = Delivery(lossgap.mlflow.MLflowTracker(run_id, tracking_uri=uri, panels=False))
    delivery.begin(Training({"every": 1, "unit": "epoch"}))
    spent = []
    for epoch in range(n):
        start = time.perf_counter()
        delivery.measured(measurement(epoch))
        spent.append(1e3 * (time.perf_counter() - start))
        time.sleep(0.02)  # an epoch, in which the other thread works
    delivery.end(None)
    return spent


def waiting(uri: str, n: int) -> list[float]:
    """Return the milliseconds of ``n`` synchronous batches of the same numbers."""
    client = mlflow.MlflowClient(uri)
    run_id = client.create_run("0").info.run_id
    spent = []
    for epoch in range(n):
        values = measurement(epoch).tracked().items()
        metrics = [Metric(name, value, 1_000 * epoch, epoch) for name, value in values]
        start = time.perf_counter()
        client.log_batch(run_id, metrics=metrics)
        spent.append(1e3 * (time.perf_counter() - start))
    return spent


def training_seconds(tracker: lossgap.mlflow.MLflowTracker | None, epochs: int) -> float:
    """Return the seconds of a training that is measured, and logged where there is a tracker."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20_000, 64)).astype("float32"), rng.integers(0, 10, 20_000)
    model = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(128, "relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    callback = lossgap.TrueLoss(x, y, trackers=tracker or ())
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lossgap.LossgapWarning)  # of the killed server
        model.fit(x, y, epochs=epochs, verbose=0, callbacks=[callback])
    return time.perf_counter() - start


def trainings(live: str, dead: tuple[str, str], options: Any) -> dict[str, list[float]]:
    """Return the seconds of trainings of each kind, in turns."""
    run_id = mlflow.MlflowClient(live).create_run("0").info.run_id
    tracker = lossgap.mlflow.MLflowTracker
    kinds = {
        "without": lambda: None,
        "live": lambda: tracker(run_id, tracking_uri=live, panels=False),
        "killed": lambda: tracker(dead[1], tracking_uri=dead[0], panels=False),
    }
    training_seconds(None, 1)  # warms up
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(options.rounds):
        for kind in [*kinds][:: 1 if turn % 2 else -1]:
            spent[kind].append(training_seconds(kinds[kind](), options.epochs))
    return spent


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=200, help="measurements")
    parser.add_argument("--epochs", type=int, default=20, help="of each training")
    parser.add_argument("--rounds", type=int, default=6, help="trainings of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["LOSSGAP_OUTBOX"] = str(folder / "outbox")
        (folder / "dead").mkdir()
        with server(folder / "dead") as (dead, process):
            dead_run = mlflow.MlflowClient(dead).create_run("0").info.run_id
            os.killpg(process.pid, signal.SIGKILL)
        with server(folder) as (live, _):
            spent = handing_over(live, options.n)
            batch = statistics.median(waiting(live, min(options.n, 50)))
            seconds = trainings(live, (dead, dead_run), options)
    median = statistics.median(spent)
    verdict = "pass" if median < LIMIT_MS else "FAIL"
    print(
        f"a measurement on the thread that trains   {median:8.3f} ms  limit {LIMIT_MS}: {verdict}"
    )
    print(f"  the slowest of {options.n:<5}                      {max(spent):8.3f} ms")
    print(f"one synchronous log_batch                 {batch:8.3f} ms  {batch / median:.0f} times")
    medians = {kind: statistics.median(times) for kind, times in seconds.items()}
    plain = seconds["without"]
    spread = (max(plain) - min(plain)) / medians["without"]
    print(f"a training without a tracker              {medians['without']:8.3f} s")
    for kind in ("live", "killed"):
        ratio = medians[kind] / medians["without"]
        print(f"  with a {kind:<6} server                    {ratio:8.3f} times that")
    ratio = medians["killed"] / medians["live"]
    print(f"  killed against live                     {ratio:8.3f}     spread: {spread:.2f}")


if __name__ == "__main__":
    main()
