"""``lossgap measure --engine ray``: a saved model on a data set of Ray Data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lossgap
import own
from lossgap.commands import app
from lossgap.errors import InvalidArgumentError
from small import regression

X, Y = regression()
DATA = """
import numpy as np, ray.data
from small import regression

def training():
    x, y = regression()
    rows = [{"inputs": a, "targets": b} for a, b in zip(x, y)]
    return ray.data.from_items(rows, override_num_blocks=3), "inputs", "targets"

def validated():
    return {"train": training(), "validation": regression()}
"""


def measure(folder, module, function, *options):
    (folder / f"{module}.py").write_text(DATA)  # a process imports a name from one place alone
    arguments = ["measure", folder / "model-03.keras", "--data", f"{module}:{function}"]
    more = ["--path", folder, "--engine", "ray", *options]
    return CliRunner().invoke(app, [str(word) for word in [*arguments, *more]])


@pytest.fixture
def saved(tmp_path):
    model = own.linear()
    model.save(tmp_path / "model-03.keras")
    return tmp_path, model


def test_the_command_measures_a_data_set_of_ray_data(ray_data, saved):
    folder, model = saved
    done = measure(folder, "sharded_rows", "training", "--reported-loss", "9.0", "--json")
    assert done.exit_code == 0, done.output
    found, here = json.loads(done.stdout), lossgap.measure(model, X, Y)
    assert found["true_loss"] == pytest.approx(here.true_loss, rel=2e-6)
    assert found["reported_loss"] == 9.0
    parts = sum(part["value"] for part in found["parts"].values())
    assert parts == pytest.approx(9.0 - here.true_loss, rel=2e-6)
    assert found["epoch"] == 2


def test_validation_data_are_refused(ray_data, saved):
    done = measure(saved[0], "validated_rows", "validated")
    assert isinstance(done.exception, InvalidArgumentError)
    assert "training data alone" in str(done.exception)


def test_the_example_prints_one_number_twice(tmp_path):
    example = Path(__file__).resolve().parents[2] / "examples" / "ray_data.py"
    done = subprocess.run(
        [sys.executable, example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    there, here = (line for line in done.stdout.splitlines() if "true" in line)
    assert there.split()[-4:] == here.split()[-4:]
