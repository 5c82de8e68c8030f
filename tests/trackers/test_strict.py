"""A tracker that fails: one warning and a line in the summary, or strict and raised.

Either way what it didn't take is kept, and sent later.
"""

import re
import warnings

import keras
import pytest
from tracking import Book, PlainBook, epochs, lines, n_journals, set_mood, wait_until

import lossgap
from lossgap.core.settings import Settings
from lossgap.errors import TrackerError
from lossgap.trackers import autolog
from lossgap.trackers.journal import paths
from small import assert_same_state, linear, regression, state

pytestmark = pytest.mark.usefixtures("_impatient")

N_EPOCHS = 4


def fitted(callback, *others, model=None, **arguments):
    model = model or linear()
    arguments = {"epochs": N_EPOCHS, "verbose": 0} | arguments
    model.fit(*regression(), callbacks=[callback, *others], **arguments)
    return model


def strictly(tracker, *others, **arguments):
    """Train strictly, and return the callback, the model and what was raised."""
    callback, model = lossgap.TrueLoss(trackers=tracker, strict=True), linear()
    with pytest.raises(TrackerError) as raised:
        fitted(callback, *others, model=model, **arguments)
    return callback, model, raised.value


class Told(keras.callbacks.Callback):
    """Lets the outbox find out that its tracker fails before the training goes on."""

    def __init__(self, callback):
        super().__init__()
        self.callback = callback

    def on_epoch_end(self, epoch, logs=None):
        for outbox in self.callback.observer._outboxes:
            wait_until(lambda outbox=outbox: outbox.failing)


@pytest.mark.parametrize("kind", [Book, PlainBook])
def test_a_tracker_that_works_is_no_trouble(kind, path):
    callback = lossgap.TrueLoss(trackers=kind(path), strict=True)
    fitted(callback)
    assert epochs(path) == [*range(N_EPOCHS), "end"]
    assert callback.troubles == ()


@pytest.mark.parametrize("mood", ["fails", "exits", "interrupts"])
def test_a_failure_is_raised_at_the_latest_at_the_end(mood, book, path):
    set_mood(path, mood)
    callback, _, raised = strictly(book)
    kind = {"fails": "ConnectionError", "exits": "SystemExit", "interrupts": "KeyboardInterrupt"}
    assert isinstance(raised, lossgap.LossgapError)
    assert str(raised).startswith(f"book failed. {kind[mood]}:")
    (note,) = raised.__notes__
    assert "tracking.py" in note  # where it was raised
    assert kind[mood] in note
    assert "goes on" not in str(raised)
    n = len(callback.measurements)
    assert n >= 1
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)
    assert epochs(path) == [*range(n), "end"]


@pytest.mark.filterwarnings("ignore:lossgap. book did not take everything")
def test_a_failure_that_is_known_is_raised_with_the_next_measurement(book, path):
    set_mood(path, "fails")
    callback = lossgap.TrueLoss(trackers=book, strict=True)
    with pytest.raises(TrackerError, match="book failed"):
        fitted(callback, Told(callback))
    n = len(callback.measurements)
    assert 1 <= n <= 2  # it may be known at once
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)
    assert epochs(path) == [*range(n), "end"]
    assert lines(path)[-1]["failed"]


def test_a_tracker_that_hangs_is_raised_at_the_end_and_all_is_kept(book, path):
    set_mood(path, "hangs")
    callback, model, raised = strictly(book)
    assert not hasattr(raised, "__notes__")
    assert str(raised).startswith(
        f"book did not take everything: {N_EPOCHS} measurements and the end of the training are "
        "not delivered yet. Nothing is lost"
    )
    assert "lossgap sync" in str(raised)
    assert len(callback.measurements) == N_EPOCHS
    assert len(model.history.history["true_loss"]) == N_EPOCHS  # it was trained to the end
    alone = linear()
    alone.fit(*regression(), epochs=N_EPOCHS, verbose=0)
    assert_same_state(state(model), state(alone))
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)
    assert epochs(path) == [*range(N_EPOCHS), "end"]
    assert lines(path)[-1] == {"failed": False, "n": N_EPOCHS}


def test_all_trackers_have_ended_before_one_of_them_is_raised(book, path, tmp_path):
    set_mood(path, "hangs")
    other = tmp_path / "other.txt"
    strictly([book, PlainBook(other)])
    assert epochs(other) == [*range(N_EPOCHS), "end"]
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)


