"""Log directories for tests: written from measurements made by hand, read by TensorBoard itself.

Nothing here imports Keras or TensorFlow.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from lossgap.core.observers import Training
from lossgap.tensorboard import TensorBoardTracker

WALL_TIME = 1_700_000_000.0
SUB_RUNS = ["gap", "train", "true", "validation", "validation_true"]


def write(log_dir, measurements, *, unit="epoch", every=1, callbacks=(), end=True, **options):
    """Log measurements as a training would, one second after the other; return the tracker."""
    tracker = TensorBoardTracker(log_dir, **options)
    tracker.start(Training({"unit": unit, "every": every}, tuple(callbacks)))
    for index, measurement in enumerate(measurements):
        tracker.log(measurement, WALL_TIME + index)
    if end:
        tracker.finish(None, failed=False)
    return tracker


def events(directory):
    """Return the events of a run, file by file, as TensorBoard's own loader gives them."""
    paths = sorted(path for path in directory.iterdir() if "tfevents" in path.name)
    return [event for path in paths for event in EventFileLoader(str(path)).Load()]


def points(directory):
    """Return ``{tag: [(step, value), ...]}`` of a run, in the order of the files."""
    found = {}
    for event in events(directory):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name in {"scalars", ""}:
                array = tensor_util.make_ndarray(value.tensor)
                if array.dtype == "float32" and array.ndim == 0:
                    found.setdefault(value.tag, []).append((event.step, float(array)))
    return found


def runs(log_dir):
    """Return the names of the runs that have event files."""
    return sorted({p.parent.relative_to(log_dir).as_posix() for p in log_dir.rglob("*tfevents*")})


class Server:
    """A live TensorBoard."""

    def __init__(self, address):
        self.address = address

    def get(self, path, **query):
        """Return the JSON at a path of the server."""
        url = f"{self.address}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer)

    def post(self, path, body):
        """Send JSON to a path of the server, and return the JSON that it answers."""
        request = urllib.request.Request(
            f"{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def scalars(self, run, tag):
        """Return ``[(step, value), ...]`` of a curve; NaN comes as a text."""
        series = self.get("data/plugin/scalars/scalars", run=run, tag=tag)
        return [(step, float(value)) for _, step, value in series]

    def wait_for(self, ready, seconds=300):
        """Wait until TensorBoard has read what is there, and return what ``ready`` returns.

        While it reads, its answer may be an error: its Python loader changes what it lists.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(urllib.error.HTTPError):
                found = ready(self)
                if found:
                    return found
            time.sleep(0.3)
        raise TimeoutError(f"{self.address} doesn't show it after {seconds} s.")


@contextmanager
def serving(log_dir, *, load_fast):
    """Run TensorBoard on a free port of this machine while the context lasts."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir)]
    command += ["--host", "127.0.0.1", "--port", "0", "--reload_interval", "1"]
    command += ["--load_fast", load_fast]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "NO_PROXY": "127.0.0.1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    said, found = [], threading.Event()

    def listen():
        for line in process.stderr:
            said.append(line)
            if " at http" in line:
                found.set()
        found.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        assert found.wait(180), "".join(said)
        addresses = re.findall(r"at (http://127\.0\.0\.1:\d+/)", "".join(said))
        assert addresses, "".join(said)
        yield Server(addresses[0])
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join(20)
        process.stderr.close()
