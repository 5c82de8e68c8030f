"""The command line, run in this process, as the installed program, and with packages missing."""

import io
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lossgap import Measurement, Part
from lossgap.commands import app
from lossgap.commands.tables import loss_table
from lossgap.core import keys

RUNNER = CliRunner()
PROGRAM = shutil.which("lossgap", path=Path(sys.executable).parent)
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    # Unset, so that the program has to keep TensorFlow quiet by itself.
    if not name.startswith("TF_") and name not in {"COLUMNS", "FORCE_COLOR"}
}
# A finder that hides packages, as if they weren't installed.
HIDING = """
import sys

class Hider:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hider())
sys.argv = ["lossgap", *{arguments!r}]
from lossgap.cli import main
main()
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run_without(hidden, *arguments, **variables):
    program = HIDING.format(hidden=hidden, arguments=arguments)
    return subprocess.run(
        [sys.executable, "-c", program],
        env=ENVIRONMENT | variables,
        capture_output=True,
        text=True,
        check=False,
    )


# Help and version.


def test_without_arguments_the_help_is_shown():
    assert RUNNER.invoke(app, []).output == RUNNER.invoke(app, ["--help"]).output
    assert RUNNER.invoke(app, []).exit_code == 0


def test_the_version_is_that_of_the_installed_package():
    result = RUNNER.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.split() == ["lossgap", version("lossgap")]


def test_the_help_loads_nothing_heavy():
    program = "import sys; import lossgap.commands; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(process.stdout.split())
    assert not loaded & {"keras", "tensorflow", "sklearn"}


# What can be missing.


@pytest.mark.parametrize("package", ["typer", "rich"])
@pytest.mark.parametrize("arguments", [["--help"], ["demo"]])
def test_without_the_cli_extra_one_line_says_what_to_install(package, arguments):
    process = run_without([package], *arguments)
    assert process.returncode == 2
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert package in line
    assert 'pip install "lossgap[cli]"' in line


@pytest.mark.parametrize("package", ["sklearn", "tensorflow"])
def test_without_the_demo_extra_one_line_says_what_to_install(package):
    process = run_without([package], "demo")
    assert process.returncode == 2
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert package in line
    assert 'pip install "lossgap[demo]"' in line


def test_the_help_needs_neither_scikit_learn_nor_a_backend():
    process = run_without(["sklearn", "tensorflow", "keras"], "demo", "--help")
    assert process.returncode == 0
    assert process.stderr == ""


def test_a_missing_backend_of_another_kind_is_not_looked_for_in_the_extra():
    process = run_without(["jax"], "demo", KERAS_BACKEND="jax")
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert "needs jax" in line
    assert "KERAS_BACKEND=tensorflow" in line
    assert "pip install" not in line


def test_another_missing_package_is_no_matter_of_extras():
    process = run_without(["lossgap.commands", "numpy"], "demo")
    assert process.returncode == 1
    assert "Traceback" in process.stderr
    assert "pip install" not in process.stderr


# The demo.

ROW = re.compile(r"^ +(\d+) +((?: *-?\d+\.\d+)+.*)$", re.MULTILINE)


def sections(output):
    """Return the demo's output by model."""
    return re.split(r"^\d\. ", output, flags=re.MULTILINE)[1:]


def rows(section):
    """Return the leading numbers of each epoch's row: five losses and the parts of the gap."""
    return {
        int(epoch): [float(n) for n in re.sub(r"± \S+", "", numbers).split()]
        for epoch, numbers in ROW.findall(section)
    }


def without_costs(output):
    return re.sub(
        r"^Cost: .*?once\s+per\s+fit\.|^To look at it.*", "", output, flags=re.MULTILINE | re.DOTALL
    )


