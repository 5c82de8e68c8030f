"""``lossgap sync``: what waits is sent, and a line says what became of each journal."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lossgap import Measurement
from lossgap.commands import app
from lossgap.trackers import journal as journals
from lossgap.trackers import registry
from lossgap.trackers.journal import Journal
from lossgap.trackers.records import Finish, Log

RUNNER = CliRunner()


class Page:
    """A tracker that writes the epochs into a file; where the file can't be, it fails."""

    name = "page"

    def __init__(self, path):
        self.path = path

    def start(self, training):
        pass

    def log(self, measurement, wall_time):
        with Path(self.path).open("a") as file:
            file.write(f"{measurement.epoch}\n")

    def finish(self, summary, *, failed):
        return []

    def destination(self):
        return {"path": self.path}

    @classmethod
    def resume(cls, destination):
        return cls(destination["path"])


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setattr(registry, "tracker_class", {"page": Page}.__getitem__)


def left_behind(path):
    journal = Journal.create("page", {"path": str(path)})
    journal.write((n, Log(Measurement(1.0, epoch=n), 0.0).to_json()) for n in range(3))
    journal.write([(3, Finish(None, failed=False).to_json())])
    journal.close()
    return journal.path


def sync(*arguments):
    result = RUNNER.invoke(app, ["sync", *arguments], catch_exceptions=False)
    assert result.stderr == ""
    return result.exit_code, result.stdout


def test_without_anything_that_waits_it_says_so():
    assert sync() == (0, "Nothing waits.\n")
    assert sync("--list") == (0, "Nothing waits.\n")
    assert sync("--json") == (0, "[]\n")


def test_all_is_sent_and_a_line_says_so(tmp_path):
    place = left_behind(tmp_path / "page.txt")
    assert sync() == (0, f"{place}: page: 4 sent, 0 left\n")
    assert (tmp_path / "page.txt").read_text().split() == ["0", "1", "2"]
    assert sync() == (0, "Nothing waits.\n")


def test_what_is_left_is_told_with_the_reason(tmp_path):
    place, other = left_behind(tmp_path / "no folder" / "page.txt"), left_behind(tmp_path / "page")
    code, output = sync()
    assert code == 1
    told = dict(line.split(": ", 1) for line in output.splitlines())
    assert re.match(r"page: 4 left \(FileNotFoundError: .*\)$", told[str(place)])
    assert told[str(other)] == "page: 4 sent, 0 left"


def test_a_broken_file_is_told_and_stops_nothing(tmp_path):
    place = left_behind(tmp_path / "page.txt")
    broken = place.with_name(f"a{journals.ENDING}")
    broken.write_bytes(b"no database at all, and long enough to be seen as none" * 100)
    code, output = sync()
    assert code == 1
    first, second = output.splitlines()
    assert first == f"{place}: page: 4 sent, 0 left"
    assert second == (
        f"{broken}: not sent (can't be read: file is not a database. Remove the file to give it up)"
    )


def test_a_list_sends_nothing(tmp_path):
    place = left_behind(tmp_path / "page.txt")
    assert sync("--list") == (1, f"{place}: page: 4 left\n")
    assert place.exists()
    assert not (tmp_path / "page.txt").exists()


def test_scripts_get_json(tmp_path):
    place = left_behind(tmp_path / "page.txt")
    record = {
        "path": str(place),
        "tracker": "page",
        "n_sent": 0,
        "n_left": 4,
        "trouble": None,
        "lines": [],
    }
    code, output = sync("--list", "--json")
    assert (code, json.loads(output)) == (1, [record])
    code, output = sync("--json")
    assert (code, json.loads(output)) == (0, [record | {"n_sent": 4, "n_left": 0}])


def test_the_installed_program_loads_no_keras_to_tell_what_waits(tmp_path):
    place = left_behind(tmp_path / "page.txt")
    hidden = "import sys; sys.modules['keras'] = None; sys.argv[1:] = ['sync', '--list']; "
    process = subprocess.run(
        [sys.executable, "-c", hidden + "from lossgap.cli import main; main()"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (1, f"{place}: page: 4 left\n")
    assert process.stderr == ""


WATCHED = """
import sys
import test_sync_command as tests
from lossgap import cli
tests.registry.tracker_class = {"page": tests.Page}.__getitem__
sys.argv[1:] = ["sync"]
cli.main()
"""


def test_on_a_terminal_the_progress_is_shown_beside_the_lines(tmp_path):
    import pty

    place = left_behind(tmp_path / "page.txt")
    terminal, stderr = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED],
        env=os.environ
        | {"TERM": "xterm", "COLUMNS": "160", "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=stderr,
    ) as process:
        os.close(stderr)
        output = process.stdout.read().decode()
        shown = os.read(terminal, 2**16).decode()
    os.close(terminal)
    assert process.returncode == 0
    assert output == f"{place}: page: 4 sent, 0 left\n"
    assert re.search(r"4/4", re.sub(r"\x1b\[[\d;?]*\w", "", shown))
