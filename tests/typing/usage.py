"""How a typed program uses lossgap. mypy reads this file, nothing runs it."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import lossgap
import lossgap.charts
import lossgap.trackers
from lossgap.trackers import tracking


def as_a_callback(model: Any, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> float:
    """Train with the callback, and read the record of the last epoch."""
    callback = lossgap.TrueLoss(x, y, every=2, parts=False, metrics=False, seed=1)
    model.fit(x, y, epochs=4, callbacks=[callback])
    last = callback.measurements[-1]
    assert_type(last, lossgap.Measurement)
    return last.true_loss


def on_large_data(model: Any, x: Any, y: Any) -> tuple[float, float] | None:
    """Estimate to a budget, and read the interval."""
    callback = lossgap.TrueLoss(budget=0.01, loss_range=(0.0, 20.0))
    model.fit(x, y, callbacks=[callback, lossgap.TrueLoss(samples=0.1)])
    estimate = lossgap.measure(model, x, y, precision=0.02)
    assert_type(estimate.relative_half_width, float | None)
    assert_type(estimate.caveat, str | None)
    assert_type(estimate.is_estimate, bool)
    assert_type(estimate.metrics["accuracy"].standard_error, float | None)
    assert_type(callback.measurements[-1].interval, tuple[float, float] | None)
    lossgap.mlflow.autolog(samples=1000)
    return estimate.interval


def in_place_of_fit(model: Any, x: dict[str, Any], y: list[Any]) -> str:
    """Train with the drop-in for ``model.fit``, and tell what it found."""
    options = lossgap.TrueLoss(batch_size=256, sample_weight=np.ones(3))
    history = lossgap.fit(model, x, y, epochs=5, validation_split=0.2, true_loss=options)
    losses: list[float] = history.history["true_loss"]
    summary = lossgap.summarize(options.measurements)
    assert_type(summary, lossgap.Summary)
    return f"{losses[-1]:.3f}\n{summary}"


def in_a_loop(model: Any, x: Any, y: Any) -> lossgap.Measurement:
    """Measure outside ``fit``; a number that can't be had is None."""
    measurement = lossgap.measure(model, x, y)
    assert_type(measurement.true_loss, float)
    assert_type(measurement.regularization_gap, float | None)
    assert_type(measurement.generalization_gap, float | None)
    assert_type(measurement.parts, Mapping[str, lossgap.Part])
    assert_type(measurement.parts["dropout"].standard_error, float | None)
    assert_type(measurement.penalties, tuple[lossgap.Penalty, ...])
    assert_type(measurement.metrics["accuracy"], lossgap.MetricValues)
    assert_type(measurement.tracked(), dict[str, float])
    return lossgap.Measurement.from_dict(measurement.to_dict())


def with_weights_and_biases(model: Any, x: Any, y: Any, run: Any) -> str:
    """Log to a run, or to the active one from every fit; install the panel; read a run back."""
    tracker = lossgap.wandb.WandbTracker(run, notes=True)
    model.fit(x, y, callbacks=[lossgap.TrueLoss(trackers=["wandb", tracker])])
    lossgap.wandb.autolog(every=2, unit="epoch", silent=True, notes=False)
    lossgap.wandb.autolog(disable=True)
    assert_type(lossgap.wandb.panel_json("team/digits", unit="step"), dict[str, Any])
    assert_type(lossgap.wandb.report_json("team/digits"), dict[str, Any])
    assert_type(lossgap.wandb.create_report("team/digits"), str)
    (found,) = lossgap.wandb.read_runs("wandb/offline-run-20260101_120000-abc")
    assert_type(found.measurements, tuple[lossgap.Measurement, ...])
    return lossgap.wandb.install_panel("team/digits")


def with_tensorboard(model: Any, x: Any, y: Any) -> lossgap.TrueLoss:
    """Log for TensorBoard: with a tracker, by its name, and for every fit."""
    rates: dict[str, bool | float | str] = {"learning_rate": 0.1, "kind": "a"}
    tracker = lossgap.tensorboard.TensorBoardTracker("logs/run_7", hparams=rates)
    assert_type(tracker.name, str)
    lossgap.tensorboard.autolog("logs", every=2, unit="step", silent=True, hparams=True)
    lossgap.tensorboard.autolog(disable=True)
    callback = lossgap.TrueLoss(trackers=[tracker])
    model.fit(x, y, callbacks=[callback, lossgap.TrueLoss(trackers="tensorboard")])
    return callback


