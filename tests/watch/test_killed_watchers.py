"""Watchers that are killed: each checkpoint is measured once, none lost, none doubled."""

import random
import sqlite3
import threading
import time
from collections import Counter

import mlflow
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lossgap.tensorboard.records import event_files, events

TRUE_LOSS = "lossgap/true_loss"
PATIENCE = 300


def save_slowly(folder, contents, pause):
    """Write checkpoints as a training does: one after the other, and each in two pieces."""
    for number, content in enumerate(contents, start=1):
        with (folder / f"model-{number:02d}.keras").open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            time.sleep(pause)
            file.write(content[len(content) // 2 :])
        time.sleep(pause)


def in_mlflow(uri, run_id):
    """Return how often each step is in the run."""
    client = mlflow.MlflowClient(uri)
    return Counter(metric.step for metric in client.get_metric_history(run_id, TRUE_LOSS))


def in_event_files(folder, sub_run, tag):
    """Return how often each step is in the event files, whatever a reader would make of them."""
    return Counter(
        event.step
        for path in event_files(folder / sub_run)
        for event in events(path)
        for value in event.summary.value
        if value.tag == tag and value.tensor.float_val[0] == value.tensor.float_val[0]
    )


def seen_by_tensorboard(folder, sub_run, tag):
    """Return the steps that TensorBoard shows."""
    accumulator = EventAccumulator(str(folder / sub_run), size_guidance={"tensors": 0})
    accumulator.Reload()
    return sorted(event.step for event in accumulator.Tensors(tag))


@pytest.fixture
def places(data):
    """Return the folder of checkpoints, MLflow's store and run, and TensorBoard's directory."""
    (data / "run").mkdir()
    uri = f"sqlite:///{data / 'mlflow.db'}"
    run = mlflow.MlflowClient(uri).create_run("0")
    return data / "run", uri, run.info.run_id, data / "logs"


def options(places):
    folder, uri, run_id, logs = places
    return [
        *(str(folder), "--data", "mydata:training", "--settle", "0.1", "--poll", "0.05"),
        *("--tracker", f"mlflow:{uri}", "--run-id", run_id, "--tracker", f"tensorboard:{logs}"),
    ]


def finish(nursery, places, n):
    """Let one watcher do the rest, and check that all is there once."""
    folder, uri, run_id, logs = places
    assert nursery.wait(nursery.start(*options(places), "--once")) == 0, nursery.log()
    once = Counter(range(n))
    assert in_mlflow(uri, run_id) == once
    assert in_event_files(logs, "gap", TRUE_LOSS) == once
    assert in_event_files(logs, "true", "epoch_loss") == once
    assert seen_by_tensorboard(logs, "gap", TRUE_LOSS) == sorted(once)
    assert seen_by_tensorboard(logs, "true", "epoch_loss") == sorted(once)
    with sqlite3.connect(folder / ".lossgap-watch.sqlite") as ledger:
        rows = ledger.execute("SELECT count(*), count(record), sum(gone) FROM checkpoints")
        assert rows.fetchone() == (n, n, 0)
    ledger.close()
    # Said only when the measurement was kept; a watcher may die between the two.
    said = [line for line in nursery.log().splitlines() if ": true loss " in line]
    assert len(said) == len(set(said)) <= n
    assert mlflow.MlflowClient(uri).get_run(run_id).info.status == "RUNNING"


@pytest.mark.parametrize("n_watchers", [1, 2])
def test_killed_at_random_moments(n_watchers, nursery, places, saved, record_property):
    choose = random.Random(n_watchers)
    writer = threading.Thread(target=save_slowly, args=(places[0], saved, 0.6))
    writer.start()
    watchers, n_killed, last = [], 0, time.monotonic() + PATIENCE
    while n_killed < 24 or writer.is_alive():
        assert time.monotonic() < last, nursery.log()
        while len(watchers) < n_watchers:
            watchers.append(nursery.start(*options(places)))
        time.sleep(choose.uniform(0.05, 4.0 / n_watchers))
        n_killed += nursery.kill(watchers.pop(choose.randrange(len(watchers))))
    writer.join()
    for pid in watchers:
        n_killed += nursery.kill(pid)
    finish(nursery, places, len(saved))
    record_property("watchers at a time", n_watchers)
    record_property("watchers killed", n_killed)
    record_property("checkpoints saved, measured once and logged once", len(saved))


@pytest.mark.parametrize("n_watchers", [1, 2])
def test_killed_where_it_does_most_harm(n_watchers, nursery, places, saved, record_property):
    n = 40
    for number in range(1, n + 1):
        (places[0] / f"model-{number:02d}.keras").write_bytes(saved[number % len(saved)])
    n_killed, seed, last = 0, 0, time.monotonic() + PATIENCE
    watchers = []
    while True:
        assert time.monotonic() < last, nursery.log()
        while len(watchers) < n_watchers:
            seed += 1
            watchers.append(nursery.start(*options(places), "--once", seams=seed))
        code = nursery.wait(watchers.pop(0))
        assert code in (0, -9), nursery.log()
        n_killed += code == -9
        if code == 0:
            break
    for pid in watchers:
        n_killed += nursery.wait(pid) == -9
    assert n_killed >= 20
    finish(nursery, places, n)
    record_property("watchers at a time", n_watchers)
    record_property("watchers that died between two notes", n_killed)
    record_property("checkpoints measured once and logged once", n)
