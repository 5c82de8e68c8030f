"""Checkpoints, and watchers of them in processes of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from small_model import build

HERE = Path(__file__).parent

DATA = """
import numpy as np

def training():
    random = np.random.default_rng(0)
    x = random.normal(size=(48, 3)).astype("float32")
    return x, x @ np.ones((3, 2), "float32")

def with_validation():
    x, y = training()
    return {"train": (x[:32], y[:32]), "validation": (x[32:], y[32:])}

def nothing():
    return None

def broken():
    raise OSError("the disk is gone")
"""


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Return the folder of a module ``mydata``, which is the current one."""
    (tmp_path / "mydata.py").write_text(DATA)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mydata", None)
    with contextlib.suppress(ValueError):
        sys.path.remove(str(tmp_path))


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Return the contents of checkpoints of a training's epochs, ``.keras`` files."""
    folder = tmp_path_factory.mktemp("saved")
    model = build()
    contents = []
    for epoch in range(16):
        model.layers[0].kernel.assign(np.full((3, 2), 0.1 * epoch, "float32"))
        model.optimizer.iterations.assign(10 * (epoch + 1))
        model.save(folder / "one.keras")
        contents.append((folder / "one.keras").read_bytes())
    return contents


class Nursery:
    """Starts watchers, and ends them."""

    def __init__(self, folder):
        self._folder = folder
        with (folder / "nursery.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "nursery.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
            )
        assert self._process.stdout.readline() == "ready\n", self.log()
        self.alive = set()

    def _ask(self, order):
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, *arguments, seams=None):
        """Start a watcher, and return its process id."""
        log = str(self._folder / "watchers.log")
        pid = self._ask({"arguments": arguments, "log": log, "seams": seams})
        self.alive.add(pid)
        return pid

    def kill(self, pid):
        """Kill a watcher, if it lives, and tell whether it was killed."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return self.wait(pid) == -signal.SIGKILL

    def wait(self, pid):
        """Wait for the end of a watcher, and return its exit code."""
        self.alive.discard(pid)
        return self._ask({"wait": pid})

    def log(self):
        """Return what the watchers wrote."""
        logs = (self._folder / "nursery.log", self._folder / "watchers.log")
        return "\n".join(log.read_text() for log in logs if log.exists())

    def close(self):
        """Kill whoever lives."""
        for pid in list(self.alive):
            self.kill(pid)
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def nursery(data):
    """Return a nursery of watchers."""
    found = Nursery(data)
    yield found
    found.close()