def test_a_journal_that_cannot_be_written_is_raised_where_it_is_needed(
    book, path, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOSSGAP_OUTBOX", str(tmp_path / "file" / "outbox"))
    set_mood(path, "hangs")
    _, _, raised = strictly(book)
    assert "can't be written to disk (NotADirectoryError" in str(raised)
    assert "It is lost if this process ends before book takes it" in str(raised)
    set_mood(path, "works")
    wait_until(lambda: epochs(path) == [*range(N_EPOCHS), "end"])


def test_silent_is_no_reason_not_to_raise(book, path):
    set_mood(path, "hangs")
    callback = lossgap.TrueLoss(trackers=book, strict=True)
    callback.silent = True
    with pytest.raises(TrackerError):
        fitted(callback)
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
@pytest.mark.filterwarnings("ignore:lossgap. book:lossgap.errors.LossgapWarning")
def test_the_users_exception_passes_although_a_tracker_failed_too(kind, book, path):
    error = kind("mine")

    class Stumbling(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise error

    set_mood(path, "fails")
    callback = lossgap.TrueLoss(trackers=book, strict=True)
    with pytest.raises(kind) as raised:
        lossgap.fit(linear(), *regression(), verbose=0, callbacks=[callback, Stumbling()])
    assert raised.value is error
    assert raised.value.__cause__ is raised.value.__context__ is None
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)


def test_lossgap_fit_raises_it_too(book, path):
    set_mood(path, "hangs")
    true_loss = lossgap.TrueLoss(trackers=book, strict=True)
    with pytest.raises(TrackerError):
        lossgap.fit(linear(), *regression(), verbose=0, true_loss=true_loss)
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)


# Autologging.


@pytest.fixture
def _switched_off_again():
    yield
    for name in list(autolog._active):
        autolog.disable(name)


def switch_on(tracker, **settings):
    autolog.enable(autolog.Autolog("book", Settings(**settings), tracker))


@pytest.mark.usefixtures("_switched_off_again")
def test_autologging_raises_what_a_tracker_does(book, path):
    set_mood(path, "hangs")
    switch_on(lambda callbacks: book, strict=True)
    with pytest.raises(TrackerError, match="did not take everything"):
        linear().fit(*regression(), verbose=0)
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)


@pytest.mark.usefixtures("_switched_off_again")
def test_autologging_raises_what_keeps_a_training_from_being_measured(book):
    switch_on(lambda callbacks: book, strict=True)
    model = linear(loss=None, metrics=())
    with pytest.raises(lossgap.errors.UnsupportedModelError):
        model.fit(*regression(), verbose=0)


@pytest.mark.usefixtures("_switched_off_again")
def test_autologging_raises_what_keeps_a_tracker_from_being_made():
    def tracker(callbacks):
        raise OSError("no route to host")

    switch_on(tracker, strict=True)
    with pytest.raises(OSError, match="no route to host"):
        linear().fit(*regression(), verbose=0)
    switch_on(tracker)
    with pytest.warns(lossgap.LossgapWarning, match="no route to host"):
        linear().fit(*regression(), verbose=0)


@pytest.mark.usefixtures("_switched_off_again")
def test_strict_autologging_to_wandb_wants_a_run(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    try:
        lossgap.wandb.autolog(strict=True)
        with pytest.raises(lossgap.LossgapError, match=re.escape("wandb.init(")):
            linear().fit(*regression(), verbose=0)
    finally:
        lossgap.wandb.autolog(disable=True)


# The summary of a training that isn't strict.


def told_of(tracker, mood, path):
    set_mood(path, mood)
    callback = lossgap.TrueLoss(trackers=tracker)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lossgap.LossgapWarning)
        fitted(callback)
    return callback


def test_the_summary_says_what_waits_and_how_to_send_it(book, path):
    callback = told_of(book, "hangs", path)
    (place,) = paths()
    assert str(callback.summary()).splitlines()[-1] == (
        f"book: {N_EPOCHS} measurements and the end of the training are waiting in {place}. "
        "To send it: lossgap sync"
    )
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)
    wait_until(lambda: callback.troubles == ())  # as it is now


def test_the_summary_counts_the_deliveries_that_failed_and_says_when_all_has_arrived(book, path):
    callback = told_of(book, "fails", path)
    failed, waits = callback.troubles
    pattern = r"book: (\d+) deliver(y|ies) failed, first with ConnectionError: nobody answers"
    assert int(re.fullmatch(pattern, failed)[1]) >= 1
    assert "waiting in" in waits
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)
    (told,) = callback.troubles
    assert re.fullmatch(pattern + " All has arrived since.", told)


def test_the_summary_counts_what_a_tracker_without_a_journal_lost(path):
    callback = told_of(PlainBook(path), "fails", path)
    (told,) = callback.troubles
    assert told == (
        f"plain: {N_EPOCHS + 1} deliveries failed, first with ConnectionError: nobody answers "
        "What it doesn't have is in the callback's `measurements`."
    )


@pytest.mark.usefixtures("_switched_off_again")
def test_a_users_own_callback_knows_of_the_trackers_of_autologging(book, path):
    switch_on(lambda callbacks: book)
    callback = told_of((), "hangs", path)
    assert "book: 4 measurements and the end" in callback.troubles[0]
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)


def test_a_copy_knows_nothing_of_the_trackers_of_the_training(book, path):
    import copy

    callback = told_of(book, "hangs", path)
    assert copy.copy(callback).troubles == copy.deepcopy(callback).troubles == ()
    set_mood(path, "works")
    wait_until(lambda: n_journals() == 0)


def test_a_password_in_a_traceback_is_not_shown(path):
    class Leaking(Book):
        def log(self, measurement, wall_time):
            raise ConnectionError("no answer from https://me:hunter2@example.org/api")

    _, _, raised = strictly(Leaking(path))
    assert "example.org" in raised.__notes__[0]
    assert "hunter2" not in "".join([str(raised), *raised.__notes__])
