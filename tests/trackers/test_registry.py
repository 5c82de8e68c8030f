"""Trackers by name: known ones, new ones, and what is said of wrong ones."""

import re

import pytest
from tracking import Book, PlainBook, run_python

from lossgap.errors import InvalidArgumentError, MissingDependencyError
from lossgap.trackers import ResumableTracker, Tracker, register, registry


def test_the_trackers_of_lossgap_are_known():
    assert {"mlflow", "tensorboard", "wandb"} <= set(registry.names())


def test_a_new_tracker_goes_through_the_same_door(book):
    register("mine", "tracking:Book")
    assert registry.tracker_class("mine") is Book
    (made,) = registry.resolve("mine")
    assert isinstance(made, Book)


@pytest.mark.parametrize("path", ["", "tracking", "tracking:", ":Book"])
def test_a_path_of_another_form_is_refused_when_it_is_registered(path):
    with pytest.raises(
        InvalidArgumentError, match=re.escape(f'"module:Class". Received: {path!r}')
    ):
        register("mine", path)


def test_objects_and_names_may_stand_together(book):
    trackers = registry.resolve([book, "plain"])
    assert trackers[0] is book
    assert isinstance(trackers[1], PlainBook)


@pytest.mark.parametrize("several", [(), [], {}, iter(())])
def test_there_may_be_none(several):
    assert registry.resolve(several) == []


def test_two_of_a_kind_may_log_to_two_places(tmp_path):
    two = [Book(tmp_path / "one"), Book(tmp_path / "other")]
    assert registry.resolve(two) == two


@pytest.mark.parametrize("twice", ["names", "objects"])
def test_the_same_one_twice_is_refused(twice, book):
    given = ["book", "plain", "book"] if twice == "names" else [book, book]
    with pytest.raises(InvalidArgumentError, match="Received a tracker twice"):
        registry.resolve(given)


@pytest.mark.parametrize("wrong", [None, 3, Book, object(), b"book", ["book", 3]])
def test_what_is_no_tracker_is_refused_with_the_names_there_are(wrong, book):
    with pytest.raises(InvalidArgumentError, match=r"has name, start, log and finish.*'mlflow'"):
        registry.resolve(wrong)


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(InvalidArgumentError, match=r"'mlflow'.*Received: 'mlfow'"):
        registry.resolve("mlfow")


def test_a_tracker_that_is_iterable_is_one_tracker(path):
    class Iterable(Book):
        def __iter__(self):
            return iter(())

    tracker = Iterable(path)
    assert registry.resolve(tracker) == [tracker]


def test_the_package_of_a_tracker_may_be_missing():
    program = """
import sys
class Hider:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hider())
from lossgap.errors import MissingDependencyError
from lossgap.trackers import registry
try:
    registry.resolve("mlflow")
except MissingDependencyError as error:
    print(error)
"""
    assert 'pip install "lossgap[mlflow]"' in run_python(program).stdout
    assert issubclass(MissingDependencyError, ImportError)


def test_who_can_resume_is_told_by_what_he_has(path):
    assert isinstance(Book(path), ResumableTracker)
    assert isinstance(PlainBook(path), Tracker)
    assert not isinstance(PlainBook(path), ResumableTracker)


def test_the_outbox_needs_no_keras():
    program = (
        "import sys, lossgap.trackers, lossgap.trackers.autolog; print('keras' in sys.modules)"
    )
    assert run_python(program).stdout == "False\n"
