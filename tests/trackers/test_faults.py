"""What happens to a training's journal and folders, to its clock, and beside it."""

import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tracking import (
    END,
    HERE,
    Book,
    environment,
    epochs,
    kept,
    lines,
    log,
    n_journals,
    run_python,
    set_mood,
    wait_until,
)

from lossgap.trackers import journal as journals
from lossgap.trackers.journal import Journal
from lossgap.trackers.leftovers import send_all
from lossgap.trackers.outbox import Outbox
from lossgap.trackers.records import Log

pytestmark = pytest.mark.usefixtures("_impatient")

TRAINER = """
import os, resource, shutil, signal, sys, time, warnings
from pathlib import Path
from lossgap.core.observers import Training
from lossgap.trackers import Delivery, journal, outbox
from tracking import Book, kept, log, wait_until
outbox.PUTTING_PATIENCE, outbox.PUTTING_SHARE = 60.0, 1.0  # however busy the machine is
outbox.PATIENCE = outbox.FIRST_PATIENCE = outbox.FAILING_PATIENCE = 0.1
warnings.simplefilter("always")
delivery = Delivery(Book())
delivery.begin(Training({}))
(box,) = delivery._outboxes

def measure(*epochs):
    for epoch in epochs:
        delivery.measured(log(epoch).measurement)
    print(epochs[-1] + 1, flush=True)

def full(bytes):
    # No write beyond so many bytes of a file succeeds: as on a disk without space.
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes, resource.RLIM_INFINITY))

def read_only(*folders):
    # For root, who may write everywhere, only as somebody else.
    for folder in folders:
        os.chmod(folder, 0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

measure(0, 1, 2)
"""


def trained(path, happening, **variables):
    """Train beside a tracker that hangs, and let something happen; return the process."""
    set_mood(path, "hangs")
    process = run_python(TRAINER + happening, warnings="default", BOOK=str(path), **variables)
    set_mood(path, "works")
    assert "Traceback" not in process.stderr
    return process


def all_sent(path, figures, what, made):
    """Send what waits, and check that all that was measured is there, once and in order."""
    assert [(outcome.n_left, outcome.trouble) for outcome in send_all()] == [(0, None)]
    found = [epoch for epoch in epochs(path) if epoch != "end"]
    assert found == [*range(made)]
    figures(what, made, len(found))


# The journal's disk.


def test_a_journal_that_is_removed_in_mid_training_is_made_anew(path, figures):
    process = trained(path, "shutil.rmtree(journal.folder())\nmeasure(3, 4)\nkilled()")
    assert process.stdout.split() == ["3", "5"]
    all_sent(path, figures, "the journal removed, and a kill", 5)


def test_a_journal_whose_file_alone_is_removed_is_made_anew(path, figures):
    process = trained(path, "box._keeper.path.unlink()\nmeasure(3)\nkilled()")
    assert process.returncode == -signal.SIGKILL
    outcomes = list(send_all())
    assert [outcome.n_left for outcome in outcomes] == [0]
    assert epochs(path) == [0, 1, 2, 3]
    figures("the journal's file removed, and a kill", 4, 4)


def test_a_journal_that_is_removed_after_the_last_measurement_is_made_anew_at_the_end(
    path, figures
):
    process = trained(path, "shutil.rmtree(journal.folder())\ndelivery.end(None)\nkilled()")
    (place,) = journals.paths()
    assert str(place) in process.stderr
    all_sent(path, figures, "the journal removed before the end", 3)
    assert lines(path)[-1]["failed"] is False


def test_a_full_disk_in_mid_training_is_told_and_what_it_lacks_is_written_when_there_is_space(
    path, figures
):
    process = trained(
        path,
        "full(4096)\n"
        "measure(3, 4)\n"
        "print(kept(box), flush=True)\n"
        "full(resource.RLIM_INFINITY)\n"
        "delivery.end(None)\n"
        "killed()",
    )
    assert process.stdout.split() == ["3", "5", "3"]
    all_sent(path, figures, "the journal's disk full for a while", 5)


def test_a_disk_that_stays_full_loses_nothing_that_it_had_and_says_what_it_lacks(path, figures):
    process = trained(path, "full(4096)\nmeasure(3, 4)\ndelivery.end(None)\nkilled()")
    assert "can't be written to disk" in process.stderr
    assert "5 measurements and the end of the training are not delivered yet" in process.stderr
    assert "It is lost if this process ends" in process.stderr
    all_sent(path, figures, "the journal's disk full to the end: what it had", 3)


