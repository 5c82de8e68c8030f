"""``TrueLoss(trackers=...)``: what is measured is logged, and the training never knows."""

import copy
import pickle

import keras
import numpy as np
import pytest
from tracking import Book, PlainBook, epochs, lines, n_journals, run_python, set_mood, wait_until

import lossgap
from lossgap.errors import InvalidArgumentError
from small import assert_same_state, linear, regression, state

pytestmark = pytest.mark.usefixtures("_impatient")


def fitted(*callbacks, n_epochs=3, **arguments):
    model = linear()
    model.fit(*regression(), epochs=n_epochs, verbose=0, callbacks=[*callbacks], **arguments)
    return model


@pytest.mark.parametrize("by", ["name", "object", "list of names", "objects"])
def test_a_tracker_gets_what_the_callback_has(by, book, path):
    trackers = {"name": "book", "object": book, "list of names": ["book"], "objects": (book,)}[by]
    callback = lossgap.TrueLoss(trackers=trackers)
    fitted(callback)
    assert epochs(path) == [0, 1, 2, "end"]
    true = [line["true_loss"] for line in lines(path)[:-1]]
    assert true == [repr(measured.true_loss) for measured in callback.measurements]
    assert lines(path)[-1] == {"failed": False, "n": 3}


def test_a_tracker_knows_the_training(book):
    seen = keras.callbacks.Callback()
    fitted(lossgap.TrueLoss(trackers=book, seed=7), seen)
    (training,) = book.trainings
    assert training.options["seed"] == 7
    assert training.n_epochs == 3
    assert seen in training.callbacks
    assert not training.silent


@pytest.mark.parametrize("wrong", [3, "nobody", Book, ["book", "book"], object()])
def test_what_is_no_tracker_is_refused_when_the_callback_is_made(wrong):
    with pytest.raises(InvalidArgumentError, match=r"tracker"):
        lossgap.TrueLoss(trackers=wrong)


def test_a_missing_package_is_told_when_the_callback_is_made():
    program = """
import sys
class Hider:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hider())
import lossgap
lossgap.TrueLoss(trackers="mlflow")
"""
    process = run_python(program, warnings="default")
    assert process.stderr.splitlines()[-1].endswith('pip install "lossgap[mlflow]"')


def test_a_tracker_that_cannot_start_says_so_before_the_training(path):
    class Refusing(Book):
        def start(self, training):
            raise lossgap.LossgapError("There is no run. Start one.")

    model = linear()
    before = state(model)
    with pytest.raises(lossgap.LossgapError, match="Start one"):
        model.fit(*regression(), verbose=0, callbacks=[lossgap.TrueLoss(trackers=Refusing(path))])
    assert_same_state(state(model)[: len(before)], before)


@pytest.mark.parametrize("kind", [Book, PlainBook])
@pytest.mark.parametrize("mood", ["works", "fails", "hangs", "exits"])
@pytest.mark.filterwarnings("ignore:lossgap. (book|plain):lossgap.errors.LossgapWarning")
def test_the_training_is_the_same_to_the_last_bit_whatever_a_tracker_does(mood, kind, path):
    set_mood(path, mood)
    callback = lossgap.TrueLoss(trackers=kind(path))
    with_tracker, without = fitted(callback, validation_split=0.2), fitted(validation_split=0.2)
    assert_same_state(state(with_tracker), state(without))
    for name, values in without.history.history.items():
        np.testing.assert_array_equal(with_tracker.history.history[name], values)
    assert len(callback.measurements) == 3
    if kind is Book:
        set_mood(path, "works")
        wait_until(lambda: n_journals() == 0)
        assert epochs(path) == [0, 1, 2, "end"]


def test_a_failure_is_one_warning_with_the_way_out(book, path):
    set_mood(path, "fails")
    with pytest.warns(lossgap.LossgapWarning) as told:
        fitted(lossgap.TrueLoss(trackers=book))
    texts = [str(warning.message) for warning in told]
    assert len([text for text in texts if "ConnectionError: nobody answers" in text]) == 1
    assert len([text for text in texts if "lossgap sync" in text]) == 1
    assert len(texts) == 2


class Stumbling(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise self.error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("mood", ["works", "fails"])
@pytest.mark.filterwarnings("ignore:lossgap. book:lossgap.errors.LossgapWarning")
def test_the_users_exceptions_pass_untouched(error, mood, book, path):
    set_mood(path, mood)
    callback = lossgap.TrueLoss(trackers=book)
    with pytest.raises(type(error)) as raised:
        fitted(callback, Stumbling(error))
    assert raised.value is error
    callback.let_go()
    set_mood(path, "works")
    wait_until(lambda: len(lines(path)) == 3)
    assert lines(path)[-1] == {"failed": True, "n": 2}


def test_lossgap_fit_ends_a_failed_training_at_once(book, path):
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine"):
        lossgap.fit(
            linear(),
            *regression(),
            epochs=3,
            verbose=0,
            callbacks=[Stumbling(error)],
            true_loss=lossgap.TrueLoss(trackers=book),
        )
    assert epochs(path) == [0, 1, "end"]
    assert lines(path)[-1]["failed"]


def test_a_plain_fit_that_fails_is_ended_when_the_process_ends(path):
    program = """
import lossgap
from small import linear, regression
from tracking import Book
import keras
class Stumbling(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise ValueError("mine")
linear().fit(*regression(), verbose=0, callbacks=[lossgap.TrueLoss(trackers=Book()), Stumbling()])
"""
    process = run_python(program, warnings="default")
    assert process.stderr.splitlines()[-1] == "ValueError: mine"
    assert epochs(path) == [0, "end"]
    assert lines(path)[-1]["failed"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copied_callback_trains_and_logs_by_itself(copied, when, book, path):
    """Tuners copy callbacks for each of their trials."""
    callback = lossgap.TrueLoss(trackers=book)
    if when == "after":
        book.start = lambda training: None  # keeps no model, as trackers should
        fitted(callback, n_epochs=1)
        del book.start
        path.unlink()
        callback.set_model(None)
    other = copied(callback)
    assert other.observer is not callback.observer
    assert other.observer.trackers[0] is not book
    fitted(other, n_epochs=2)
    assert epochs(path) == [0, 1, "end"]
    assert len(other.measurements) == 2


def test_the_lines_of_trackers_are_printed_after_the_verdict_of_a_fit_that_prints(book, capsys):
    linear().fit(*regression(), callbacks=[lossgap.TrueLoss(trackers=book)], verbose=2)
    assert capsys.readouterr().out.endswith("It is written in book.txt.\n")
    linear().fit(*regression(), callbacks=[lossgap.TrueLoss(trackers=book)], verbose=0)
    assert capsys.readouterr().out == ""


def test_measurements_of_steps_are_logged_too(book, path):
    callback = lossgap.TrueLoss(trackers=book, unit="step", every=2)
    fitted(callback, n_epochs=2)
    assert len(lines(path)) == len(callback.measurements) + 1 > 2
