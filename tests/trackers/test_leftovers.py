"""What earlier trainings left: sent later, in order, once, whoever sends it."""

import random
import signal
import subprocess
import sys
import threading

import pytest
from tracking import (
    END,
    HERE,
    Book,
    BufferedBook,
    PlainBook,
    environment,
    epochs,
    log,
    n_journals,
    run_python,
    set_mood,
    wait_until,
)

from lossgap.core.observers import Training
from lossgap.errors import LossgapError
from lossgap.trackers import journal as journals
from lossgap.trackers import leftovers
from lossgap.trackers.delivery import Delivery
from lossgap.trackers.journal import Journal
from lossgap.trackers.leftovers import send_all, waiting

N_KILLS = 25  # of each kind of tracker


def left_behind(path, n=5, tracker="book"):
    """Make a journal with ``n`` measurements and the end, as a training leaves it."""
    journal = Journal.create(tracker, {"path": str(path)})
    journal.write((epoch, log(epoch).to_json()) for epoch in range(n))
    journal.write([(n, END.to_json())])
    journal.close()
    return journal.path


def test_nothing_waits_where_nothing_was_left():
    assert list(send_all()) == []
    assert list(waiting()) == []


def test_all_that_waits_is_sent_in_order_once_and_the_files_go(path, tmp_path):
    other = tmp_path / "other.txt"
    places = [left_behind(path), left_behind(other, 2)]
    outcomes = {outcome.path: outcome for outcome in send_all()}
    assert [(outcomes[p].n_sent, outcomes[p].n_left) for p in places] == [(6, 0), (3, 0)]
    assert epochs(path) == [*range(5), "end"]
    assert epochs(other) == [0, 1, "end"]
    assert list(journals.folder().iterdir()) == []
    assert list(send_all()) == []


def test_looking_sends_nothing(path):
    place = left_behind(path)
    (outcome,) = waiting()
    assert (outcome.path, outcome.tracker, outcome.n_left) == (place, "book", 6)
    assert epochs(path) == []
    assert place.exists()


def test_progress_is_told_after_each_record(path):
    left_behind(path, 2)
    told = []
    list(send_all(progress=lambda place, n, total: told.append((n, total))))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_only_one_trackers_journals_are_sent(path):
    left_behind(path, tracker="other")
    assert list(send_all(only="book")) == []
    assert n_journals() == 1


def test_a_tracker_that_fails_again_keeps_what_it_has_not_taken(path):
    left_behind(path)

    def fail_after_two(place, n, total):
        if n == 2:
            set_mood(path, "fails")

    (outcome,) = send_all(progress=fail_after_two)
    assert (outcome.n_sent, outcome.n_left) == (2, 4)
    assert outcome.trouble == "ConnectionError: nobody answers"
    set_mood(path, "works")
    (outcome,) = send_all()
    assert (outcome.n_sent, outcome.n_left) == (4, 0)
    assert epochs(path) == [*range(5), "end"]


class Finding(Book):
    """Finds out where to log at the first attempt, and fails then."""

    n_made = 0

    def __init__(self, path, found=None):
        super().__init__(path)
        self.found = found

    def log(self, measurement, wall_time):
        if self.found is None:
            type(self).n_made += 1
            self.found = f"run {self.n_made}"
            raise ConnectionError("after the run was made")
        super().log(measurement, wall_time)

    def destination(self):
        return {"path": str(self.path), "found": self.found}

    @classmethod
    def resume(cls, destination):
        return cls(**destination)


def test_what_a_failed_attempt_found_out_is_not_found_out_again(path, monkeypatch):
    monkeypatch.setattr(leftovers.registry, "tracker_class", lambda name: Finding)
    left_behind(path)
    assert next(send_all()).n_left == 6
    assert next(send_all()).n_left == 0
    assert Finding.n_made == 1


def test_a_tracker_that_is_not_known_here_or_cannot_resume_is_told(path):
    left_behind(path, tracker="nobody")
    left_behind(path, tracker="plain")
    troubles = [outcome.trouble for outcome in send_all()]
    assert any("Expected the name of a tracker" in trouble for trouble in troubles)
    assert any("plain can't take up what an earlier training left" in t for t in troubles)
    assert n_journals() == 2