@pytest.fixture(scope="module")
def piped(tmp_path_factory):
    """Return the streams of the installed program, both of them piped."""
    process = subprocess.run(
        [PROGRAM, "demo", "--epochs", "2"],
        cwd=tmp_path_factory.mktemp("demo"),
        env=ENVIRONMENT | {"COLUMNS": "80"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return process.stdout, process.stderr


def test_piped_output_is_plain_text_that_fits_the_terminal(piped):
    output, errors = piped
    assert errors == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", output)
    # Commands and addresses stay whole, so that they can be pasted.
    assert max(map(len, output.partition("To look at it:")[0].splitlines())) <= 80
    assert "…" not in output


def test_three_models_show_different_causes(piped):
    dropout, l2, convolution = sections(piped[0])
    for section, shown, absent in [
        (dropout, ["dropout", "drift"], ["penalty", "batch", "augmen"]),
        (l2, ["penalty", "drift"], ["batch", "augmen"]),
        (convolution, ["batch", "augmen", "drift"], ["penalty", "dropout"]),
    ]:
        table = section.partition("\n")[2].partition("───")[0]
        assert all(cause in table for cause in shown)
        assert not any(cause in table for cause in absent)


def test_every_epoch_has_a_row_whose_numbers_agree(piped):
    for section in sections(piped[0]):
        found = rows(section)
        assert list(found) == [1, 2]
        for reported, true, val, true_val, gap, *parts in found.values():
            assert gap == pytest.approx(reported - true, abs=0.002)
            assert sum(parts) == pytest.approx(gap, abs=0.003)
            assert true_val <= val + 0.001


def test_only_the_penalised_model_has_another_validation_loss(piped):
    dropout, l2, convolution = (rows(section)[2] for section in sections(piped[0]))
    assert l2[2] - l2[3] > 0.1
    assert dropout[2] == pytest.approx(dropout[3], abs=0.0011)
    assert convolution[2] == pytest.approx(convolution[3], abs=0.0011)


def test_each_model_has_its_cost_and_its_verdict(piped):
    for section in sections(piped[0]):
        text = " ".join(section.split())
        assert re.search(r"Cost: \d+\.\d+ s for 2 measurements, \d+\.\d% of the fit's", text)
        reported, true, *_ = rows(section)[2]
        told = re.search(
            r"In epoch 2 Keras reports a loss of ([\d.]+), but the true loss .*? is ([\d.]+\d)",
            text,
        )
        assert [float(number) for number in told.groups()] == pytest.approx([reported, true])


def table(measurements, width):
    console = Console(width=width, file=io.StringIO())
    console.print(loss_table(measurements, console))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("width", "n_causes", "rows", "tables"),
    [(140, 3, 2, 1), (80, 3, 4, 1), (80, 4, 6, 2)],
    ids=["wide", "narrow", "narrow with many causes"],
)
def test_a_table_fits_its_terminal(width, n_causes, rows, tables):
    parts = {name: Part(0.1, 0.01) for name in keys.MECHANISMS[:n_causes]}
    losses = {"reported_loss": 0.5, "val_loss": 0.4, "true_val_loss": 0.4}
    shown = table([Measurement(0.3, epoch=i, parts=parts, **losses) for i in range(2)], width)
    assert max(map(len, shown.splitlines())) <= width
    assert shown.count("epoch") == tables
    assert len(re.findall(r"^ .*(?:\d|±).*$", shown, re.MULTILINE)) == rows + 1
    assert shown.count("± 0.0100") == 2 * n_causes
    assert shown.count("± one standard error") == 1


def test_a_number_that_is_absent_leaves_its_cell_empty():
    measured = [Measurement(0.3, epoch=0), Measurement(0.2, epoch=1, parts={"drift": Part(0.1)})]
    shown = table(measured, 80)
    assert re.search(r"^ +1 +0\.3000 *$", shown, re.MULTILINE)
    assert "reported" not in shown
    assert re.search(r"^ +2 +0\.2000 +0\.1000 *$", shown, re.MULTILINE)
    assert "None" not in shown
    assert "standard error" not in shown


def test_the_demo_depends_on_nothing_but_its_seed():
    first, again, other = (
        RUNNER.invoke(app, ["demo", "--epochs", "1", "--seed", seed, "-o", f"{seed}{n}"])
        for n, seed in enumerate("778")
    )
    assert first.exit_code == 0
    assert first.stderr == ""
    assert len(sections(first.stdout)) == 3
    assert without_costs(first.stdout).count("Keras reports") == 3
    assert without_costs(first.stdout) == without_costs(again.stdout)
    assert without_costs(first.stdout) != without_costs(other.stdout)


def test_a_pipe_without_unicode_keeps_the_numbers():
    process = subprocess.run(
        [PROGRAM, "demo", "--epochs", "1"],
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        encoding="ascii",
        check=True,
    )
    assert process.stderr == ""
    # Rich draws the table with other characters; of the signs only "±" is lost.
    assert len(re.findall(r"^ +1 \| *\d\.\d+ \| *\d\.\d+ ", process.stdout, re.MULTILINE)) == 3


def test_on_a_terminal_the_progress_is_shown_by_epoch():
    import pty

    terminal, stderr = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, "demo", "--epochs", "1"],
        env=ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=stderr,
    ) as process:
        os.close(stderr)
        shown = b"".join(_read(terminal)).decode()
        output = process.stdout.read().decode()
    assert process.returncode == 0
    assert "\x1b" not in output
    plain = re.sub(r"\x1b\[[\d;?]*\w", "", shown)
    assert all(f"{number}. A" in plain for number in (1, 2, 3))
    assert re.search(r"epoch \S+ 1/1", plain)
    # Nothing else is written there: each line redraws one of the bars.
    lines = [line for line in re.split(r"[\r\n]+", plain) if line.strip()]
    assert all(re.match(r"\d\. A .*: epoch ", line) for line in lines)


def _read(terminal):
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # Linux's way of saying that the other end was closed
            return
        if not chunk:
            return
        yield chunk
