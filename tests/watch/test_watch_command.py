"""``lossgap watch`` and ``lossgap measure``, run as a user does, in this process."""

import json
import shutil
import sqlite3
import zipfile

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import lossgap
from lossgap.commands import app
from lossgap.tensorboard.reader import read as read_logs
from lossgap.watch.checkpoints import Folder, Names, step_in
from lossgap.watch.ledger import Ledger
from lossgap.watch.locks import Lock, is_held
from small_model import build

RUNNER = CliRunner()


def run(*arguments, code=0):
    """Run a command, and return what it wrote to standard output."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, lossgap.LossgapError):
        raise result.exception
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def data_loss(contents_epoch):
    """Return the true loss of the checkpoint of an epoch, by NumPy."""
    x = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")
    y = x @ np.ones((3, 2), "float32")
    return float(np.mean((x @ np.full((3, 2), 0.1 * contents_epoch) - y) ** 2))


@pytest.fixture
def checkpoints(data, saved):
    folder = data / "run"
    folder.mkdir()
    for epoch in range(3):
        (folder / f"model-{epoch + 1:02d}.keras").write_bytes(saved[epoch])
    return folder


QUICK = ("--settle", "0", "--poll", "0.05", "--once")


def test_each_checkpoint_is_measured_at_its_own_epoch_and_step(checkpoints):
    found = json.loads(run("watch", checkpoints, "--data", "mydata:training", *QUICK, "--json"))
    assert [m["checkpoint"] for m in found["measurements"]] == [
        f"model-0{n}.keras" for n in (1, 2, 3)
    ]
    for epoch, measured in enumerate(found["measurements"]):
        assert (measured["epoch"], measured["step"]) == (epoch, 10 * (epoch + 1))
        assert measured["true_loss"] == pytest.approx(data_loss(epoch), rel=1e-5)
        assert measured["reported_loss"] is None
        assert measured["parts"]["penalty"]["value"] == pytest.approx(0.06 * (0.1 * epoch) ** 2)


def test_a_second_watch_has_nothing_to_do(checkpoints):
    first = run("watch", checkpoints, "--data", "mydata:training", *QUICK)
    assert "model-03.keras: epoch 2 by its name, step 30 by its optimizer" in first
    assert run("watch", checkpoints, "--data", "mydata:training", *QUICK) == ""


def test_a_file_that_is_written_anew_is_another_checkpoint(checkpoints, saved):
    run("watch", checkpoints, "--data", "mydata:training", *QUICK)
    (checkpoints / "model-03.keras").write_bytes(saved[7])
    again = run("watch", checkpoints, "--data", "mydata:training", *QUICK)
    assert again.startswith("model-03.keras: epoch 2 by its name, step 80 by its optimizer")


def test_the_reported_loss_is_that_of_the_csv_logger(checkpoints, data):
    (data / "train.csv").write_text("epoch,loss,val_loss\n0,9.5,8.5\n1,7.5,\n")
    options = ("--log", data / "train.csv", "--json")
    found = json.loads(
        run("watch", checkpoints, "--data", "mydata:with_validation", *QUICK, *options)
    )["measurements"]
    assert [m["reported_loss"] for m in found] == [9.5, 7.5, None]
    assert [m["val_loss"] for m in found] == [8.5, None, None]
    gap = sum(part["value"] for part in found[0]["parts"].values())
    assert gap == pytest.approx(9.5 - found[0]["true_loss"])
    assert found[2]["true_val_loss"] is not None


def test_weights_alone_are_measured_with_a_model_that_is_named(checkpoints, data, saved):
    model = build()
    model.layers[0].kernel.assign(np.full((3, 2), 0.5, "float32"))
    model.optimizer.iterations.assign(77)
    model.save_weights(data / "epoch-06.weights.h5")
    options = ("--model", checkpoints / "model-01.keras", "--json")
    found = json.loads(
        run("measure", data / "epoch-06.weights.h5", "--data", "mydata:training", *options)
    )
    assert found["true_loss"] == pytest.approx(data_loss(5), rel=1e-5)
    assert (found["epoch"], found["step"]) == (5, 77)
    with pytest.raises(lossgap.LossgapError, match="--model"):
        run("measure", data / "epoch-06.weights.h5", "--data", "mydata:training")


def test_one_model_is_measured_and_shown(checkpoints):
    table = run(
        "measure",
        checkpoints / "model-02.keras",
        *("--data", "mydata:training", "--reported-loss", "9.0", "--engine", "local"),
    )
    assert "reported" in table
    assert "dropout" in table
    assert f"{data_loss(1):.3f}" in table


def test_steps_of_the_optimizer_are_the_axis_on_request(checkpoints, data):
    logs = data / "logs"
    options = ("--unit", "step", "--tracker", f"tensorboard:{logs}")
    run("watch", checkpoints, "--data", "mydata:training", *QUICK, *options)
    (read,) = read_logs(str(logs))
    assert [m.step for m in read.measurements] == [10, 20, 30]
    with pytest.raises(lossgap.LossgapError, match="steps"):
        run("watch", checkpoints, "--data", "mydata:training", *QUICK)


def test_what_is_no_whole_checkpoint_is_left_and_told_by_the_exit_code(checkpoints, saved):
    (checkpoints / "model-04.keras").write_bytes(saved[3][:900])
    (checkpoints / "model-05.weights.h5").write_bytes(b"\x89HDF\r\n")
    found = run("watch", checkpoints, "--data", "mydata:training", *QUICK, code=1)
    assert len(found.splitlines()) == 3
    (checkpoints / "model-05.weights.h5").unlink()
    (checkpoints / "model-04.keras").write_bytes(saved[3])
    assert "model-04.keras" in run("watch", checkpoints, "--data", "mydata:training", *QUICK)


def test_a_name_without_an_epoch_is_told_and_not_guessed(checkpoints):
    shutil.copy(checkpoints / "model-01.keras", checkpoints / "best.keras")
    found = run("watch", checkpoints, "--data", "mydata:training", *QUICK, code=1)
    assert "not measured: best.keras" in found
    assert "--unit step" in found


def test_a_checkpoint_with_code_in_it_is_refused_and_the_others_are_measured(checkpoints):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x[:, :2])])
    model.compile(loss="mse")
    model.save(checkpoints / "model-09.keras")
    found = run("watch", checkpoints, "--data", "mydata:training", *QUICK, code=1)
    assert "failed: model-09.keras" in found
    assert len([line for line in found.splitlines() if ": true loss " in line]) == 3


def test_a_checkpoint_that_went_before_it_was_measured_is_lost_and_told(checkpoints, saved):
    with Ledger(checkpoints / ".lossgap-watch.sqlite") as ledger:
        ledger.offer("model-00.keras", "0" * 64, 0, 1)
        ledger.offer("model-01.keras", "1" * 64, 0, 1)
    found = run("watch", checkpoints, "--data", "mydata:training", *QUICK)
    assert "lost: model-00.keras was removed" in found
    assert "lost: model-01.keras was written over" in found


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--data", "mydata"), "module:function"),
        (("--data", "json:loads"), "no module 'json'"),
        (("--data", "mydata:absent"), "no function 'absent'"),
        (("--data", "mydata:nothing"), "Received: None"),
        (("--data", "mydata:broken"), "the disk is gone"),
        (("--data", "mydata:training", "--tracker", "wanb"), "Received: 'wanb'"),
        (("--data", "mydata:training", "--tracker", "mlflow"), "--run-id"),
        (("--data", "mydata:training", "--pattern", "m.keras"), "{epoch}"),
    ],
)
def test_wrong_arguments_are_errors_with_the_way_out(options, text, checkpoints, monkeypatch):
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    with pytest.raises(lossgap.LossgapError, match=text):
        run("watch", checkpoints, *QUICK, *options)


def test_a_folder_that_is_not_there_is_an_error(data):
    with pytest.raises(lossgap.LossgapError, match="Make the folder"):
        run("watch", data / "absent", "--data", "mydata:training", *QUICK)
    with pytest.raises(lossgap.LossgapError, match="which is not there"):
        run("measure", data / "absent.keras", "--data", "mydata:training")


@pytest.mark.parametrize(
    ("name", "pattern", "first", "epoch"),
    [
        ("model-07.keras", None, 1, 6),
        ("epoch=3-step=90.keras", None, 1, 2),
        ("model.07-0.31.weights.h5", "model.{epoch:02d}-{val_loss:.2f}.weights.h5", 1, 6),
        ("model-07-0.31.keras", None, 1, 6),
        ("model-07.keras", None, 0, 7),
        ("a-1-b-2.keras", None, 1, None),
        ("best.keras", None, 1, None),
        ("model-00.keras", None, 1, None),
        ("other-07.keras", "model-{epoch}.keras", 1, None),
    ],
)
def test_the_epoch_is_read_from(name, pattern, first, epoch):
    assert Names(pattern, first=first).epoch(name) == epoch


def test_the_steps_of_a_file_without_an_optimizer_are_unknown(data):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.save(data / "plain.keras")
    assert step_in(data / "plain.keras") is None
    with zipfile.ZipFile(data / "odd.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert step_in(data / "odd.keras") is None


def test_a_claim_is_held_for_as_long_as_its_watcher_lives(data):
    path = data / "ledger.sqlite"
    with Ledger(path) as first, Ledger(path) as second:
        first.offer("a.keras", "0", 0, 1)
        (entry,) = first.unmeasured()
        assert first.claim(entry)
        assert not second.claim(entry)
        first.close()
        assert second.claim(entry)


def test_a_lock_is_free_again_when_it_is_let_go(data):
    lock = Lock(data / "a.lock")
    assert lock.acquire()
    assert is_held(data / "a.lock")
    assert not Lock(data / "a.lock").acquire()
    lock.release()
    assert not is_held(data / "a.lock")


def test_what_killed_watchers_left_is_cleared_away(data):
    left = data / "ledger.sqlite.0123.lock"
    left.touch()
    with Ledger(data / "ledger.sqlite") as first:
        with Ledger(data / "ledger.sqlite"):
            assert not left.exists()
        assert len(list(data.glob("*.lock"))) == 1  # that of the first, which lives
        first.close()
    assert list(data.glob("*.lock*")) == []


def test_a_ledger_that_is_something_else_is_an_error(data):
    (data / "text.sqlite").write_text("no database " * 100)
    with pytest.raises(lossgap.LossgapError, match="--ledger"):
        Ledger(data / "text.sqlite")
    with sqlite3.connect(data / "fine.sqlite") as database:
        assert database.execute("SELECT 1").fetchone() == (1,)
    database.close()


def test_a_pattern_chooses_checkpoints(checkpoints):
    folder = Folder(f"{checkpoints}/*-02.keras", settle_seconds=0)
    assert [found.name for found in folder.whole()] == ["model-02.keras"]
