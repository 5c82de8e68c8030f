"""Real W&B runs for tests: started here, logged to, and read back from disk in two ways."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb

import wandb_stub
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.trackers import Delivery, journal
from lossgap.wandb import WandbTracker, read_runs
from lossgap.wandb.datastore import records

PROGRAM = str(Path(sys.executable).with_name("wandb"))
PATIENCE = 120
"""Seconds that a test waits for another process, on the slowest machine."""

QUIET = {
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_DISABLE_CODE": "true",
}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Let runs be offline ones below the test's folder, and end W&B's process afterwards."""
    place = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "HOME": str(tmp_path)}
    for name, value in (QUIET | place).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    wandb.teardown()
    yield tmp_path
    if wandb.run is not None:
        wandb.finish()
    wandb.teardown()


@pytest.fixture
def server(offline, monkeypatch):
    """Return a stand-in for W&B's server, to which runs are logged."""
    stub = wandb_stub.Stub()
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", stub.url)
    monkeypatch.setenv("WANDB_API_KEY", wandb_stub.KEY)
    yield stub
    with contextlib.suppress(Exception):
        if wandb.run is not None:
            wandb.finish()
    wandb.teardown()
    stub.stop()


def folder(run):
    """Return the folder of a run."""
    return Path(run.dir).parent


def train(measurements, run=None, *, unit="epoch", notes=False):
    """Log measurements as a training does, and return the lines for the user."""
    delivery = Delivery(WandbTracker(run, notes=notes))
    delivery.begin(Training({"unit": unit}))
    for measurement in measurements:
        delivery.measured(measurement)
    return delivery.end(Summary(tuple(measurements)))


def n_journals():
    return len(journal.paths())


def until(condition):
    """Wait until a condition holds; a test that never sees it fails."""
    last = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < last, "it didn't happen"
        time.sleep(0.05)


def wait_for_end(place):
    """Wait until the end of a run is on disk: ``finish`` returns a moment before."""
    (file,) = Path(place).glob("run-*.wandb")
    until(lambda: any(record.HasField("exit") for record in records(file)))


def read(place):
    """Read the measurements of one run, as ``lossgap report`` does."""
    (run,) = read_runs(str(place))
    return list(run.measurements)


def inspect(place):
    """Read the records of a run with W&B's own program."""
    process = subprocess.run(
        [PROGRAM, "leet", "inspect", "--json", str(place)],
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return [json.loads(line) for line in process.stdout.splitlines()]


def history(place):
    """Return the rows of a run by W&B's own program, without its own keys."""
    found = [entry["history"]["item"] for entry in inspect(place) if entry["type"] == "history"]
    return [{k: v for k, v in row.items() if k[0] != "_"} for row in found]


def ours(rows):
    """Return lossgap's part of the rows that have one."""
    found = [{k: v for k, v in row.items() if k.startswith("lossgap/")} for row in rows]
    return [row for row in found if row]


def sync(*places):
    """Deliver what a run has on disk, with W&B's own program."""
    return subprocess.run(
        [PROGRAM, "sync", "--include-online", "--include-synced", *map(str, places)],
        env=os.environ | QUIET | {"WANDB_MODE": "online"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
