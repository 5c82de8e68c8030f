"""The runs that a watcher logs to, and how it ends."""

import importlib
import os
import signal
import time

import keras
import mlflow
import pytest
import wandb
from typer.testing import CliRunner

from lossgap import LossgapError, Measurement
from lossgap.commands import app
from lossgap.mlflow.beside import MLflowBeside
from lossgap.tensorboard.beside import open_run as open_logs
from lossgap.tensorboard.reader import read as read_logs
from lossgap.trackers.beside import beside
from lossgap.wandb import read_runs as read_wandb
from lossgap.watch.ledger import Ledger
from small_model import build

QUICK = ("--settle", "0", "--poll", "0.05", "--once")

CLASSES = """
import keras

@keras.saving.register_keras_serializable("mine")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.fixture
def checkpoints(data, saved):
    folder = data / "run"
    folder.mkdir()
    for epoch in range(2):
        (folder / f"model-{epoch + 1:02d}.keras").write_bytes(saved[epoch])
    return folder


def run(*arguments):
    """Run a command, and return its exit code and output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, LossgapError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def test_a_tracker_that_fails_is_told_once_and_has_all_later(checkpoints, data, monkeypatch):
    uri = f"sqlite:///{data / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    run_id = client.create_run("0").info.run_id
    options = ("--data", "mydata:training", "--tracker", f"mlflow:{uri}", "--run-id", run_id)

    def fail(*_args, **_kwargs):
        raise OSError("nobody answers")

    with monkeypatch.context() as patch:
        patch.setattr(MLflowBeside, "put", fail)
        code, text = run("watch", checkpoints, *options, *QUICK)
    assert code == 1
    assert text.count("not sent: mlflow: OSError: nobody answers.") == 1
    assert text.count(": true loss ") == 2
    assert run("watch", checkpoints, *options, *QUICK) == (0, "")  # sent, and not measured again
    history = client.get_metric_history(run_id, "lossgap/true_loss")
    assert [metric.step for metric in history] == [0, 1]


@pytest.fixture
def _wandb_is_offline(data, monkeypatch):
    """Let W&B, which reads its settings once, read them here."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(data))
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.usefixtures("_wandb_is_offline")
def test_rows_are_added_to_an_offline_run_of_wandb(checkpoints, data):
    options = ("--data", "mydata:training", "--tracker", "wandb:digits", "--run-id", "abc123")
    assert run("watch", checkpoints, *options, *QUICK)[0] == 0
    folders = sorted((data / "wandb").glob("offline-run-*"))  # one for each sending
    reads = [read for folder in folders for read in read_wandb(str(folder))]
    assert sorted(m.epoch for read in reads for m in read.measurements) == [0, 1]
    # W&B numbers folders of the same second: so they may be called, too.
    for number, folder in enumerate(folders, start=1):
        folder.rename(folder.with_name(f"offline-run-20260101_000000-abc123-{number}"))
    again = beside("wandb:digits", run_id="abc123", unit="epoch")
    with Ledger(checkpoints / ".lossgap-watch.sqlite") as ledger:
        (first, _) = ledger.measurements()
    first.pop("checkpoint")
    again.put(Measurement.from_dict(first), 1.0, unsure=True)
    again.settle()
    assert len(list((data / "wandb").glob("offline-run-*"))) == len(folders) == 2


def test_one_model_is_logged_at_the_epoch_of_its_name(checkpoints, data):
    options = ("--data", "mydata:training", "--tracker", f"tensorboard:{data / 'logs'}")
    assert run("measure", checkpoints / "model-02.keras", *options)[0] == 0
    (read,) = read_logs(str(data / "logs"))
    assert [m.epoch for m in read.measurements] == [1]
    (checkpoints / "model-02.keras").rename(checkpoints / "best.keras")
    with pytest.raises(LossgapError, match="--pattern"):
        run("measure", checkpoints / "best.keras", *options)


def test_a_point_that_is_there_is_not_written_again(data):
    first, second = (open_logs(str(data / "logs"), run_id=None, unit="epoch") for _ in "ab")
    for epoch in (0, 1):
        first.put(Measurement(1.0, epoch=epoch), 10.0 + epoch, unsure=False)
    before = [path.stat().st_size for path in sorted((data / "logs").rglob("*tfevents*"))]
    second.put(Measurement(1.0, epoch=1), 11.0, unsure=True)
    assert [path.stat().st_size for path in sorted((data / "logs").rglob("*tfevents*"))] == before
    second.put(Measurement(2.0, epoch=2), 12.0, unsure=False)
    first.put(Measurement(3.0, epoch=3), 13.0, unsure=False)
    (read,) = read_logs(str(data / "logs"))
    assert [m.true_loss for m in read.measurements] == [1.0, 1.0, 2.0, 3.0]
    first.close()
    second.close()


def test_classes_of_ones_own_are_those_of_the_module_of_the_data(data, monkeypatch):
    (data / "mydata.py").write_text(CLASSES + (data / "mydata.py").read_text())
    monkeypatch.syspath_prepend(str(data))
    mydata = importlib.import_module("mydata")
    (data / "run").mkdir()
    model = build()
    model = keras.Sequential([*model.layers, mydata.Doubled()])
    model.compile("adam", "mse")
    model.build((None, 3))
    model.save(data / "run" / "model-01.keras")
    code, text = run("watch", data / "run", "--data", "mydata:training", *QUICK)
    assert (code, text.count(": true loss ")) == (0, 1), text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_watcher_at_once_and_says_so(number, nursery, checkpoints):
    pid = nursery.start(str(checkpoints), "--data", "mydata:training", "--settle", "0")
    last = time.monotonic() + 120
    while nursery.log().count(": true loss ") < 2:
        assert time.monotonic() < last, nursery.log()
        time.sleep(0.05)
    os.kill(pid, number)
    assert nursery.wait(pid) == 130
    assert list(checkpoints.glob("*.lock")) == []
