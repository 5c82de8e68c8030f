"""A live TensorBoard, started and ended by a test."""

import contextlib
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

STARTING_SECONDS = 120
WAITING_SECONDS = 90

# What the interpreter of a server runs first: a package that can't be imported.
BREAK = """
import importlib.abc, sys

class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {name!r} or name.startswith({name!r} + "."):
            raise {error}

sys.meta_path.insert(0, Broken())
"""


class Server:
    """A running TensorBoard on this machine.

    Attributes:
        address: Where it answers, with a slash at the end.
        lines: What it has written so far.
    """

    def __init__(self, process):
        self.process = process
        self.lines = []
        self.address = None
        self._known = threading.Event()
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()
        if not self._known.wait(STARTING_SECONDS) or self.address is None:
            self.stop()
            raise AssertionError("TensorBoard didn't start:\n" + "".join(self.lines))

    def _follow(self):
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"at (http://127\.0\.0\.1:\d+/)", line)
            if found:
                self.address = found[1]
                self._known.set()
        self._known.set()

    def get(self, path, **headers):
        """Return status, headers and content of an answer, whatever the status."""
        request = urllib.request.Request(self.address + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def ask(self, question, *parameters):
        """Return the plugin's answer to a question."""
        query = urllib.parse.urlencode(parameters)
        status, _, content = self.get(f"data/plugin/lossgap/{question}?{query}")
        assert status == 200, content
        return json.loads(content)

    def models(self):
        """Return the rows of the overview by name."""
        answer = self.ask("overview")
        rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
        return {row["name"]: row for row in rows}

    def wait_for(self, condition):
        """Wait until ``condition()`` is true: loading takes its time."""
        end = time.monotonic() + WAITING_SECONDS
        while not (found := condition()):
            assert time.monotonic() < end, "".join(self.lines)
            time.sleep(0.2)
        return found

    def stop(self):
        """End the server and the data server below it."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._follower.join(30)
        self.process.stderr.close()


@contextlib.contextmanager
def serving(logdir, *, fast=True, options=(), python=sys.executable, environment=None):
    """Start TensorBoard on a free port, and end it."""
    command = [
        python,
        "-m",
        "tensorboard.main",
        f"--logdir={logdir}",
        f"--load_fast={str(fast).lower()}",
        "--host=127.0.0.1",
        "--port=0",
        "--reload_interval=1",
        *options,
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    server = Server(process)
    try:
        yield server
    finally:
        server.stop()


def broken(folder, name, error):
    """Return an environment in which the import of a module fails."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(BREAK.format(name=name, error=error))
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def without(name, folder):
    """Return an environment in which a package isn't installed."""
    return broken(folder, name, f"ModuleNotFoundError('No module', name={name!r})")
