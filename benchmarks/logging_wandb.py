"""What logging to W&B costs the thread that trains: beside run.log, taken in turn in one run.

Usage: python benchmarks/logging_wandb.py
"""

import os
import tempfile

os.environ |= {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off", "WANDB_ERROR_REPORTING": "false"}

import statistics
import time
from collections.abc import Callable

import wandb

import lossgap
from lossgap import Measurement, MetricValues, Part
from lossgap.core.observers import Training
from lossgap.trackers import Delivery
from lossgap.wandb import rows

ROUNDS = 1_000
PAUSE_SECONDS = 0.003
"""Between two measurements, as a training has something else to do."""

TARGET_SECONDS = 0.3e-3


def measurement(epoch: int) -> Measurement:
    """Return a measurement with what a usual one has: four losses, four parts, a metric."""
    parts = {"penalty": Part(0.02), "dropout": Part(0.08, 0.002), "batch_norm": Part(-0.01, 0.001)}
    return Measurement(
        true_loss=0.3 / (epoch + 1),
        epoch=epoch,
        step=100 * epoch,
        reported_loss=0.5 / (epoch + 1),
        val_loss=0.4,
        true_val_loss=0.38,
        parts=parts | {"drift": Part(0.03, 0.002)},
        metrics={"accuracy": MetricValues(0.9)},
        n_samples=60_000,
        n_total=60_000,
        seconds=0.03,
    )


def seconds(function: Callable[[], object]) -> float:
    """Time one call, after a pause."""
    time.sleep(PAUSE_SECONDS)
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def main() -> None:
    """Take the peers in turn, and print medians, 99 % quantiles and maxima."""
    with tempfile.TemporaryDirectory() as folder:
        run = wandb.init(mode="offline", project="benchmark", dir=folder)
        delivery = Delivery("wandb")
        delivery.begin(Training({"unit": "epoch"}))
        times: dict[str, list[float]] = {"lossgap": [], "run.log": []}
        for epoch in range(ROUNDS):
            whole = measurement(epoch)
            plain = {f"plain/{name[8:]}": value for name, value in rows.row(whole).items()}
            times["lossgap"].append(seconds(lambda w=whole: delivery.measured(w)))
            times["run.log"].append(seconds(lambda p=plain: run.log(p)))
        begin = time.perf_counter()
        delivery.end(None)
        end = time.perf_counter() - begin
        run.finish()
        wandb.teardown()
    print(
        f"lossgap {lossgap.__version__}, wandb {wandb.__version__}, offline; {len(plain)} numbers"
    )
    print(f"  {'':34}{'median':>10}{'99 %':>10}{'most':>10}")
    for name, told in {
        "lossgap": "lossgap, on the training's thread",
        "run.log": "run.log of the same numbers",
    }.items():
        found = sorted(times[name])
        figures = (statistics.median(found), found[int(0.99 * len(found))], found[-1])
        print(f"  {told:34}" + "".join(f"{1e3 * figure:7.3f} ms" for figure in figures))
    median = statistics.median(times["lossgap"])
    print(
        f"  lossgap : run.log, medians        {median / statistics.median(times['run.log']):10.3f}"
    )
    print(f"  the target, a median under 0.3 ms {median / TARGET_SECONDS:10.1%} of it")
    print(f"  the end of the training           {1e3 * end:7.3f} ms")


if __name__ == "__main__":
    main()
