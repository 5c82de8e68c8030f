"""The journal: a file that outlives its process, belongs to one owner, and may be broken."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from tracking import ENOUGH, environment, epochs, log, run_python

from lossgap.errors import DataError
from lossgap.trackers import journal as journals
from lossgap.trackers.journal import Journal
from lossgap.trackers.leftovers import send_all, waiting

OWNER = """
import sys, time
from lossgap.trackers.journal import Journal
journal = Journal.create("book", {"path": sys.argv[1]})
journal.write([(0, sys.argv[2])])
print(journal.path, flush=True)
time.sleep(1000)
"""


def left_behind(path, n=5):
    """Make a journal with ``n`` records, as a training leaves it."""
    journal = Journal.create("book", {"path": str(path)})
    journal.write((epoch, log(epoch).to_json()) for epoch in range(n))
    journal.close()
    return journal.path


def test_the_folder_is_where_the_variable_says_and_made_when_it_is_needed(tmp_path):
    assert journals.folder() == tmp_path / "outbox"
    assert journals.paths() == []
    assert not journals.folder().exists()
    assert left_behind(tmp_path / "book.txt").parent == tmp_path / "outbox"
    assert journals.folder().stat().st_mode & 0o077 == 0


def test_without_the_variable_it_is_in_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv("LOSSGAP_OUTBOX")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert journals.folder() == tmp_path / ".lossgap" / "outbox"


def test_without_a_home_the_disk_is_what_fails(monkeypatch):
    def homeless():
        raise RuntimeError("no home")

    monkeypatch.delenv("LOSSGAP_OUTBOX")
    monkeypatch.setattr(journals.Path, "home", homeless)
    with pytest.raises(OSError, match="no home"):
        journals.folder()
    assert journals.paths() == []


@pytest.mark.parametrize("name", ["a/b\\c", "..", "ü" * 300, "損失 \0"])
def test_any_name_of_a_tracker_makes_a_file_in_the_folder(name):
    journal = Journal.create(name, {})
    journal.write([(0, "x")])
    assert journal.path.parent == journals.folder()
    assert journal.origin() == (name, {})
    journal.close()
    assert journals.paths() == [journal.path]


def test_a_journal_is_its_owners_alone(tmp_path, monkeypatch):
    """Also in a folder that everybody reads."""
    (tmp_path / "open").mkdir(mode=0o755)
    monkeypatch.setenv("LOSSGAP_OUTBOX", str(tmp_path / "open"))
    journal = Journal.create("book", {})
    journal.write([(0, "x")])
    modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "open").iterdir()}
    assert len(modes) == 2  # the file, and what SQLite writes ahead
    assert set(modes.values()) == {0}
    journal.close()


def test_a_record_that_is_too_large_is_not_read(monkeypatch):
    monkeypatch.setattr(journals, "LARGEST_RECORD", 10)
    journal = Journal.create("book", {})
    journal.write([(0, "x" * 10), (1, "x" * 11)])
    found = iter(journal)
    assert next(found) == (0, "x" * 10)
    with pytest.raises(DataError, match="more than 10 characters"):
        next(found)
    journal.close()


def test_records_come_back_in_the_order_of_their_numbers():
    journal = Journal.create("book", {})
    journal.write([(10, "c"), (2, "b")])
    journal.write([(1, "a"), (2, "b")])
    assert list(journal) == [(1, "a"), (2, "b"), (10, "c")]
    journal.attempted({"run": 1}, n_delivered=3)
    journal.attempted({"run": 2}, n_delivered=0)
    assert list(journal) == [(10, "c")]
    assert journal.origin() == ("book", {"run": 2})
    journal.close()


def test_a_file_in_which_nothing_waits_goes_with_all_that_stands_beside_it():
    journal = Journal.create("book", {})
    journal.write([(1, "a")])
    journal.attempted({}, n_delivered=2)
    journal.close()
    assert list(journals.folder().iterdir()) == []


def test_the_second_owner_is_refused_while_the_first_lives(tmp_path):
    command = [sys.executable, "-c", OWNER, str(tmp_path / "book.txt"), log(0).to_json()]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as owner:
        path = journals.Path(owner.stdout.readline().strip())
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            Journal(path)
        (outcome,) = send_all()
        assert outcome.trouble == "in use by a training, or by another process that sends it"
        assert outcome.n_left is None
        assert next(send_all(only="book")).trouble == outcome.trouble
        owner.send_signal(signal.SIGKILL)
    (outcome,) = send_all()
    assert (outcome.n_sent, outcome.n_left, outcome.trouble) == (1, 0, None)
    assert epochs(tmp_path / "book.txt") == [0]
    assert list(journals.folder().iterdir()) == []


def test_the_second_owner_is_refused_within_a_process_too(tmp_path):
    first = Journal(left_behind(tmp_path / "book.txt"))
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Journal(first.path)
    assert len(first) == 5
    first.close()


def test_a_journal_that_is_just_being_made_is_not_taken_away():
    """Those who send look at every new file, and may see it before its owner has its lock."""
    stop = threading.Event()

    def look():
        while not stop.is_set():
            list(waiting())

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            journal = Journal.create("book", {})
            journal.write([(0, "x")])
            assert journal.path.exists()
            journal.close()
            assert journal.path.exists()
            journal.path.unlink()
    finally:
        stop.set()
        for thread in threads:
            thread.join(ENOUGH)


def test_a_forked_process_leaves_the_file_to_its_parent(tmp_path):
    """Its copy of the connection is collected; closing it would take away what isn't saved."""
    program = f"""
import gc, os, signal, sys
from lossgap.trackers.journal import Journal
from tracking import log
def main():
    journal = Journal.create("book", {{"path": {str(tmp_path / "book.txt")!r}}})
    journal.write((n, log(n).to_json()) for n in range(50))
    for leave in (sys.exit, os._exit):
        pid = os.fork()
        if pid == 0:
            del journal
            gc.collect()
            leave(0)
        assert os.waitpid(pid, 0)[1] == 0
    journal.write((n, log(n).to_json()) for n in range(50, 100))
    os.kill(os.getpid(), signal.SIGKILL)
main()
"""
    assert run_python(program).returncode == -signal.SIGKILL
    (outcome,) = send_all()
    assert (outcome.n_sent, outcome.trouble) == (100, None)
    assert epochs(tmp_path / "book.txt") == [*range(100)]