def with_plain_pytorch(model: Any, loader: Any, loss_fn: Any) -> lossgap.Measurement:
    """Measure in a loop of PyTorch, and send it to trackers."""
    found = lossgap.torch.measure(
        *(model, loader, loss_fn),
        penalty=lambda module: module.weight.abs().sum(),
        metrics={"accuracy": lambda outputs, targets: (outputs == targets).mean()},
        reported_loss=0.5,
        epoch=3,
    )
    assert_type(found, lossgap.Measurement)
    callback = lossgap.torch.LightningTrueLoss(loss_fn, options={"l2": 1e-4})
    assert_type(callback.measurements, list[lossgap.Measurement])
    with tracking("mlflow") as log:
        log(found)
    return found


def with_ray(model: Any, dataset: Any) -> lossgap.Measurement:
    """Measure a data set of Ray Data by its columns."""
    found = lossgap.ray.measure(model, dataset, x=["age", "size"], y="price", workers=2)
    assert_type(found, lossgap.Measurement)
    return found


def with_mlflow(model: Any, x: Any, y: Any, run_id: str) -> None:
    """Log to a run, or to one of its own from every fit."""
    tracker = lossgap.mlflow.MLflowTracker(run_id, tracking_uri="http://127.0.0.1:5000")
    model.fit(x, y, callbacks=[lossgap.TrueLoss(trackers=tracker)])
    lossgap.mlflow.autolog(every=2, unit="epoch", silent=True, log_panels=False)


def with_charts(measurements: list[lossgap.Measurement]) -> list[lossgap.charts.Run]:
    """Write pages, pictures and files of two runs, and read them back."""
    runs = [lossgap.charts.Run(name, tuple(measurements)) for name in ("a", "b")]
    for draw in (
        lossgap.charts.loss_comparison,
        lossgap.charts.gap_by_cause,
        lossgap.charts.generalization,
        lossgap.charts.penalty_by_layer,
    ):
        assert_type(lossgap.charts.to_png(draw(runs), scale=2), bytes)
    waterfall = lossgap.charts.waterfall(measurements[-1])
    assert_type(lossgap.charts.to_svg(waterfall), str)
    assert set(lossgap.charts.PANELS)
    lossgap.charts.write_gif("plot.gif", runs[0])
    assert_type(lossgap.charts.write_report("page.html", runs, title="Two runs"), Path)
    lossgap.charts.write_measurements("runs.jsonl", runs)
    return lossgap.charts.read_measurements("runs.jsonl")


class Printer:
    """A tracker of one's own."""

    name = "printer"

    def start(self, training: object) -> None:
        """Begin a training."""

    def log(self, measurement: lossgap.Measurement, wall_time: float) -> None:
        """Take a measurement."""
        self.last = (wall_time, measurement.tracked())

    def finish(self, summary: lossgap.Summary | None, *, failed: bool) -> list[str]:
        """End the training."""
        return [f"{summary} {failed}"]


def with_a_tracker_of_ones_own(resumable: lossgap.trackers.ResumableTracker) -> None:
    """Pass trackers to the callback, and make one known by its name."""
    tracker: lossgap.trackers.Tracker = Printer()
    lossgap.trackers.register("printer", "my_package.printing:Printer")
    lossgap.trackers.Delivery([tracker, resumable])
    lossgap.TrueLoss(trackers=[tracker, "printer"])
    assert callable(lossgap.trackers.tracking)


def with_errors(model: Any, x: Any) -> str:
    """Catch what lossgap raises, by its root class."""
    warnings.simplefilter("error", lossgap.LossgapWarning)
    try:
        lossgap.measure(model, x)
    except lossgap.LossgapError as error:
        return str(error)
    return lossgap.__version__


def with_a_typing_error() -> None:
    """Misspell a name: mypy has to see it, and fails on an ignore that it doesn't need."""
    lossgap.true_los  # type: ignore[attr-defined]  # noqa: B018
