"""Data that forked and spawned processes make, while trackers are fed from threads."""

import json
import subprocess
import sys

import mlflow
import pytest
from tracking import ENOUGH, HERE, environment, epochs, lines, n_journals

import event_logs


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_workers_double_nothing_lose_nothing_and_hold_nothing_up(method, tmp_path, figures):
    process = subprocess.run(
        [sys.executable, str(HERE / "working.py"), method, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * ENOUGH,  # and not for ever: nothing waits for a lock that a fork took along
    )
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout.splitlines()[-1])
    losses = told["losses"]
    assert len(losses) == 2
    assert told["same"]
    assert losses == told["alone"]
    assert told["troubles"] == []
    workers = {int(path.name.partition("-")[2]) for path in tmp_path.glob("worker-*")}
    assert len(workers - {told["me"]}) >= 2  # Keras looks at the first batch by itself

    assert [line.get("true_loss") for line in lines(tmp_path / "book.txt")] == [
        *map(repr, losses),
        None,
    ]
    assert epochs(tmp_path / "book.txt") == [0, 1, "end"]
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs(["0"])
    logged = client.get_metric_history(run.info.run_id, "lossgap/true_loss")
    assert [(metric.step, metric.value) for metric in logged] == [*enumerate(losses)]
    assert run.info.status == "FINISHED"
    written = event_logs.points(tmp_path / "logs" / "gap")["lossgap/true_loss"]
    assert [step for step, _ in written] == [0, 1]
    assert n_journals() == 0
    figures(f"data workers: {method}, three trackers", 3 * 2, len(logged) + len(written) + 2)
