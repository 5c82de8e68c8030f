"""Every file in examples/ runs without a warning and prints what it claims to.

They run without a display, in an empty directory, and write into it alone.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# What the trackers' clients, and NumPy beside TensorFlow, do is no matter of ours.
OF_OTHERS = "ignore::DeprecationWarning"


@pytest.fixture
def folder(tmp_path):
    """Return an empty directory; the outbox of the tests lies beside it."""
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.fixture
def run(folder):
    """Return a function that runs an example in the directory, and gives what it prints."""

    def run(name, *arguments):
        process = subprocess.run(
            [sys.executable, "-W", "error", "-W", OF_OTHERS, EXAMPLES / name, *arguments],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    return run


def numbers(line):
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+\.\d+", line)]


def test_quickstart(run):
    *lines, verdict = run("quickstart.py").splitlines()
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


def test_mlflow_autolog(run, folder):
    (folder / "here").mkdir()
    lines = run("mlflow_autolog.py", "here").splitlines()
    shown = {line.split()[0]: numbers(line)[0] for line in lines[:5]}
    gap = shown["reported_loss"] - shown["true_loss"]
    assert shown["regularization_gap"] == pytest.approx(gap, abs=2e-4)
    assert shown["gap_dropout"] > 0
    assert lines[5] == "Look at it: mlflow ui --backend-store-uri sqlite:///mlflow.db"
    assert (folder / "here" / "mlflow.db").is_file()
    assert [path.name for path in folder.iterdir()] == ["here"]


def test_wandb_offline(run, folder):
    losses, penalty, look = run("wandb_offline.py").splitlines()
    reported, true = numbers(losses)
    assert 0 < numbers(penalty)[0] <= reported - true
    assert (folder / look.removeprefix("Look at it: wandb leet ")).is_dir()
    assert [path.name for path in folder.iterdir()] == ["wandb"]


def test_tensorboard_curves(run, folder):
    curves, look = run("tensorboard_curves.py").splitlines()
    assert curves == "Curves: gap, train, true, validation, validation_true"
    assert look == "Look at it: tensorboard --logdir logs"
    from lossgap.tensorboard.reader import READER

    (found,) = READER.read(str(folder / "logs"))
    assert len(found.measurements) == 5


def test_custom_loop(run):
    rows = [numbers(line) for line in run("custom_loop.py").splitlines()]
    assert len(rows) == 5
    for reported, true, dropout, drift in rows:
        assert reported > true
        assert dropout + drift == pytest.approx(reported - true, abs=2e-4)


def test_tf_data_augmentation(run):
    rows = [numbers(line) for line in run("tf_data_augmentation.py").splitlines()]
    assert len(rows) == 8
    assert all(added > 0 for _, _, added in rows)
    reported, clean, added = rows[-1]
    assert added > (reported - clean) / 2


def test_class_imbalance(run):
    _, keras, alike, weights = run("class_imbalance.py").splitlines()
    reported, val = numbers(keras)
    true, true_val = numbers(alike)
    assert reported > val  # which looks odd, and is the weights
    assert true < true_val
    assert 0 < numbers(weights)[0] < reported - true


def test_early_stopping(run):
    by_val, by_true = run("early_stopping.py").splitlines()
    stopped = [int(re.search(r"stopped after +(\d+)", line)[1]) for line in (by_val, by_true)]
    assert stopped[1] < stopped[0] < 100
    # Later is worse on new data, though val_loss says otherwise.
    (late_val, late_true), (early_val, early_true) = numbers(by_val), numbers(by_true)
    assert late_val < early_val
    assert early_true < late_true


def test_sweep(run, folder):
    head, *rows, chosen, page = run("sweep.py").splitlines()
    assert head.split() == ["loss", "val_loss", "true", "true", "val", "generalization", "gap"]
    table = {row[:12].strip(): numbers(row[12:]) for row in rows}
    assert len(table) == 5
    by_true_val = [values[3] for values in table.values()]
    assert by_true_val == sorted(by_true_val)
    closest = min(table, key=lambda name: abs(table[name][0] - table[name][1]))
    assert (
        chosen
        == f"Curves that lie closest: {closest}. Lowest loss on new data: {next(iter(table))}."
    )
    assert closest != next(iter(table))
    assert page == "All of them, epoch by epoch: sweep.html"
    assert (folder / "sweep.html").read_text(encoding="utf-8").count('"verdict":') == 5


def test_article(run, folder):
    (folder / "here").mkdir()
    _, *rows, _ = run("article.py", "here").splitlines()
    cells = [row.replace("x", "").split() for row in rows]
    assert [rate for rate, *_ in cells] == ["0.0", "0.2", "0.4", "0.6"]
    ratios = [float(ratio) for _, ratio, _, _ in cells]
    assert all(ratio > 1.5 for ratio in ratios[1:])
    # Dropout lifts the reported loss above the validation loss; measured alike it never is there.
    apparent = [int(n) for _, _, n, _ in cells]
    assert apparent == sorted(apparent)
    assert apparent[-1] >= 10
    assert [real for *_, real in cells] == ["0"] * 4
    assert (folder / "here" / "true-loss.gif").read_bytes().startswith(b"GIF89a")


def test_own_tracker(run, folder):
    assert len(run("own_tracker.py").splitlines()) == 3
    rows = (folder / "measurements.csv").read_text(encoding="utf-8").splitlines()
    assert sum(",lossgap/true_loss," in row for row in rows) == 3


def test_notebook_shows_the_charts(folder):
    shown = folder / "shown.ipynb"
    program = Path(sys.executable).with_name("jupyter-execute")
    subprocess.run(
        [program, EXAMPLES / "notebook.ipynb", "--output", shown],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    cells = json.loads(shown.read_text(encoding="utf-8"))["cells"]
    outputs = {cell["id"]: cell.get("outputs", []) for cell in cells}
    page = "".join(outputs["summary"][0]["data"]["text/html"])
    assert page.count("data:image/svg+xml") == 3
    assert "In epoch 10 Keras reports a loss of" in page
    assert "<svg" in "".join(outputs["chart"][0]["data"]["image/svg+xml"])
    said = [output for found in outputs.values() for output in found if "name" in output]
    assert {output["name"] for output in said} == {"stdout"}  # no messages of TensorFlow's


def test_the_notebook_is_kept_without_outputs():
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)


def test_every_example_is_run_by_a_test():
    tests = (path for path in EXAMPLES.with_name("tests").rglob("test_*.py"))
    text = "".join(path.read_text(encoding="utf-8") for path in tests)
    examples = [path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".ipynb"}]
    assert "quickstart.py" in examples
    assert [name for name in examples if f'"{name}"' not in text] == []
