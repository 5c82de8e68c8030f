"""Trainings with Keras: beside its own TensorBoard callback, without it, and by autologging."""

import contextlib
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import event_logs
import lossgap
from lossgap.commands import app
from lossgap.errors import LossgapWarning
from lossgap.tensorboard import TensorBoardTracker
from small import assert_same_state, linear, regression, state

X, Y = regression()
FIT = {"epochs": 3, "validation_split": 0.2, "batch_size": 16, "verbose": 0}


@contextlib.contextmanager
def autologging(*arguments, **options):
    lossgap.tensorboard.autolog(*arguments, **options)
    try:
        yield
    finally:
        lossgap.tensorboard.autolog(disable=True)


def model():
    """Return a model that trains without being compiled, which takes longer than the rest."""
    return linear(run_eagerly=True)


def curve(log_dir, run, tag="epoch_loss"):
    return event_logs.points(log_dir / run)[tag]


def as_float32(values):
    return [(step, float(np.float32(value))) for step, value in enumerate(values)]


def test_beside_the_callback_of_keras_all_four_losses_share_a_tag(tmp_path):
    callback = lossgap.TrueLoss(trackers=TensorBoardTracker())
    callbacks = [callback, keras.callbacks.TensorBoard(tmp_path / "logs")]
    history = model().fit(X, Y, callbacks=callbacks, **FIT).history
    losses = {
        "train": "loss",
        "true": "true_loss",
        "validation": "val_loss",
        "validation_true": "true_val_loss",
    }
    for run, key in losses.items():
        assert curve(tmp_path / "logs", run) == as_float32(history[key])
    assert curve(tmp_path / "logs", "true", "epoch_mae") == as_float32(history["true_mae"])
    gap = event_logs.points(tmp_path / "logs" / "gap")
    for step, measurement in enumerate(callback.measurements):
        for tag, value in measurement.tracked().items():
            assert gap[tag][step] == (step, float(np.float32(value)))


def test_no_directory_has_two_writers(tmp_path):
    callbacks = [
        lossgap.TrueLoss(trackers="tensorboard"),
        keras.callbacks.TensorBoard(tmp_path / "logs"),
    ]
    model().fit(X, Y, callbacks=callbacks, **FIT)
    folders = [path.parent for path in (tmp_path / "logs").rglob("*tfevents*")]
    assert len(folders) == len(set(folders)) == 5


def test_the_event_files_of_keras_are_the_same_as_without_us(tmp_path):
    def train(log_dir, *first):
        fit = {**FIT, "callbacks": [keras.callbacks.TensorBoard(log_dir), *first]}
        model().fit(X, Y, **fit)
        return [event_logs.points(log_dir / run) for run in ("train", "validation")]

    ours = lossgap.TrueLoss(trackers=TensorBoardTracker(tmp_path / "own"))
    assert train(tmp_path / "with", ours) == train(tmp_path / "without")


def test_without_the_callback_of_keras_its_curves_are_written(tmp_path):
    callback = lossgap.TrueLoss(trackers=TensorBoardTracker(tmp_path / "logs"))
    history = model().fit(X, Y, callbacks=[callback], **FIT).history
    assert event_logs.runs(tmp_path / "logs") == event_logs.SUB_RUNS
    assert curve(tmp_path / "logs", "train") == as_float32(history["loss"])
    assert curve(tmp_path / "logs", "train", "epoch_mae") == as_float32(history["mae"])
    assert curve(tmp_path / "logs", "validation") == as_float32(history["val_loss"])
    assert curve(tmp_path / "logs", "validation", "epoch_mae") == as_float32(history["val_mae"])


@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize("beside", [False, True])
def test_training_is_the_same_to_the_last_bit(tmp_path, unit, beside):
    def train(name, *first):
        fit = {**FIT, "callbacks": list(first)}
        if beside:
            fit["callbacks"].append(keras.callbacks.TensorBoard(tmp_path / name))
        model = linear()
        history = model.fit(X, Y, **fit).history
        return state(model), history, keras.random.uniform((3,))

    tracker = TensorBoardTracker(None if beside else tmp_path / "with", hparams=True)
    one, history, drawn = train("with", lossgap.TrueLoss(unit=unit, every=2, trackers=tracker))
    other, plain, drawn_plain = train("without")
    assert_same_state(one, other)
    np.testing.assert_array_equal(drawn, drawn_plain)
    assert {key: history[key] for key in plain} == plain
    assert {"gap", "train", "true"} <= set(event_logs.runs(tmp_path / "with"))


def test_the_steps_of_mid_epoch_measurements_are_those_of_the_optimizer(tmp_path):
    callback = lossgap.TrueLoss(
        unit="step", every=2, trackers=TensorBoardTracker(tmp_path / "logs")
    )
    model().fit(X, Y, callbacks=[callback], **FIT)
    steps = [step for step, _ in curve(tmp_path / "logs", "true")]
    assert steps == [m.step for m in callback.measurements] == [2, 4, 6, 8, 10, 12]


def test_the_link_is_printed_once_at_the_end(tmp_path, capsys):
    tracker = TensorBoardTracker(tmp_path / "my logs")
    callback = lossgap.TrueLoss(trackers=tracker)
    model().fit(X, Y, callbacks=[callback], **{**FIT, "verbose": 2})
    printed = capsys.readouterr().out.splitlines()
    (line,) = [line for line in printed if "#timeseries" in line]
    assert (
        f"tensorboard --logdir '{tmp_path / 'my logs'}', then open http://localhost:6006/" in line
    )
    assert printed[-1] == line


def test_nothing_is_printed_by_a_silent_fit(tmp_path, capsys):
    callback = lossgap.TrueLoss(trackers=TensorBoardTracker(tmp_path / "logs"))
    model().fit(X, Y, callbacks=[callback], **FIT)
    assert capsys.readouterr().out == ""


