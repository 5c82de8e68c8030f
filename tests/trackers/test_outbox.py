"""The outbox: in order, exactly once, and nobody waits who shouldn't."""

import sqlite3
import threading
import time

import pytest
from tracking import (
    END,
    ENOUGH,
    Book,
    BufferedBook,
    PlainBook,
    epochs,
    filled,
    kept,
    lines,
    log,
    n_journals,
    set_mood,
    wait_until,
)

from lossgap import MetricValues
from lossgap.trackers import journal as journals
from lossgap.trackers import outbox as outboxes
from lossgap.trackers.backlog import Item
from lossgap.trackers.journal import Journal
from lossgap.trackers.keeper import Keeper
from lossgap.trackers.leftovers import send_all
from lossgap.trackers.outbox import Outbox
from lossgap.trackers.protocol import TroubleError

pytestmark = pytest.mark.usefixtures("_impatient")


class Held(PlainBook):
    """A tracker that is let go call by call."""

    def __init__(self, path):
        super().__init__(path)
        self.called = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)

    def log(self, measurement, wall_time):
        self.called.release()
        assert self.let_go.acquire(timeout=ENOUGH)
        super().log(measurement, wall_time)


def on_a_thread(work):
    """Call ``work`` on a thread, and return it when it has ended: it must not wait."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(ENOUGH)
    assert not thread.is_alive()


# A tracker that works.


@pytest.mark.parametrize("kind", [PlainBook, Book])
@pytest.mark.usefixtures("_patient")
def test_records_arrive_in_order_and_once_and_nothing_is_left_on_disk(kind, path):
    outbox = filled(kind(path), 50)
    assert outbox.close() == ["It is written in book.txt."]
    assert outbox.troubles() == []
    assert epochs(path) == [*range(50), "end"]
    wait_until(lambda: n_journals() == 0)


@pytest.mark.usefixtures("_patient")
def test_the_end_waits_for_a_tracker_that_is_slow_but_works(path):
    tracker = Held(path)
    outbox = filled(tracker, 3)
    closed = threading.Event()
    closing = threading.Thread(target=lambda: (outbox.close(), closed.set()))
    closing.start()
    for _ in range(3):
        assert tracker.called.acquire(timeout=ENOUGH)
        assert not closed.is_set()
        tracker.let_go.release()
    closing.join(ENOUGH)
    assert epochs(path) == [0, 1, 2, "end"]


def test_putting_never_waits_for_the_tracker(path):
    tracker = Held(path)
    outbox = Outbox(tracker)
    outbox.put(log(0))
    assert tracker.called.acquire(timeout=ENOUGH)  # and is held there
    on_a_thread(lambda: [outbox.put(log(epoch)) for epoch in range(1, 100)])
    for _ in range(100):
        tracker.let_go.release()
    wait_until(lambda: epochs(path) == [*range(100)])


@pytest.mark.parametrize("operation", ["create", "write", "attempted"])
def test_putting_never_waits_for_the_disk(operation, book, path, monkeypatch):
    reached, let_go = threading.Event(), threading.Event()
    real = getattr(Journal, operation)

    def held(*args, **kwargs):
        reached.set()
        assert let_go.wait(ENOUGH)
        return real(*args, **kwargs)

    monkeypatch.setattr(Journal, operation, held)
    set_mood(path, "fails" if operation == "attempted" else "hangs")
    outbox = Outbox(book)
    outbox.put(log(0))
    assert reached.wait(ENOUGH)
    on_a_thread(lambda: [outbox.put(log(epoch)) for epoch in range(1, 100)])
    on_a_thread(outbox.troubles)
    set_mood(path, "works")
    let_go.set()
    wait_until(lambda: epochs(path) == [*range(100)])


def test_putting_never_waits_for_the_destination(path):
    reached, let_go = threading.Event(), threading.Event()

    class Undecided(Book):
        def destination(self):
            reached.set()
            assert let_go.wait(ENOUGH)
            return super().destination()

    set_mood(path, "hangs")
    outbox = Outbox(Undecided(path))
    outbox.put(log(0))
    assert reached.wait(ENOUGH)
    on_a_thread(lambda: outbox.put(log(1)))
    set_mood(path, "works")
    let_go.set()
    wait_until(lambda: epochs(path) == [0, 1])


class InMemory(Book):
    """A book without the file, for many records."""

    def __init__(self, path):
        super().__init__(path)
        self.written = []
        self.fails = True

    def _write(self, line):
        if self.fails:
            raise ConnectionError("not yet")
        self.written.append(line.get("epoch", "end"))


@pytest.mark.parametrize("fails", [False, True])
def test_a_burst_of_ten_thousand_is_taken_and_kept(fails, path):
    tracker = InMemory(path)
    tracker.fails = fails
    outbox = filled(tracker, 10_000)
    if fails:
        wait_until(lambda: kept(outbox) == 10_001)
        tracker.fails = False
    wait_until(lambda: len(tracker.written) == 10_001)
    assert tracker.written == [*range(10_000), "end"]
    wait_until(lambda: n_journals() == 0)


# A tracker that doesn't.


@pytest.mark.parametrize("mood", ["hangs", "fails", "exits", "interrupts"])
def test_what_cannot_be_delivered_is_on_disk_and_sent_when_the_tracker_is_back(mood, book, path):
    outbox = Outbox(book)
    for epoch in range(3):
        outbox.put(log(epoch))
    wait_until(lambda: len(epochs(path)) == 3)
    set_mood(path, mood)
    for epoch in range(3, 10):
        outbox.put(log(epoch))
    outbox.put(END)
    assert outbox.close() == []
    (place,) = journals.paths()
    assert str(place) in outbox.troubles()[-1]
    assert epochs(path) == [0, 1, 2]
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)
    assert epochs(path) == [*range(10), "end"]


def test_a_slow_trackers_queue_is_kept_too(path):
    """Each record has its own clock: the tracker answers, but the last of them wait."""
    tracker = type("HeldBook", (Held, Book), {})(path)
    outbox = filled(tracker, 10, end=False)
    for n in range(1, 4):
        tracker.let_go.release()
        wait_until(lambda n=n: len(epochs(path)) == n)
        wait_until(lambda: kept(outbox) == 10)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Journal(*journals.paths())
    for _ in range(7):
        tracker.let_go.release()
    wait_until(lambda: epochs(path) == [*range(10)])
    outbox.put(END)
    wait_until(lambda: n_journals() == 0)


def test_a_flickering_tracker_gets_everything_in_order_and_once(path, monkeypatch):
    monkeypatch.setattr(outboxes, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(outboxes, "MOST_RETRY_SECONDS", 0.0)

    class Flickering(Book):
        n_calls = 0

        def _write(self, line):
            self.n_calls += 1
            if self.n_calls % 3 == 0:
                raise ConnectionError("now and then")
            super()._write(line)

    outbox = filled(Flickering(path), 500)
    wait_until(lambda: len(epochs(path)) == 501)
    assert epochs(path) == [*range(500), "end"]
    wait_until(lambda: n_journals() == 0)
    (trouble,) = outbox.troubles()
    assert "now and then" in trouble


def test_the_first_failure_is_told_with_the_way_out_and_the_others_are_not(book, path):
    set_mood(path, "fails")
    outbox = filled(book, 5)
    outbox.close()
    first, last = outbox.troubles()
    assert first == (
        "book failed, and the training goes on. ConnectionError: nobody answers What is measured "
        "is kept, and sent again until it arrives."
    )
    assert "5 measurements and the end of the training are not delivered yet" in last
    assert "lossgap sync" in last
    assert outbox.troubles() == []


@pytest.mark.parametrize("mood", ["fails", "exits"])
@pytest.mark.usefixtures("_patient")
def test_a_tracker_that_cannot_resume_loses_what_it_refuses_and_goes_on(mood, path):
    set_mood(path, mood)
    outbox = Outbox(PlainBook(path))
    outbox.put(log(0))
    wait_until(lambda: outbox.failing)
    wait_until(lambda: outbox._backlog.all_safe)
    set_mood(path, "works")
    outbox.put(log(1))
    outbox.put(END)
    outbox.close()
    assert epochs(path) == [1, "end"]
    (trouble,) = outbox.troubles()
    assert "are in the callback's `measurements`" in trouble
    assert n_journals() == 0


def test_a_hanging_tracker_that_cannot_resume_is_not_waited_for(path):
    set_mood(path, "hangs")
    outbox = filled(PlainBook(path), 2)
    on_a_thread(outbox.close)
    (trouble,) = outbox.troubles()
    assert "2 measurements and the end of the training" in trouble
    assert "It is lost if this process ends" in trouble
    set_mood(path, "works")
    wait_until(lambda: epochs(path) == [0, 1, "end"])


@pytest.mark.usefixtures("_patient")
def test_a_finish_that_returns_nothing_is_a_finish(path):
    class Terse(Book):
        def finish(self, summary, *, failed):
            super().finish(summary, failed=failed)

    assert filled(Terse(path), 1).close() == []
    assert epochs(path) == [0, "end"]


# A tracker that buffers.


@pytest.mark.usefixtures("_patient")
def test_what_a_tracker_only_has_in_memory_stays_on_disk_until_it_is_safe(path, monkeypatch):
    monkeypatch.setattr(outboxes, "LOOK_SECONDS", 0.01)
    tracker = BufferedBook(path)
    outbox = filled(tracker, 5)
    assert outbox.close() == ["It is written in book.txt."]
    assert outbox.troubles() == []
    assert outbox._backlog.n_sent == 6
    assert kept(outbox) == 6
    assert n_journals() == 1
    tracker.flush()
    wait_until(lambda: n_journals() == 0)
    assert epochs(path) == ["end", *range(5)]


@pytest.mark.usefixtures("_patient")
def test_a_tracker_that_buffers_is_asked_at_the_end(path):
    """And not only now and then."""
    tracker = BufferedBook(path)
    outbox = Outbox(tracker)
    for epoch in range(5):
        outbox.put(log(epoch))
    assert outbox.settle(ENOUGH)
    tracker.flush()
    outbox.put(END)
    outbox.close()
    assert n_journals() == 0


def test_a_tracker_that_buffers_and_fails_tells_what_it_may_have_lost(path):
    tracker = BufferedBook(path)
    outbox = Outbox(tracker)
    for epoch in range(3):
        outbox.put(log(epoch))
    assert outbox.settle(ENOUGH)
    set_mood(path, "fails")
    for epoch in range(3, 5):
        outbox.put(log(epoch))
    outbox.put(END)
    outbox.close()
    assert "5 measurements and the end of the training" in outbox.troubles()[-1]


@pytest.mark.usefixtures("_patient")
def test_trouble_that_a_tracker_raises_is_told_and_the_record_is_its_own(path):
    class Troubled(Book):
        def finish(self, summary, *, failed):
            super().finish(summary, failed=failed)
            raise TroubleError("It is written, but nobody reads it.")

    outbox = filled(Troubled(path), 2)
    outbox.close()
    assert outbox.troubles() == ["It is written, but nobody reads it."]
    assert epochs(path) == [0, 1, "end"]
    assert n_journals() == 0


# A training that goes on.


def test_a_measurement_is_on_disk_when_the_training_goes_on(book, path, monkeypatch):
    monkeypatch.setattr(outboxes, "PUTTING_PATIENCE", ENOUGH)
    set_mood(path, "hangs")
    outbox = Outbox(book)
    for epoch in range(20):
        outbox.put(log(epoch))
        assert kept(outbox) == epoch + 1


def test_a_training_waits_for_a_slow_disk_for_a_moment_only(book, path, monkeypatch):
    real, let_go = Journal.write, threading.Event()
    monkeypatch.setattr(
        Journal, "write", lambda self, items: let_go.wait(ENOUGH) and real(self, items)
    )
    set_mood(path, "hangs")
    outbox = Outbox(book)
    longest = 0.0
    for epoch in range(200):
        waited = outbox._waited
        outbox.put(log(epoch))
        longest = max(longest, outbox._waited - waited)
    # What it waited by its own account: a busy machine's pauses aren't waiting.
    elapsed = time.monotonic() - outbox._began
    allowed = outboxes.PUTTING_PATIENCE + outboxes.PUTTING_SHARE * elapsed
    assert outbox._waited <= allowed + longest
    assert kept(outbox) == 0
    let_go.set()
    set_mood(path, "works")
    outbox.put(END)
    outbox.close()


def test_more_than_the_outbox_holds_is_refused_and_told_once(book, path, monkeypatch):
    monkeypatch.setattr(outboxes, "MOST_WAITING", 5)
    set_mood(path, "hangs")
    outbox = filled(book, 9)
    outbox.close()
    full, rest = outbox.troubles()
    assert "5 measurements wait for book, and no more are taken" in full
    assert "5 measurements and the end of the training" in rest
    set_mood(path, "works")
    wait_until(lambda: epochs(path) == [*range(5), "end"])


# A disk that doesn't.


def assert_it_is_told_and_the_tracker_gets_everything(outbox, path, reason):
    outbox.close()
    troubles = outbox.troubles()
    assert [reason in trouble for trouble in troubles].count(True) == 1
    assert any("LOSSGAP_OUTBOX" in trouble for trouble in troubles)
    assert any("It is lost if this process ends" in trouble for trouble in troubles)
    set_mood(path, "works")
    wait_until(lambda: epochs(path) == [0, 1, 2, "end"])


@pytest.mark.parametrize("mood", ["hangs", "fails"])
def test_a_folder_that_cannot_be_made_is_told_once(mood, book, path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOSSGAP_OUTBOX", str(tmp_path / "file" / "outbox"))
    set_mood(path, mood)
    assert_it_is_told_and_the_tracker_gets_everything(
        filled(book, 3), path, "can't be written to disk (NotADirectoryError"
    )


def test_a_full_disk_is_told_once(book, path, monkeypatch):
    monkeypatch.setattr(journals, "_SETTINGS", (*journals._SETTINGS, "PRAGMA max_page_count = 2"))
    set_mood(path, "hangs")
    assert_it_is_told_and_the_tracker_gets_everything(filled(book, 3), path, "disk is full")


def test_a_disk_that_recovers_gets_a_second_chance_at_the_end(book, path, monkeypatch):
    real = Journal.write

    def fail(self, items):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Journal, "write", fail)
    set_mood(path, "fails")
    outbox = filled(book, 3, end=False)
    wait_until(lambda: not outbox._can_keep)
    monkeypatch.setattr(Journal, "write", real)
    outbox.put(END)
    outbox.close()
    assert str(*journals.paths()) in outbox.troubles()[-1]
    set_mood(path, "works")
    wait_until(lambda: epochs(path) == [0, 1, 2, "end"])


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_destination_that_raises_is_told_and_ends_no_thread(kind, path):
    class Lost(Book):
        def destination(self):
            raise kind("where was it?")

    set_mood(path, "hangs")
    assert_it_is_told_and_the_tracker_gets_everything(
        filled(Lost(path), 3), path, f"can't be written to disk ({kind.__name__}: where was it?)"
    )


@pytest.mark.usefixtures("_patient")
def test_a_tracker_whose_error_cannot_be_told_ends_no_thread(path):
    class UnspeakableError(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    class Lost(PlainBook):
        def log(self, measurement, wall_time):
            raise UnspeakableError

    outbox = filled(Lost(path), 2)
    assert outbox.close() == ["It is written in book.txt."]
    (trouble,) = outbox.troubles()
    assert "UnspeakableError" in trouble
    assert epochs(path) == ["end"]


# Values.


def test_numbers_that_are_not_finite_and_names_of_any_script_survive_the_disk(book, path):
    metrics = {"Verlust ✓ 損失/\\\"'": 1.0, "\ud800": 2.0, "x" * 10_000: 3.0}
    losses = [float("nan"), float("inf"), float("-inf"), 5e-324, 1.8e308, 0.1 + 0.2]
    keeper = Keeper(book)
    keeper.keep(
        [
            Item(
                number,
                log(number, true_loss=loss, metrics={name: MetricValues(1.0) for name in metrics}),
            )
            for number, loss in enumerate(losses)
        ]
    )
    keeper.close()
    assert [outcome.n_left for outcome in send_all()] == [0]
    written = lines(path)
    assert [line["true_loss"] for line in written] == [repr(loss) for loss in losses]
    assert all(line["metrics"] == list(metrics) for line in written)