def test_two_who_send_at_once_send_nothing_twice(path, tmp_path):
    books = [tmp_path / f"{index}.txt" for index in range(10)]
    for place in books:
        left_behind(place, 20)
    threads = [threading.Thread(target=lambda: list(send_all())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    list(send_all())  # what was in somebody's hands when it was looked at
    assert [epochs(place) for place in books] == [[*range(20), "end"]] * 10
    assert n_journals() == 0


def test_another_process_sends_what_was_left(path):
    left_behind(path)
    process = run_python(
        "from lossgap.trackers import leftovers, registry\n"
        "registry.register('book', 'tracking:Book')\n"
        "print([outcome.n_sent for outcome in leftovers.send_all()])"
    )
    assert (process.stdout, process.stderr) == ("[6]\n", "")
    assert epochs(path) == [*range(5), "end"]


def test_the_next_training_sends_it_in_the_background_and_once(path, tmp_path):
    left_behind(tmp_path / "earlier.txt")
    set_mood(path, "hangs")  # its own delivery doesn't matter
    delivery = Delivery(Book(path))
    delivery.begin(Training({}))
    wait_until(lambda: epochs(tmp_path / "earlier.txt") == [*range(5), "end"])
    wait_until(lambda: n_journals() == 1)  # its own
    left_behind(tmp_path / "later.txt")
    leftovers.send_in_background("book")
    set_mood(path, "works")
    delivery.end(None)
    assert epochs(tmp_path / "later.txt") == []


def test_a_tracker_without_a_journal_sends_nothing_in_the_background(path, monkeypatch):
    left_behind(path)
    monkeypatch.setattr(leftovers, "send_in_background", lambda name: pytest.fail("it did"))
    delivery = Delivery(PlainBook(path))
    delivery.begin(Training({}))
    delivery.end(None)


def test_background_failures_stay_silent(path, monkeypatch):
    left_behind(path)
    set_mood(path, "fails")
    before = set(threading.enumerate())
    leftovers.send_in_background("book")
    wait_until(lambda: not set(threading.enumerate()) - before)
    assert next(waiting()).n_left == 6


def test_a_plain_error_of_ours_is_told_as_it_is(path, monkeypatch):
    def raise_ours(destination):
        raise LossgapError("This is how to mend it.")

    monkeypatch.setattr(Book, "resume", raise_ours)
    left_behind(path)
    assert next(send_all()).trouble == "This is how to mend it."


# A tracker that buffers.


def test_what_a_buffering_tracker_got_in_the_meantime_does_not_wait(path):
    left_behind(path, 3, tracker="buffered")
    for epoch in range(3):
        PlainBook(path).log(log(epoch).measurement, 1e9)
    assert list(waiting()) == []
    assert n_journals() == 0


def test_a_buffering_tracker_is_not_opened_again_in_the_background(path):
    left_behind(path, 3, tracker="buffered")
    before = set(threading.enumerate())
    leftovers.send_in_background("buffered", only_look=True)
    wait_until(lambda: not set(threading.enumerate()) - before)
    assert next(waiting()).n_left == 4
    assert epochs(path) == []


def test_what_a_buffering_tracker_is_sent_is_forgotten_when_it_is_closed(path, monkeypatch):
    left_behind(path, 3, tracker="buffered")
    with monkeypatch.context() as patch:
        patch.setattr(BufferedBook, "close", fail)
        (outcome,) = send_all()
    assert (outcome.n_sent, outcome.n_left) == (0, 4)
    (outcome,) = send_all()
    assert (outcome.n_sent, outcome.n_left, outcome.lines[-1]) == (4, 0, "Closed book.txt.")
    assert n_journals() == 0


def fail(tracker):
    raise ConnectionError("not now")


# A trainer that is killed.


def killed_trainer(path, mood, choose):
    """Train in a process that is killed at a random moment; return how much it had measured."""
    command = [sys.executable, str(HERE / "doomed.py"), str(path), mood, str(choose.random())]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as trainer:
        told = [trainer.stdout.readline() for _ in range(choose.randrange(1, 40))]
        trainer.send_signal(signal.SIGKILL)
        told += [line for line in trainer.stdout if line.endswith("\n")]
    return int(told[-1])


@pytest.mark.parametrize("mood", ["works", "hangs", "fails", "flickers"])
def test_what_was_measured_survives_a_kill_at_any_moment(mood, tmp_path, figures):
    choose = random.Random(f"{mood} of the tracker")
    n_made = n_found = 0
    for attempt in range(N_KILLS):
        path = tmp_path / f"{attempt}.txt"
        set_mood(path, "works")
        made = killed_trainer(path, mood, choose)
        set_mood(path, "works")
        outcomes = list(send_all())
        assert all(outcome.n_left == 0 for outcome in outcomes)
        found = epochs(path)
        once = sorted(set(found))
        assert once == [*range(len(once))]
        assert len(once) >= made > 0
        assert [epoch for n, epoch in enumerate(found) if epoch not in found[:n]] == once
        # Between a delivery and its note on disk there is a moment: a record that was delivered
        # then comes again, and a tracker takes the second as the first.
        assert len(found) - len(once) <= 1
        assert n_journals() == 0
        n_made, n_found = n_made + made, n_found + min(len(once), made)
    figures(f"{N_KILLS} kills beside a tracker that {mood}", n_made, n_found)
