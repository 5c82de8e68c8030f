"""Which directory a training writes to: never beside a live one, never over another's steps."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import chart_samples
import event_logs
from lossgap.core.observers import Training
from lossgap.errors import InvalidArgumentError
from lossgap.tensorboard import TensorBoardTracker


class TensorBoard:
    """Stands for Keras's callback, which isn't installed everywhere: known by name alone."""

    __module__ = "keras.src.callbacks.tensorboard"

    def __init__(self, log_dir):
        self.log_dir = str(log_dir)


class OwnTensorBoard(TensorBoard):
    """A user's subclass of it."""


OwnTensorBoard.__module__ = "users.own"
STRANGER = type("TensorBoard", (), {"log_dir": "elsewhere", "__module__": "someone.elses"})


def steps(directory):
    return [step for step, _ in event_logs.points(directory)["epoch_loss"]]


@pytest.mark.parametrize("kind", [TensorBoard, OwnTensorBoard])
def test_the_directory_of_the_callback_of_keras_is_taken(tmp_path, kind):
    callbacks = [STRANGER(), kind(tmp_path / "kerass")]
    tracker = event_logs.write(None, chart_samples.training(2), callbacks=callbacks, end=False)
    (line,) = tracker.finish(None, failed=False)
    assert f"--logdir {tmp_path / 'kerass'}," in line
    assert event_logs.runs(tmp_path) == [f"kerass/{r}" for r in ("gap", "true", "validation_true")]


def test_a_directory_of_ones_own_gets_all_curves(tmp_path):
    callbacks = [TensorBoard(tmp_path / "kerass")]
    event_logs.write(tmp_path / "own", chart_samples.training(2), callbacks=callbacks)
    assert event_logs.runs(tmp_path) == [f"own/{run}" for run in event_logs.SUB_RUNS]


def test_the_same_directory_is_recognized_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    event_logs.write(
        tmp_path / "a", chart_samples.training(1), callbacks=[TensorBoard("./b/../a/")]
    )
    assert event_logs.runs(tmp_path) == ["a/gap", "a/true", "a/validation_true"]


