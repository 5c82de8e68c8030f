"""A training and its trackers: side by side, one training after the other, and to the end."""

import copy
import pickle
import re
import warnings

import pytest
from tracking import (
    Book,
    PlainBook,
    epochs,
    lines,
    log,
    n_journals,
    run_python,
    set_mood,
    wait_until,
)

from lossgap import LossgapError, LossgapWarning, Summary
from lossgap.core.observers import Training
from lossgap.trackers import Delivery, leftovers

pytestmark = pytest.mark.usefixtures("_impatient")


class Refusing(Book):
    def start(self, training):
        raise LossgapError("There is no run. Start one.")


def measurements(n):
    return [log(epoch).measurement for epoch in range(n)]


def trained(delivery, n=3, *, failed=False, **training):
    delivery.begin(Training({}, **training))
    for measurement in measurements(n):
        delivery.measured(measurement)
    return delivery.end(Summary(tuple(measurements(n))), failed=failed)


def test_each_tracker_gets_all_and_their_lines_come_in_order(tmp_path):
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    assert trained(Delivery([Book(one), PlainBook(other)])) == [
        "It is written in one.txt.",
        "It is written in other.txt.",
    ]
    assert epochs(one) == epochs(other) == [0, 1, 2, "end"]
    assert lines(one)[-1] == {"failed": False, "n": 3}


def test_one_training_follows_the_other(book, path):
    delivery = Delivery(book)
    trained(delivery, 2, verbose=True)
    trained(delivery, 1, failed=True)
    assert epochs(path) == [0, 1, "end", 0, "end"]
    assert [line["failed"] for line in lines(path) if "failed" in line] == [False, True]
    assert [training.verbose for training in book.trainings] == [True, False]


def test_a_training_whose_end_was_never_told_failed_when_the_next_begins(book, path):
    delivery = Delivery(book)
    delivery.begin(Training({}))
    delivery.measured(log(0).measurement)
    delivery.begin(Training({}))
    assert epochs(path) == [0, "end"]
    assert lines(path)[-1] == {"failed": True, "n": None}
    delivery.end(None)


def test_the_end_without_a_beginning_says_nothing(book, path):
    assert Delivery(book).end(None) == []
    assert not path.exists()


def test_a_tracker_that_cannot_start_raises_and_ends_those_before_it(book, path, tmp_path):
    delivery = Delivery([book, Refusing(tmp_path / "refused.txt")])
    with pytest.raises(LossgapError, match="Start one"):
        delivery.begin(Training({}))
    assert lines(path) == [{"failed": True, "n": None}]
    delivery.measured(log(0).measurement)
    assert delivery.end(None) == []


def test_a_failing_tracker_keeps_no_other_from_its_records(book, path, tmp_path):
    set_mood(path, "fails")
    other = tmp_path / "other.txt"
    with pytest.warns(LossgapWarning) as told:
        trained(Delivery([book, PlainBook(other)]))
    assert epochs(other) == [0, 1, 2, "end"]
    assert len([warning for warning in told if "book failed" in str(warning.message)]) == 1
    assert len([warning for warning in told if "lossgap sync" in str(warning.message)]) == 1
    assert len(told) == 2
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)
    assert epochs(path) == [0, 1, 2, "end"]


def test_who_wants_silence_is_warned_of_nothing(book, path):
    set_mood(path, "fails")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(Delivery(book), silent=True)
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)


def test_a_long_page_of_an_error_is_told_in_its_first_line(path):
    class Verbose(PlainBook):
        def log(self, measurement, wall_time):
            raise ValueError("\x1b[31mThe reason.\x1b[0m\n" + "and so on\n" * 100)

    with pytest.warns(LossgapWarning, match=re.escape("ValueError: The reason. The measure")):
        trained(Delivery(Verbose(path)))


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))]
)
def test_a_copy_made_in_mid_training_is_for_other_trainings(copied, book, path):
    delivery = Delivery(book)
    delivery.begin(Training({}))
    delivery.measured(log(0).measurement)
    other = copied(delivery)
    assert other.end(None) == []
    delivery.end(None)
    assert epochs(path) == [0, "end"]
    trained(other, 1)
    assert epochs(path) == [0, "end", 0, "end"]


# The end of the process.

TRAINING = """
import os, sys, threading, warnings
from lossgap.core.observers import Training
from lossgap.trackers import Delivery, outbox
from tracking import Book, log, set_mood
outbox.PATIENCE = outbox.FIRST_PATIENCE = outbox.FAILING_PATIENCE = {patience}
outbox.LAST_PATIENCE = 100.0
book = Book()
delivery = Delivery(book)
delivery.begin(Training({}))
for epoch in range(3):
    delivery.measured(log(epoch).measurement)
"""


def training(patience=0.1):
    return TRAINING.replace("{patience}", repr(patience))