def test_a_fit_that_goes_on_goes_on_with_the_curves(tmp_path):
    trained = model()
    for first, last in [(0, 2), (2, 5)]:
        callbacks = [
            lossgap.TrueLoss(trackers="tensorboard"),
            keras.callbacks.TensorBoard(tmp_path),
        ]
        fit = {**FIT, "initial_epoch": first, "epochs": last}
        trained.fit(X, Y, callbacks=callbacks, **fit)
    for run in ("train", "true", "validation", "validation_true"):
        assert [step for step, _ in curve(tmp_path, run)] == [0, 1, 2, 3, 4]


def test_a_tracker_follows_one_fit_after_the_other(tmp_path):
    callback = lossgap.TrueLoss(trackers=TensorBoardTracker(tmp_path))
    for _ in range(2):
        model().fit(X, Y, callbacks=[callback], **FIT)
    for log_dir in (tmp_path, tmp_path / "attempt_2"):
        assert [step for step, _ in curve(log_dir, "true")] == [0, 1, 2]


def test_a_fit_that_fails_leaves_what_was_measured_and_the_directory_free(tmp_path):
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("as asked")

    with pytest.raises(RuntimeError, match="as asked"):
        lossgap.fit(
            model(),
            X,
            Y,
            true_loss=lossgap.TrueLoss(trackers=TensorBoardTracker(tmp_path)),
            callbacks=[Failing()],
            **FIT,
        )
    assert [step for step, _ in curve(tmp_path, "true")] == [0, 1]
    callback = lossgap.TrueLoss(trackers=TensorBoardTracker(tmp_path))
    model().fit(X, Y, callbacks=[callback], **{**FIT, "initial_epoch": 2})
    assert [step for step, _ in curve(tmp_path, "true")] == [0, 1, 2]


def test_autologging_measures_every_fit(tmp_path):
    with autologging(tmp_path / "logs", seed=3):
        history = model().fit(X, Y, **FIT).history
        model().fit(X, Y, **FIT)
    assert curve(tmp_path / "logs", "true") == as_float32(history["true_loss"])
    assert len(curve(tmp_path / "logs", "attempt_2/true")) == 3
    model().fit(X, Y, **FIT)
    assert not (tmp_path / "logs" / "attempt_3").exists()


def test_autologging_uses_the_directory_of_the_callback_of_keras(tmp_path):
    with autologging(tmp_path / "logs", parts=False):
        model().fit(X, Y, callbacks=[keras.callbacks.TensorBoard(tmp_path / "kerass")], **FIT)
        model().fit(X, Y, **FIT)
    assert event_logs.runs(tmp_path) == [
        f"{log_dir}/{run}" for log_dir in ("kerass", "logs") for run in event_logs.SUB_RUNS
    ]
    assert not [tag for tag in event_logs.points(tmp_path / "logs" / "gap") if "/gap_" in tag]


def test_autologging_adds_nothing_to_a_tracker_of_ones_own(tmp_path):
    with autologging(tmp_path / "logs"):
        callback = lossgap.TrueLoss(trackers=TensorBoardTracker(tmp_path / "own"))
        model().fit(X, Y, callbacks=[callback], **FIT)
    assert event_logs.runs(tmp_path) == [f"own/{run}" for run in event_logs.SUB_RUNS]


def test_autologging_to_a_place_that_cannot_be_written_to_lets_the_training_go_on(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        autologging(tmp_path / "file" / "logs"),
        pytest.warns(LossgapWarning, match="can be written to") as caught,
    ):
        history = model().fit(X, Y, **FIT).history
    assert len(caught) == 1
    assert len(history["loss"]) == 3


@pytest.mark.parametrize("wrong", [{"every": 0}, {"unit": "batch"}, {"hparams": {"a": []}}])
def test_autologging_checks_its_arguments_at_once(wrong):
    with pytest.raises(lossgap.LossgapError, match="Received"):
        lossgap.tensorboard.autolog("logs", **wrong)


def test_hyperparameters_of_the_fit_are_found(tmp_path):
    tracker = TensorBoardTracker(tmp_path, hparams=True)
    model().fit(X, Y, callbacks=[lossgap.TrueLoss(trackers=tracker)], **FIT)
    from tensorboard.plugins.hparams import metadata

    (row,) = [
        metadata.parse_session_start_info_plugin_data(value.metadata.plugin_data.content)
        for event in event_logs.events(tmp_path / "gap")
        for value in event.summary.value
        if value.tag == metadata.SESSION_START_INFO_TAG
    ]
    assert {name: value.WhichOneof("kind") for name, value in row.hparams.items()} == {
        "optimizer": "string_value",
        "learning_rate": "number_value",
        "epochs": "number_value",
    }
    assert row.hparams["optimizer"].string_value == "SGD"
    assert row.hparams["learning_rate"].number_value == pytest.approx(0.01)


def test_a_report_is_written_from_a_log_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        tracker = TensorBoardTracker(Path("logs", name))
        model().fit(X, Y, callbacks=[lossgap.TrueLoss(trackers=tracker)], **FIT)
    for _ in range(2):  # readers are registered once
        result = CliRunner().invoke(app, ["report", "logs"], catch_exceptions=False)
        assert result.exit_code == 0
    page = (tmp_path / "lossgap-report.html").read_text(encoding="utf-8")
    assert all(f'"name":"{name}"' in page for name in ("one", "two"))


def test_the_public_names_are_documented():
    for name in lossgap.tensorboard.__all__:
        assert getattr(lossgap.tensorboard, name).__doc__
    members = vars(TensorBoardTracker).items()
    assert [n for n, member in members if n[0] != "_" and not member.__doc__] == []
