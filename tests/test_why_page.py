"""The page about training losses above validation losses: its numbers, and what it says of them."""

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
sys.path.insert(0, str(DOCS))

import make_why  # noqa: E402

ROWS = {
    cells[1].strip(): [float(cell) for cell in cells[2:6]] + [cells[6].strip()]
    for cells in (
        line.split("|") for line in (DOCS / "why.md").read_text(encoding="utf-8").splitlines()
    )
    if len(cells) == 8 and re.fullmatch(r" \d+\.\d+ ", cells[2])
}


def test_the_page_has_every_case():
    assert list(ROWS) == [case.name for case in make_why.CASES]


@pytest.mark.parametrize("name", ROWS)
def test_keras_reports_a_training_loss_above_the_validation_loss(name):
    reported, val, *_ = ROWS[name]
    assert reported > val


@pytest.mark.parametrize("case", make_why.CASES, ids=lambda case: case.name)
def test_the_numbers_of_the_page_are_those_of_the_script(case):
    measured = make_why.measure(case)
    *losses, part = ROWS[case.name]
    found = [
        measured.reported_loss,
        measured.val_loss,
        measured.true_loss,
        measured.true_val_loss,
    ]
    # Other processors round otherwise, and trainings amplify it.
    assert losses == pytest.approx(found, rel=0.05, abs=0.005)
    if case.part:
        assert part.startswith(f"`{case.part}` ")
        value = measured.parts[case.part].value
        assert float(part.split()[1]) == pytest.approx(value, rel=0.1, abs=0.01)
        largest = max(measured.parts, key=lambda name: measured.parts[name].value)
        assert largest == case.part
    else:
        # No mechanism lifts it: measured alike, it is still above.
        assert measured.true_loss > measured.true_val_loss + 0.1
        assert measured.regularization_gap < 0.1 * measured.reported_loss