def test_a_training_that_ended_with_an_exception_is_ended_when_the_process_ends(path):
    process = run_python(training(100.0) + "raise ValueError('the user stumbles')")
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == "ValueError: the user stumbles"
    assert epochs(path) == [0, 1, 2, "end"]
    assert lines(path)[-1] == {"failed": True, "n": None}
    assert n_journals() == 0


@pytest.mark.parametrize("end", ["delivery.end(None)", "raise SystemExit(0)"])
@pytest.mark.parametrize("mood", ["hangs", "fails"])
def test_a_process_ends_although_a_tracker_never_answers(mood, end, path):
    set_mood(path, mood)
    program = "import warnings\nwarnings.simplefilter('default')\n" + training() + end
    process = run_python(program)
    assert process.returncode == 0
    assert process.stderr.count("3 measurements and the end of the training are not deliver") == 1
    assert "lossgap sync" in process.stderr
    assert "Traceback" not in process.stderr
    assert "Fatal" not in process.stderr
    assert n_journals() == 1
    set_mood(path, "works")
    process = run_python(
        "from lossgap.trackers import leftovers, registry\n"
        "registry.register('book', 'tracking:Book')\n"
        "print([outcome.n_left for outcome in leftovers.send_all()])"
    )
    assert process.stdout == "[0]\n"
    assert epochs(path) == [0, 1, 2, "end"]
    assert lines(path)[-1]["failed"] is (end != "delivery.end(None)")
    assert n_journals() == 0


TWO = """
delivery = Delivery([Book(), PlainBook({other!r})])
delivery.begin(Training({{}}, silent={silent}))
for epoch in range(3):
    delivery.measured(log(epoch).measurement)
"""


@pytest.mark.parametrize("silent", [True, False])
def test_at_the_end_of_the_process_all_trackers_come_before_what_is_told(silent, path, tmp_path):
    """Where warnings are errors, the first of them is the last that happens."""
    set_mood(path, "hangs")
    program = (
        "from lossgap.core.observers import Training\n"
        "from lossgap.trackers import Delivery, outbox\n"
        "from tracking import Book, PlainBook, log\n"
        "outbox.PATIENCE = outbox.FIRST_PATIENCE = 0.1\n"
    ) + TWO.format(other=str(tmp_path / "other.txt"), silent=silent)
    process = run_python(program)
    assert ("did not take everything" in process.stderr) is not silent
    assert epochs(tmp_path / "other.txt")[:3] == [0, 1, 2]
    assert n_journals() == 1
    set_mood(path, "works")
    assert [outcome.n_left for outcome in leftovers.send_all()] == [0]
    assert epochs(path) == [0, 1, 2, "end"]


def test_an_interrupted_end_is_on_disk_when_the_process_ends(path):
    """Ctrl-C while the end waits for a tracker: what waited for a moment only isn't lost."""
    set_mood(path, "hangs")
    program = training(100.0) + (
        "import signal\n"
        "threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "try:\n    delivery.end(None)\nexcept KeyboardInterrupt:\n    print('stopped')"
    )
    process = run_python(program)
    assert process.stdout == "stopped\n"
    assert process.stderr == ""
    assert n_journals() == 1
    set_mood(path, "works")


FORK = """
from tracking import epochs, kept, wait_until
(outbox,) = delivery._outboxes
wait_until(lambda: kept(outbox) == 3)
held, go_on = threading.Event(), threading.Event()

def hold(lock):
    with lock:
        held.set()
        go_on.wait()

threading.Thread(target=hold, args=[outbox._changed]).start()
held.wait()
pid = os.fork()
if pid == 0:
    delivery.measured(log(99).measurement)
    assert delivery.end(None) == []
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
go_on.set()
delivery.measured(log(3).measurement)
set_mood(book.path, "works")
wait_until(lambda: epochs(book.path) == [0, 1, 2, 3])
delivery.end(None)
"""


def test_a_forked_process_neither_sends_nor_keeps_nor_waits(path):
    """Not even for the lock that another thread held when the process was forked."""
    set_mood(path, "hangs")
    process = run_python(training() + FORK)
    assert (process.returncode, process.stderr) == (0, "")
    assert epochs(path) == [0, 1, 2, 3, "end"]
    assert n_journals() == 0


def test_a_forked_process_may_train_by_itself(path, tmp_path):
    program = training(100.0) + (
        f"pid = os.fork()\n"
        f"if pid == 0:\n"
        f"    own = Delivery(Book({str(tmp_path / 'own.txt')!r}))\n"
        f"    own.begin(Training({{}}))\n"
        f"    own.measured(log(7).measurement)\n"
        f"    own.end(None)\n"
        f"    os._exit(0)\n"
        f"assert os.waitpid(pid, 0)[1] == 0\n"
        f"delivery.end(None)\n"
    )
    process = run_python(program)
    assert (process.returncode, process.stderr) == (0, "")
    assert epochs(path) == [0, 1, 2, "end"]
    assert epochs(tmp_path / "own.txt") == [7, "end"]
