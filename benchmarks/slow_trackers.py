"""Print what a dead and a slow tracker cost a training: ``python benchmarks/slow_trackers.py``.

One ``mlflow server`` on loopback, behind a proxy that refuses connections (dead), answers each
request after 10 s (slow), or hands on (live). The same training without a tracker, twice, and
with each, in turns in one run; after each turn all that waits is delivered, so that no turn pays
for the one before. The first three figures are ratios to the training without, medians of the
rounds:

1. The training itself, from ``fit`` to the end of the last epoch. Limit: 1.02.
2. The processor's time of the same, of all threads, which other programs hardly change.
3. With its end, which waits for a tracker: at most a second for one that is dead, 15 s for one
   that is slow and works.
4. What the thread that trains waits while it hands measurements over, as a share of the training.

The second training without a tracker tells the noise; a limit means something where that is small.
The weights are the same to the last bit, or the exit code is 1.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

import keras
import mlflow
import numpy as np

import lossgap
from lossgap.trackers import Delivery, journal

TESTS = Path(__file__).resolve().parents[1] / "tests" / "mlflow_tracker"
LIMIT = 1.02
PROXY = """
import sys
sys.path.insert(0, sys.argv[1])
from faulty_proxy import Proxy
proxy = Proxy(sys.argv[2])
port = proxy.uri.rpartition(":")[2]
proxy.__enter__()
print(proxy.uri, flush=True)
for line in sys.stdin:
    if line == "dead\\n":
        proxy.__exit__()
        proxy = None
    elif proxy is None:
        proxy = Proxy(sys.argv[2], port=int(port))
        proxy.__enter__()
    if proxy is not None:
        proxy.fault = 10.0 if line == "slow\\n" else None
    print("done", flush=True)
"""
KINDS = ("without", "without again", "live", "dead", "slow")


@contextmanager
def proxied(target: str) -> Iterator[tuple[str, Callable[[str], None]]]:
    """Run the proxy in a process of its own; yield its address, and what changes its mood."""
    command = [sys.executable, "-c", PROXY, str(TESTS), target]
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        pipes: Any = process
        uri = pipes.stdout.readline().strip()

        def become(mood: str) -> None:
            pipes.stdin.write(f"{mood}\n")
            pipes.stdout.readline()

        yield uri, become
        process.kill()


class Clock(keras.callbacks.Callback):
    """Knows when the last epoch ended; stands before the callbacks that wait at the end."""

    ended = processor = 0.0

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Look at the clocks."""
        del logs
        self.ended, self.processor = time.perf_counter(), time.process_time()


class Timed(Delivery):
    """Hands measurements over, and knows how long that took."""

    seconds = 0.0

    def measured(self, measurement: lossgap.Measurement) -> None:
        """Hand over."""
        began = time.perf_counter()
        super().measured(measurement)
        self.seconds += time.perf_counter() - began


@dataclass(frozen=True)
class Spent:
    """Seconds of one training: itself, of the processor, with its end, handing over."""

    itself: float
    processor: float
    whole: float
    handing_over: float


def training(trackers: Any, epochs: int) -> tuple[Spent, str]:
    """Train, and return what it took, and the hash of the weights."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20_000, 64)).astype("float32"), rng.integers(0, 10, 20_000)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(128, "relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    clock, callback, delivery = Clock(), lossgap.TrueLoss(x, y), Timed(trackers)
    callback.observer = delivery
    start, processor = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lossgap.LossgapWarning)
        model.fit(x, y, epochs=epochs, verbose=0, callbacks=[clock, callback])
    end = time.perf_counter()
    whole = b"".join(
        np.asarray(v).tobytes() for v in [*model.variables, *model.optimizer.variables]
    )
    spent = Spent(clock.ended - start, clock.processor - processor, end - start, delivery.seconds)
    return spent, hashlib.sha256(whole).hexdigest()


def rounds(server: str, n: int, epochs: int) -> tuple[dict[str, list[Spent]], set[str]]:
    """Return what each kind took in each round, and all hashes of the weights."""
    spent: dict[str, list[Spent]] = {kind: [] for kind in KINDS}
    hashes = set()
    run_id = mlflow.MlflowClient(server).create_run("0").info.run_id
    training((), 1)  # warms up
    with proxied(server) as (uri, become):
        for turn in range(n):
            for kind in KINDS[:: 1 if turn % 2 else -1]:
                tracker: Any = ()
                if not kind.startswith("without"):
                    become(kind)
                    tracker = lossgap.mlflow.MLflowTracker(run_id, tracking_uri=uri, panels=False)
                took, digest = training(tracker, epochs)
                spent[kind].append(took)
                hashes.add(digest)
                become("live")
                while journal.paths():
                    time.sleep(0.1)
            ratios = (
                f"{k} {t[-1].itself / spent['without'][-1].itself:.3f}" for k, t in spent.items()
            )
            print(f"round {turn + 1}: {', '.join(ratios)}", flush=True)
    return spent, hashes


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=20, help="of each training")
    parser.add_argument("--rounds", type=int, default=5, help="trainings of each kind")
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    from mlflow_server import Server

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["LOSSGAP_OUTBOX"] = str(folder / "outbox")
        with Server(folder / "mlflow.db", folder / "artifacts") as server:
            spent, hashes = rounds(server.uri, options.rounds, options.epochs)
    print(f"{'tracker':<15} training  ratio  processor  with its end  ratio      end  handing over")
    kept = True
    for kind, times in spent.items():
        itself, processor, whole = (
            statistics.median(
                getattr(one, name) / getattr(other, name)
                for one, other in zip(times, spent["without"], strict=True)
            )
            for name in ("itself", "processor", "whole")
        )
        kept = kept and (kind not in ("dead", "slow") or itself < LIMIT)
        print(
            f"{kind:<15}{statistics.median(t.itself for t in times):>7.2f} s{itself:>7.3f}"
            f"{processor:>11.3f}{statistics.median(t.whole for t in times):>12.2f} s{whole:>7.3f}"
            f"{statistics.median(t.whole - t.itself for t in times):>7.2f} s"
            f"{statistics.median(t.handing_over / t.itself for t in times):>13.3%}"
        )
    print(f"weights of {sum(map(len, spent.values()))} trainings: {len(hashes)} kind(s)")
    print(f"limit of a dead and a slow tracker: {LIMIT}: {'pass' if kept else 'FAIL'}")
    return int(len(hashes) != 1)


if __name__ == "__main__":
    raise SystemExit(main())