def test_a_folder_that_becomes_read_only_in_mid_training_changes_nothing(figures):
    """The journal is open by then."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        place.chmod(0o755)
        path, outbox = place / "book.txt", place / "outbox"
        process = trained(
            path, "read_only(journal.folder())\nmeasure(3, 4)\nkilled()", LOSSGAP_OUTBOX=str(outbox)
        )
        assert process.stdout.split() == ["3", "5"], process.stderr
        assert "LossgapWarning" not in process.stderr
        outbox.chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOSSGAP_OUTBOX", str(outbox))
            all_sent(path, figures, "the journal's folder read-only, and a kill", 5)


# The journal's file.


def small_pages(monkeypatch):
    """Let a journal have as few bytes as SQLite can do with."""
    settings = ("PRAGMA page_size = 512", *journals._SETTINGS)
    monkeypatch.setattr(journals, "_SETTINGS", settings)


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_journal_cut_at_every_byte_gives_back_what_is_whole(
    suffix, tmp_path, monkeypatch, figures
):
    """A killed trainer's journal, file and write-ahead log: each prefix of one, with the other."""
    small_pages(monkeypatch)
    n = 3
    source = journals.folder()
    journal = Journal.create("book", {"path": str(tmp_path / "book.txt")})
    for epoch in range(n):
        journal.write([(epoch, log(epoch).to_json())])
    if not suffix:  # all of it in the file itself, as after an end in good order
        journal.close()
    whole = {file.name: file.read_bytes() for file in source.iterdir()}
    journal.abandon()  # as a kill does
    name = f"{journal.path.name}{suffix}"
    target = tmp_path / "cut"
    target.mkdir()
    monkeypatch.setenv("LOSSGAP_OUTBOX", str(target))
    path = tmp_path / "book.txt"
    most = 0
    for length in range(len(whole[name]) + 1):
        for file in target.iterdir():
            file.unlink()
        for other, data in whole.items():
            (target / other).write_bytes(data[:length] if other == name else data)
        path.unlink(missing_ok=True)
        outcomes = list(send_all())
        sent = epochs(path)
        assert sent == [*range(len(sent))]
        assert all(outcome.n_left == 0 or outcome.trouble for outcome in outcomes)
        most = max(most, len(sent))
    assert sent == [*range(n)]  # the last was whole
    figures(f"a journal{suffix} cut at each of its {length:,} bytes: the whole one", n, most)


# Several trainings.


def test_two_trainings_in_one_folder_that_are_killed_lose_nothing_and_mix_nothing(
    tmp_path, figures
):
    choose = random.Random(7)
    paths = [tmp_path / "one.txt", tmp_path / "other.txt"]
    for path in paths:
        set_mood(path, "works")
    commands = [
        [sys.executable, str(HERE / "doomed.py"), str(path), "fails", str(choose.random())]
        for path in paths
    ]
    trainers = [
        subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    made = []
    for trainer in trainers:
        with trainer:
            told = [trainer.stdout.readline() for _ in range(30)]
            trainer.send_signal(signal.SIGKILL)
            told += [line for line in trainer.stdout if line.endswith("\n")]
        made.append(int(told[-1]))
    for path in paths:
        set_mood(path, "works")
    assert all(outcome.n_left == 0 for outcome in send_all())
    for path, n in zip(paths, made, strict=True):
        found = sorted(set(epochs(path)))
        assert found == [*range(len(found))]
        assert len(found) >= n
    figures("two trainings in one folder, both killed", sum(made), sum(made))


def test_a_training_leaves_the_journal_of_one_that_runs_alone(book, path, tmp_path):
    set_mood(path, "hangs")
    running = Outbox(book)
    running.put(log(0))
    wait_until(lambda: kept(running) == 1)
    (outcome,) = send_all()
    assert outcome.trouble == "in use by a training, or by another process that sends it"
    other = Outbox(Book(tmp_path / "other.txt"))
    other.put(log(0))
    other.put(END)
    other.close()
    assert epochs(tmp_path / "other.txt") == [0, "end"]
    set_mood(path, "works")
    running.put(END)
    wait_until(lambda: n_journals() == 0)
    assert epochs(path) == [0, "end"]


# The clock.


def test_a_clock_that_is_set_back_changes_no_order_and_no_waiting(book, path, monkeypatch):
    """What waits and what is late is told by a clock that can't be set."""
    now = [2e9]

    def earlier():
        now[0] -= 3600
        return now[0]

    monkeypatch.setattr(time, "time", earlier)
    set_mood(path, "fails")
    outbox = Outbox(book)
    for epoch in range(5):
        outbox.put(Log(log(epoch).measurement, time.time()))
    wait_until(lambda: kept(outbox) == 5)
    set_mood(path, "works")
    outbox.put(END)
    outbox.close()
    wait_until(lambda: n_journals() == 0)
    assert epochs(path) == [*range(5), "end"]
    times = [line["wall_time"] for line in lines(path)[:-1]]
    assert times == sorted(times, reverse=True)


# A burst.


def test_a_burst_of_ten_thousand_that_is_killed_is_all_there(path, figures):
    process = trained(
        path, "measure(*range(3, 10_000))\nwait_until(lambda: kept(box) == 10_000)\nkilled()"
    )
    assert process.stdout.split() == ["3", "10000"]
    all_sent(path, figures, "a burst of 10,000, and a kill", 10_000)


# What the documentation says of all this.


def test_the_tests_that_the_table_of_faults_names_are_there():
    text = (HERE.parents[1] / "docs" / "trackers.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and ".py" in line]
    assert len(rows) > 10
    named = {name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row)}
    assert [name for name in sorted(named) if not (HERE.parent / name).is_file()] == []