# Broken files.


def test_another_database_is_neither_changed_nor_removed(tmp_path):
    journals.folder().mkdir()
    path = journals.folder() / f"mine{journals.ENDING}"
    for name in (path, journals.folder() / "mine.sqlite"):
        database = sqlite3.connect(name)
        database.execute("CREATE TABLE records (mine TEXT)")
        database.close()
    (outcome,) = send_all()
    assert outcome.path == path
    assert "is no journal of lossgap's" in outcome.trouble
    assert path.exists()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("records",)]
    database.close()


def test_a_file_whose_maker_was_killed_before_the_first_record_is_cleared_away():
    journals.folder().mkdir()
    (journals.folder() / f"blank{journals.ENDING}").touch()
    assert list(waiting()) == []
    assert list(journals.folder().iterdir()) == []


def test_a_folder_is_no_journal():
    (journals.folder() / f"folder{journals.ENDING}").mkdir(parents=True)
    (outcome,) = send_all()
    assert "can't be read: unable to open database file" in outcome.trouble


@pytest.mark.parametrize("damage", ["garbage", "records", "origin", "record", "deep", "other"])
def test_a_corrupted_journal_is_reported_and_the_others_are_sent(damage, tmp_path):
    broken, whole = left_behind(tmp_path / "broken.txt"), left_behind(tmp_path / "whole.txt")
    if damage == "garbage":
        broken.write_bytes(random.Random(0).randbytes(broken.stat().st_size))
    else:
        statement, value = {
            "records": ("DROP TABLE records", ()),
            "origin": ("UPDATE origin SET value = ?", ("[1, 2",)),
            "record": ("UPDATE records SET record = ? WHERE number = 2", (b"\xff\xfe",)),
            "deep": ("UPDATE records SET record = ? WHERE number = 2", ("[" * 100_000,)),
            "other": (
                "UPDATE records SET record = ? WHERE number = 2",
                ('{"kind": "log", "wall_time": 1, "measurement": {"of the future": 1}}',),
            ),
        }[damage]
        database = sqlite3.connect(broken)
        database.execute(statement, value)
        database.commit()
        database.close()
    outcomes = {outcome.path: outcome for outcome in send_all()}
    assert outcomes[whole].n_left == 0
    assert outcomes[broken].trouble
    assert outcomes[broken].n_left != 0
    assert epochs(tmp_path / "whole.txt") == [*range(5)]
    assert not whole.exists()
    assert broken.exists()
    if damage in {"record", "deep", "other"}:
        assert epochs(tmp_path / "broken.txt") == [0, 1]


def killed_journal(folder, path, n=40):
    """Return the files of a journal whose process was killed: most of it is beside the file."""
    program = f"""
import os, signal
from lossgap.trackers.journal import Journal
from tracking import log
journal = Journal.create("book", {{"path": {str(path)!r}}})
for n in range({n}):
    journal.write([(n, log(n).to_json())])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_python(program, LOSSGAP_OUTBOX=str(folder)).returncode == -signal.SIGKILL
    return sorted(folder.iterdir())


def test_a_journal_cut_anywhere_never_stops_the_sending(tmp_path):
    path = tmp_path / "book.txt"
    files = killed_journal(tmp_path / "killed", path)
    assert [file.name.endswith("-wal") for file in files] == [False, True]
    choose = random.Random(0)
    n_whole = 0
    for cut in files:
        size = cut.stat().st_size
        for length in [0, 1, size - 1, *(choose.randrange(size) for _ in range(60))]:
            shutil.rmtree(journals.folder(), ignore_errors=True)
            shutil.copytree(files[0].parent, journals.folder())
            os.truncate(journals.folder() / cut.name, length)
            path.unlink(missing_ok=True)
            outcomes = list(send_all())
            sent = epochs(path)
            assert sent == [*range(len(sent))]
            assert all(outcome.n_left == 0 or outcome.trouble for outcome in outcomes)
            n_whole += bool(sent)
    assert n_whole > 30


def test_a_journal_cut_to_nothing_is_reported_and_its_rest_is_left_alone(tmp_path):
    file, rest = killed_journal(journals.folder(), tmp_path / "book.txt")
    os.truncate(file, 0)
    (outcome,) = send_all()
    assert outcome.trouble == f"{file} was cut to nothing."
    assert rest.exists()
    with pytest.raises(DataError):
        Journal(file)