def test_the_default_is_that_of_keras(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    event_logs.write(None, chart_samples.training(1))
    assert event_logs.runs(tmp_path) == [f"logs/{run}" for run in event_logs.SUB_RUNS]


def test_a_change_of_the_working_directory_moves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = TensorBoardTracker("logs")
    tracker.start(Training({}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    tracker.log(chart_samples.measurement(0), 1.0)
    tracker.finish(None, failed=False)
    assert event_logs.runs(tmp_path) == [f"logs/{run}" for run in event_logs.SUB_RUNS]


def test_nothing_measured_leaves_no_files_and_no_word(tmp_path):
    tracker = event_logs.write(tmp_path / "logs", [], end=False)
    assert list(tracker.finish(None, failed=False)) == []
    assert event_logs.runs(tmp_path) == []


def test_a_training_that_goes_on_goes_on_in_its_directory(tmp_path):
    measured = chart_samples.training(6)
    event_logs.write(tmp_path, measured[:3])
    event_logs.write(tmp_path, measured[3:])
    assert event_logs.runs(tmp_path) == event_logs.SUB_RUNS
    for run in ("train", "true", "validation", "validation_true"):
        assert steps(tmp_path / run) == [0, 1, 2, 3, 4, 5]
    every = {tuple(s for s, _ in c) for c in event_logs.points(tmp_path / "gap").values()}
    assert every == {(0, 1, 2, 3, 4, 5)}


def test_a_tag_that_appears_when_training_goes_on_is_filled_in_before(tmp_path):
    measured = chart_samples.training(4)
    bare = [replace(m, val_loss=None, true_val_loss=None) for m in measured[:2]]
    event_logs.write(tmp_path, bare)
    event_logs.write(tmp_path, [replace(m, penalties=()) for m in measured[2:]])
    curves = event_logs.points(tmp_path / "gap")
    assert {tuple(s for s, _ in curve) for curve in curves.values()} == {(0, 1, 2, 3)}
    assert [math.isnan(v) for _, v in curves["lossgap/val_loss"]] == [True, True, False, False]
    assert [math.isnan(v) for _, v in curves["lossgap_penalty/l2:dense"]] == [
        False,
        False,
        True,
        True,
    ]


def test_a_training_that_begins_anew_gets_a_directory_of_its_own(tmp_path):
    for _ in range(3):
        event_logs.write(tmp_path, chart_samples.training(3))
    names = ["", "attempt_2/", "attempt_3/"]
    assert event_logs.runs(tmp_path) == sorted(
        f"{n}{r}" for n in names for r in event_logs.SUB_RUNS
    )
    for name in names:
        assert steps(tmp_path / name / "true") == [0, 1, 2]


def test_what_begins_anew_is_told_from_what_goes_on_with_any_cadence(tmp_path):
    measured = chart_samples.training(20)
    event_logs.write(tmp_path, measured[:6])
    event_logs.write(tmp_path, measured[4:20:5], every=5)  # epochs 4, 9, ...: the first has index 0
    assert steps(tmp_path / "true") == [0, 1, 2, 3, 4, 5]
    assert steps(tmp_path / "attempt_2" / "true") == [4, 9, 14, 19]
    event_logs.write(tmp_path, [replace(measured[19], epoch=24)], every=5)  # goes on with the last
    assert steps(tmp_path / "attempt_2" / "true") == [4, 9, 14, 19, 24]


class _Model:
    """What a callback of a running fit knows of its model."""

    def __init__(self, n_steps):
        value = type("Variable", (), {"numpy": staticmethod(lambda: n_steps)})
        self.optimizer = type("Adam", (), {"iterations": value})


def _in_a_model_with(n_steps):
    return type("Callback", (), {"model": _Model(n_steps)})()


def test_steps_go_on_with_the_optimizer(tmp_path):
    measured = chart_samples.training(6)
    options = {"unit": "step", "every": 10}
    event_logs.write(tmp_path, measured[:3], callbacks=[_in_a_model_with(0)], **options)
    event_logs.write(tmp_path, measured[3:], callbacks=[_in_a_model_with(300)], **options)
    assert steps(tmp_path / "true") == [100, 200, 300, 400, 500, 600]
    event_logs.write(tmp_path, measured[:1], callbacks=[_in_a_model_with(0)], **options)
    assert steps(tmp_path / "attempt_2" / "true") == [100]


def test_steps_never_go_on_where_epochs_were_counted(tmp_path):
    measured = chart_samples.training(4)
    event_logs.write(tmp_path, measured[:2])
    event_logs.write(tmp_path, measured[2:], unit="step", callbacks=[_in_a_model_with(200)])
    assert steps(tmp_path / "attempt_2" / "true") == [300, 400]


def test_two_live_trainings_never_share_a_directory(tmp_path):
    measured = chart_samples.training(6)
    first = event_logs.write(tmp_path, measured[:2], end=False)
    second = event_logs.write(tmp_path, measured[3:4], end=False)  # would go on, were it alone
    first.log(measured[2], 1.0)
    second.log(measured[4], 1.0)
    for tracker in (first, second):
        tracker.finish(None, failed=False)
    assert steps(tmp_path / "true") == [0, 1, 2]
    assert steps(tmp_path / "attempt_2" / "true") == [3, 4]


def test_a_tracker_that_starts_again_ends_what_it_had_begun(tmp_path):
    tracker = event_logs.write(tmp_path, chart_samples.training(2), end=False)
    tracker.start(Training({}))
    tracker.log(chart_samples.measurement(2), 1.0)
    tracker.finish(None, failed=False)
    assert steps(tmp_path / "true") == [0, 1, 2]


PROCESS = """
import sys, chart_samples, event_logs
event_logs.write(sys.argv[1], chart_samples.training(5))
"""


def test_processes_that_begin_at_once_agree_on_whose_directory_it_is(tmp_path):
    tests = str(Path(event_logs.__file__).parent)
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": tests}
    processes = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [process.wait(180) for process in processes] == [0, 0, 0, 0]
    names = ["", "attempt_2", "attempt_3", "attempt_4"]
    for name in names:
        assert steps(tmp_path / name / "true") == [0, 1, 2, 3, 4]


def test_a_remote_directory_is_refused_before_the_training():
    with pytest.raises(InvalidArgumentError, match=r"Received: 'gs://bucket/logs'"):
        TensorBoardTracker("gs://bucket/logs").start(Training({}))


def test_a_directory_that_cannot_be_made_is_refused_before_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgumentError, match="can be written to"):
        TensorBoardTracker(tmp_path / "file" / "logs").start(Training({}))


@pytest.mark.parametrize("wrong", ["yes", {"rate": [1]}, {1: 2.0}, None])
def test_wrong_hyperparameters_are_refused(wrong):
    with pytest.raises(InvalidArgumentError, match="Expected `hparams`"):
        TensorBoardTracker("logs", hparams=wrong)
