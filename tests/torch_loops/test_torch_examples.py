"""The examples of PyTorch run, and print numbers that fit together."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def lines(name, folder):
    # Not with warnings as errors: Lightning has some of its own.
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []
    return [line for line in done.stdout.splitlines() if line.startswith("epoch")]


def named(line):
    return {name: float(value) for name, value in re.findall(r"(\w+) ([-+]?\d+\.\d+)", line)}


def test_a_loop_prints_the_gap_by_cause(tmp_path):
    rows = [named(line) for line in lines("pytorch_loop.py", tmp_path)]
    assert len(rows) == 5
    for row in rows:
        parts = row["penalty"] + row["dropout"] + row["drift"]
        assert row["reported"] - row["true"] == pytest.approx(parts, abs=3e-4)
    assert rows[-1]["true"] < rows[0]["true"] / 2


def test_a_training_of_lightning_prints_true_losses(tmp_path):
    rows = [named(line) for line in lines("lightning_callback.py", tmp_path)]
    assert len(rows) == 5
    assert rows[-1]["true"] < rows[0]["true"] / 2
    assert rows[-1]["dropout"] > 0
