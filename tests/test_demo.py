"""What the demo leaves behind: a report, runs in three trackers, and commands that show them."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lossgap.charts import read_measurements
from lossgap.commands import app, demo_places
from lossgap.wandb import read_runs

RUNNER = CliRunner()
BIN = Path(sys.executable).parent
PROGRAM = shutil.which("lossgap", path=BIN)
NAMES = ["convolution", "dropout", "l2"]
PATIENCE = 120  # seconds, of which a quiet machine needs a tenth


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(folder):
    """Run the installed program once, without its environment being active; return its output."""
    process = subprocess.run(
        [PROGRAM, "demo", "--epochs", "2"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("TF_")},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert process.stderr == ""
    return process.stdout.partition("To look at it:")[2]


def free_port():
    """Return a port that nothing listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def command_of(told, program):
    """Return the words of the command line that the demo printed for a program."""
    (line,) = re.findall(rf"^  (\S*\b{program} .*)$", told, re.MULTILINE)
    return shlex.split(line)


@contextmanager
def served(command, folder, tmp_path):
    """Run the command of a server in the demo's folder, and end it with all of its children."""
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()


def answer(address, data=None):
    """Ask a server until it answers, and return its JSON."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, data, headers)
    last = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                found = json.load(response)
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < last
        else:
            if found:
                return found
        time.sleep(0.5)


def test_the_page_and_the_measurements_are_of_all_three_models(told, folder):
    assert "open lossgap-demo/report.html in a browser" in told
    page = (folder / "lossgap-demo" / "report.html").read_text(encoding="utf-8")
    assert page.count('"verdict":') == 3
    runs = read_measurements(folder / "lossgap-demo" / "measurements.jsonl")
    assert [len(run.measurements) for run in runs] == [2, 2, 2]


def test_the_command_for_mlflow_serves_the_runs(told, folder, tmp_path):
    port = free_port()
    command = [*command_of(told, "mlflow"), "--port", str(port), "--workers", "1"]
    with served(command, folder, tmp_path):
        asked = json.dumps({"experiment_ids": ["1"]}).encode()
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search"
        runs = answer(address, asked)["runs"]
    assert sorted(run["info"]["run_name"] for run in runs) == NAMES
    assert {run["info"]["status"] for run in runs} == {"FINISHED"}
    measured = [{metric["key"] for metric in run["data"]["metrics"]} for run in runs]
    assert all("lossgap/true_loss" in keys for keys in measured)


def test_the_command_for_tensorboard_serves_the_runs(told, folder, tmp_path):
    port = free_port()
    with served([*command_of(told, "tensorboard"), "--port", str(port)], folder, tmp_path):
        runs = answer(f"http://127.0.0.1:{port}/data/runs")
    assert {run.partition("/")[0] for run in runs} == set(NAMES)
    assert {run.partition("/")[2] for run in runs} >= {"train", "true", "gap"}


def test_the_commands_for_weights_and_biases_are_about_the_runs(told, folder):
    leet, sync = (command_of(told, f"wandb {name}") for name in ("leet", "sync"))
    # The viewer itself wants a terminal (tests/wandb_tracker has one); its help wants none.
    subprocess.run([*leet, "--help"], cwd=folder, check=True, capture_output=True)
    assert (folder / leet[-1]).is_dir()
    runs = sorted(folder.glob(sync[-1]))
    assert len(runs) == 3
    (found,) = read_runs(str(runs[0]))
    assert len(found.measurements) == 2


def test_a_second_demo_adds_to_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        found = RUNNER.invoke(app, ["demo", "--epochs", "1", "--json"], catch_exceptions=False)
        record = json.loads(found.stdout)
    assert [len(model["measurements"]) for model in record["models"]] == [1, 1, 1]
    assert record["report"] == "lossgap-demo/report.html"
    assert set(record["commands"]) == {"mlflow", "tensorboard", "wandb"}
    assert len(list(tmp_path.glob("lossgap-demo/wandb/offline-run-*"))) == 6
    assert len(list(tmp_path.glob("lossgap-demo/logs/*/attempt_2"))) == 3


def test_what_is_not_installed_is_left_out_and_named(tmp_path, monkeypatch):
    missing = [place for place in demo_places.PLACES if place.extra != "tensorboard"]
    there = [place for place in demo_places.PLACES if place.extra == "tensorboard"]
    monkeypatch.setattr(demo_places, "installed", lambda: (there, missing))
    monkeypatch.chdir(tmp_path)
    found = RUNNER.invoke(app, ["demo", "--epochs", "1"], catch_exceptions=False)
    last = found.stdout.splitlines()[-1]
    assert last.startswith("Not installed, so left out: MLflow and Weights & Biases.")
    assert last.endswith('pip install "lossgap[mlflow,wandb]"')
    assert sorted(path.name for path in (tmp_path / "lossgap-demo").iterdir()) == [
        "logs",
        "measurements.jsonl",
        "report.html",
    ]


def test_the_report_is_opened_when_asked(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    monkeypatch.setattr(demo_places, "installed", lambda: ([], []))
    monkeypatch.chdir(tmp_path)
    RUNNER.invoke(app, ["demo", "--epochs", "1", "--open"], catch_exceptions=False)
    assert opened == [(tmp_path / "lossgap-demo" / "report.html").as_uri()]


def test_where_there_is_no_browser_the_page_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    monkeypatch.setattr(demo_places, "installed", lambda: ([], []))
    monkeypatch.chdir(tmp_path)
    found = RUNNER.invoke(app, ["demo", "--epochs", "1", "--open"], catch_exceptions=False)
    assert found.stderr == "No browser was found. Open lossgap-demo/report.html in one.\n"


def test_programs_are_named_with_the_path_that_reaches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(BIN))
    assert demo_places.program("lossgap") == "lossgap"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(BIN.parent.parent)
    assert demo_places.program("lossgap") == f"{BIN.parent.name}/{BIN.name}/lossgap"
    monkeypatch.chdir(tmp_path)
    assert demo_places.program("lossgap") == str(BIN / "lossgap")
