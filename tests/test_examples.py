"""Every file in examples/ runs without a warning and prints what it claims to."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name):
    process = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return process.stdout


def check_quickstart(output):
    *lines, verdict = output.splitlines()
    pattern = r"epoch +(\d+)  reported ([\d.]+)  true ([\d.]+)  val ([\d.]+)"
    rows = [[float(n) for n in re.fullmatch(pattern, line).groups()] for line in lines]
    assert [row[0] for row in rows] == list(range(1, 11))
    # Dropout raises the reported loss in every epoch, and the model learns.
    assert all(reported > true for _, reported, true, _ in rows)
    assert rows[-1][2] < rows[0][2] / 2
    _, reported, true, _ = rows[-1]
    assert verdict.startswith(f"In epoch 10 Keras reports a loss of {reported:.4f}")
    assert f"{true:.4f}" in verdict
    assert "dropout" in verdict


CHECKS = {"quickstart.py": check_quickstart}


def test_every_example_is_checked():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_the_example_prints_what_it_claims(name):
    CHECKS[name](run(name))
