"""What holds for every command: help with examples, errors in one line, exit codes, completion."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import chart_samples
from lossgap import LossgapError, cli
from lossgap.charts import Run, write_measurements
from lossgap.commands import app, conventions
from lossgap.trackers import leftovers
from program import check_arguments, commands

RUNNER = CliRunner()
PROGRAM = shutil.which("lossgap", path=Path(sys.executable).parent)
TESTS = Path(__file__).resolve().parent


ALL = dict(commands(get_command(app)))
GROUPS = {path[:n] for path in ALL for n in range(len(path))}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    """Be in an empty folder, which is the home too: completion is installed there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def told(monkeypatch, capsys, *arguments):
    """Run the program in this process; return its exit code and what it wrote to stderr."""
    monkeypatch.setattr(sys, "argv", ["lossgap", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code, capsys.readouterr().err


def examples(help_text):
    """Return the example lines at the end of a help, without their comments."""
    block = help_text.partition("Examples:\n")[2].partition("\n\n")[0]
    return [line.partition("  #")[0].strip() for line in block.splitlines() if line.strip()]


# Help.


@pytest.mark.parametrize("group", sorted(GROUPS), ids=" ".join)
def test_a_group_names_its_commands_and_shows_its_help_by_itself(group):
    shown = RUNNER.invoke(app, [*group])
    assert shown.exit_code == 0
    assert shown.output == RUNNER.invoke(app, [*group, "--help"]).output
    below = {path[len(group)] for path in ALL if path[: len(group)] == group}
    assert all(re.search(rf"^ +{name} ", shown.output, re.MULTILINE) for name in below)
    assert examples(shown.output)


def test_the_help_tells_the_exit_codes():
    text = RUNNER.invoke(app, ["--help"]).output.partition("Exit codes:\n")[2]
    codes = {int(line.split()[0]) for line in text.splitlines() if line.strip()}
    assert codes == {0, 1, cli.ERROR, cli.DEFECT, cli.INTERRUPTED}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_examples_of_its_own(path):
    result = RUNNER.invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    lines = examples(result.output)
    assert lines
    assert all(line.startswith(" ".join(["lossgap", *path])) for line in lines)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_says_what_it_does(path):
    # Arguments and options alike; older versions of typer keep no help of arguments.
    unsaid = [p.name for p in ALL[path].params if p.name != "help" and not getattr(p, "help", "")]
    assert unsaid == []


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_answers_scripts_in_json(path):
    assert any("--json" in parameter.opts for parameter in ALL[path].params)


@pytest.mark.parametrize(
    "line",
    [
        line
        for path in [*GROUPS, *ALL]
        for line in examples(RUNNER.invoke(app, [*path, "--help"]).output)
    ],
)
def test_an_example_has_arguments_that_the_program_takes(line):
    _, *arguments = shlex.split(line.partition(" > ")[0])
    check_arguments(arguments)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_a_test(path):
    calls = rf"""["']{path[-1]}["']"""
    files = [
        file
        for file in TESTS.rglob("test_*.py")
        if file.name != Path(__file__).name and re.search(calls, file.read_text(encoding="utf-8"))
    ]
    assert files


# Errors.


@pytest.mark.parametrize(
    ("arguments", "says", "help_of"),
    [
        (["dem"], "Did you mean 'demo'?", "lossgap"),
        (["--unknown"], "--unknown", "lossgap"),
        (["demo", "--epochs", "0"], "--epochs", "lossgap demo"),
        (["demo", "--epochs", "few"], "integer", "lossgap demo"),
        (["demo", "--seed", "-1"], "--seed", "lossgap demo"),
        (["report"], "PLACE", "lossgap report"),
        (["wandb", "install-panel"], "ENTITY/PROJECT", "lossgap wandb install-panel"),
        (["wandb", "instal-panel", "a/b"], "install-panel", "lossgap wandb"),
    ],
)
def test_wrong_arguments_are_one_line_that_names_the_help(
    arguments, says, help_of, monkeypatch, capsys
):
    code, text = told(monkeypatch, capsys, *arguments)
    assert code == 2
    (line,) = text.splitlines()
    assert line.startswith("lossgap: ")
    assert says in line
    assert line.endswith(f" See: {help_of} --help")


def raise_(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LossgapError("Received this.\n  Expected that."), "Received this. Expected that."),
        (
            PermissionError(13, "Permission denied", "page.html"),
            "Permission denied: 'page.html'. Name another place, or make it accessible.",
        ),
        (OSError("the disk is gone"), "OSError: the disk is gone"),
    ],
)
def test_what_goes_wrong_is_one_line_without_a_traceback(error, line, monkeypatch, capsys):
    monkeypatch.setattr(leftovers, "waiting", raise_(error))
    assert told(monkeypatch, capsys, "sync", "--list") == (2, f"lossgap: {line}\n")


def test_a_file_that_cannot_be_written_is_named(tmp_path, monkeypatch, capsys):
    write_measurements(tmp_path / "runs.jsonl", [Run("a", chart_samples.training(2))])
    place = str(tmp_path / "missing" / "page.html")
    code, text = told(monkeypatch, capsys, "report", "runs.jsonl", "-o", place)
    assert code == 2
    (line,) = text.splitlines()
    assert place in line


def test_a_defect_is_told_with_a_traceback_that_holds_no_secret(monkeypatch, capsys):
    monkeypatch.setenv("SOME_API_KEY", "correct-horse-battery")
    monkeypatch.setattr(leftovers, "waiting", raise_(KeyError("correct-horse-battery")))
    code, text = told(monkeypatch, capsys, "sync", "--list")
    assert code == 3
    assert "Traceback" in text
    assert "KeyError: '***'" in text
    assert text.splitlines()[-1].startswith("lossgap: this is a defect of lossgap.")


def test_an_interruption_has_a_code_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(leftovers, "waiting", raise_(KeyboardInterrupt()))
    assert told(monkeypatch, capsys, "sync", "--list") == (130, "")


def test_numbers_that_json_does_not_have_are_text(capsys):
    conventions.print_json({"a": [float("nan"), float("inf")], "b": (1.5,)})
    assert json.loads(capsys.readouterr().out) == {"a": ["NaN", "Infinity"], "b": [1.5]}


# Completion.


def completed(line):
    """Return what the installed program offers at the end of a line."""
    process = subprocess.run(
        [PROGRAM],
        env=os.environ
        | {
            "_LOSSGAP_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lossgap re", "report"),
        ("lossgap report --pn", "--png"),
        ("lossgap wandb i", "install-panel"),
    ],
)
def test_the_shell_is_offered(line, offered):
    assert completed(line) == [offered]


def test_completion_is_installed_where_the_shell_looks(tmp_path):
    process = subprocess.run(
        [PROGRAM, "--install-completion", "bash"],
        # Without it the shell is that of the parent process.
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "installed" in process.stdout
    assert "lossgap" in (tmp_path / ".bashrc").read_text(encoding="utf-8")
