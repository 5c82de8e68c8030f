"""Autologging: every fit is measured and logged, and nothing else changes."""

import functools

import keras
import pytest
from tracking import Book, PlainBook, epochs, lines, run_python, set_mood

import lossgap
from lossgap.core import every_fit
from lossgap.core.settings import Settings
from lossgap.trackers import autolog
from small import assert_same_state, linear, regression, state

pytestmark = pytest.mark.usefixtures("_impatient")


@pytest.fixture(autouse=True)
def _switched_off_again():
    before = filling()
    yield
    for name in list(autolog._active):
        autolog.disable(name)
    assert filling() is before


def filling():
    """Return the function that Keras's wrapper around ``fit`` holds."""
    return every_fit._closure(every_fit._trainer().fit).cell_contents


def switch_on(tracker, name=None, settings=None, **options):
    made = (lambda callbacks: tracker) if not callable(tracker) else tracker
    autolog.enable(autolog.Autolog(name or "book", settings or Settings(), tracker=made, **options))


def fit(model=None, **arguments):
    model = model or linear()
    return model.fit(*regression(), **{"verbose": 0, "epochs": 2} | arguments)


def test_every_fit_is_logged_and_its_history_has_the_true_loss(book, path):
    switch_on(book)
    assert "true_loss" in fit().history
    fit(epochs=1)
    assert epochs(path) == [0, 1, "end", 0, "end"]


def test_switched_off_it_leaves_no_trace(book, path):
    before, method, names = filling(), vars(every_fit._trainer())["fit"], set(vars(keras.Model))
    switch_on(book)
    switch_on(book, "other")
    assert filling() is not before
    autolog.disable("other")
    fit(epochs=1)
    autolog.disable("book")
    autolog.disable("book")
    assert filling() is before
    assert vars(every_fit._trainer())["fit"] is method
    assert set(vars(keras.Model)) == names
    assert "true_loss" not in fit().history
    assert epochs(path) == [0, "end"]


def test_switched_on_twice_it_logs_once(book, path):
    switch_on(book)
    switch_on(book)
    fit(epochs=1)
    assert epochs(path) == [0, "end"]


PROGRAM = """
import sys
from lossgap.core.settings import Settings
from lossgap.trackers import autolog
from tracking import Book, epochs
{before}
autolog.enable(autolog.Autolog("book", Settings(), lambda callbacks: Book()))
{then}
assert "keras" in sys.modules
from small import linear, regression
linear().fit(*regression(), verbose=0)
print(epochs(Book().path))
autolog.disable("book")
linear().fit(*regression(), verbose=0)
print(epochs(Book().path))
"""
OFF_AND_ON = """
autolog.disable("book")
assert "keras" not in sys.modules
import keras
autolog.enable(autolog.Autolog("book", Settings(), lambda callbacks: Book()))
"""


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    ("before", "then"),
    [
        ("import keras", ""),
        ("", "assert 'keras' not in sys.modules; import keras"),
        ("", "import tensorflow; tensorflow.keras.Model"),
        ("", OFF_AND_ON),
    ],
    ids=["before", "after", "through TensorFlow", "off and on again"],
)
def test_keras_may_be_imported_before_or_after(before, then):
    process = run_python(PROGRAM.format(before=before, then=then), warnings="default")
    assert process.stdout == "[0, 'end']\n[0, 'end']\n", process.stderr


def test_an_import_of_keras_does_not_fail_because_of_the_hook():
    process = run_python(
        "from lossgap.core.settings import Settings\n"
        "from lossgap.trackers import autolog\n"
        "import sys; sys.modules['lossgap.core.every_fit'] = None\n"
        "autolog.enable(autolog.Autolog('book', Settings(), lambda callbacks: None))\n"
        "import keras; print(keras.Model.__name__)",
        warnings="default",
    )
    assert process.stdout == "Model\n"
    assert "autologging could not be switched on" in process.stderr


def test_patches_of_the_class_from_outside_still_work(book, path, monkeypatch):
    calls = []

    def patched(original):
        @functools.wraps(original)
        def fit(self, *args, **kwargs):
            calls.append(1)
            return original(self, *args, **kwargs)

        return fit

    monkeypatch.setattr(keras.Model, "fit", patched(keras.Model.fit))
    switch_on(book)
    monkeypatch.setattr(keras.Model, "fit", patched(keras.Model.fit))
    fit(epochs=1)
    assert len(calls) == 2
    assert epochs(path) == [0, "end"]


class Nested(keras.callbacks.Callback):
    """Trains another model at the end of each epoch."""

    def on_epoch_end(self, epoch, logs=None):
        fit(linear(), epochs=1)


def test_a_fit_inside_a_callback_is_left_alone(book, path):
    switch_on(book)
    fit(callbacks=[Nested()])
    assert epochs(path) == [0, 1, "end"]
    assert len(book.trainings) == 1
    fit(epochs=1)
    assert len(book.trainings) == 2


class Given(keras.callbacks.Callback):
    """Remembers which callbacks it trains with."""

    def on_train_begin(self, logs=None):
        from lossgap.core.fit_call import FitCall

        self.beside = FitCall.running(self.model).callbacks

    @property
    def measuring(self):
        return [callback for callback in self.beside if isinstance(callback, lossgap.TrueLoss)]


def test_two_trackers_with_the_same_settings_share_a_measurement(path, tmp_path):
    switch_on(Book(path), "one")
    switch_on(PlainBook(tmp_path / "other.txt"), "other")
    given = Given()
    fit(callbacks=[given])
    assert len(given.measuring) == 1
    assert lines(path)[0] == lines(tmp_path / "other.txt")[0]


def test_two_trackers_with_different_settings_get_two(path, tmp_path):
    switch_on(Book(path), "one")
    switch_on(PlainBook(tmp_path / "other.txt"), "other", Settings(every=2))
    given = Given()
    fit(callbacks=[given])
    assert len(given.measuring) == 2
    assert epochs(path) == [0, 1, "end"]
    assert epochs(tmp_path / "other.txt") == [1, "end"]


def test_a_truelloss_of_the_users_own_measures_and_is_given_back(book, path, tmp_path):
    own = lossgap.TrueLoss(every=2, trackers=PlainBook(tmp_path / "own.txt"))
    observer = own.observer
    switch_on(book)
    given = Given()
    fit(callbacks=[own, given])
    assert given.measuring == [own]
    assert own.observer is observer
    assert epochs(path) == epochs(tmp_path / "own.txt") == [1, "end"]
    autolog.disable("book")
    fit(callbacks=[own])
    assert epochs(path) == [1, "end"]


def test_a_tracker_that_the_user_logs_to_already_gets_nothing_twice(book, path):
    switch_on(Book(path))
    fit(callbacks=[lossgap.TrueLoss(trackers=book)])
    assert epochs(path) == [0, 1, "end"]


def test_lossgap_fit_is_logged_once(book, path):
    switch_on(book)
    callback = lossgap.TrueLoss()
    lossgap.fit(linear(), *regression(), verbose=0, true_loss=callback)
    assert epochs(path) == [0, "end"]
    assert len(callback.measurements) == 1
    assert callback.observer is None


def test_a_fit_of_the_models_own_that_hands_on_is_logged(book, path):
    class Model(keras.Sequential):
        def fit(self, *args, **kwargs):
            return super().fit(*args, **kwargs)

    model = Model([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    switch_on(book)
    fit(model, epochs=1)
    assert epochs(path) == [0, "end"]


@pytest.mark.parametrize("form", ["none", "absent", "list", "tuple", "one", "CallbackList"])
def test_callbacks_may_have_any_form(form, book, path):
    switch_on(book)
    model, seen = linear(), Given()
    given = {
        "none": {"callbacks": None},
        "absent": {},
        "list": {"callbacks": [seen]},
        "tuple": {"callbacks": (seen,)},
        "one": {"callbacks": seen},
        "CallbackList": {
            "callbacks": keras.callbacks.CallbackList(
                [seen], add_history=True, model=model, epochs=1
            )
        },
    }[form]
    own = given.get("callbacks")
    before = list(getattr(own, "callbacks", own if isinstance(own, list) else ()))
    fit(model, **given)
    assert len(epochs(path)) >= 2
    assert list(getattr(own, "callbacks", own if isinstance(own, list) else ())) == before


def test_positional_arguments_stay_where_they_are(book, path):
    switch_on(book)
    x, y = regression()
    seen = Given()
    history = linear().fit(x, y, 16, 2, 0, [seen])
    assert len(history.epoch) == 2
    assert history.params["steps"] == 5
    assert epochs(path) == [0, 1, "end"]


def test_the_training_is_the_same_to_the_last_bit(book):
    alone = linear()
    fit(alone)
    switch_on(book)
    logged = linear()
    fit(logged)
    assert_same_state(state(logged), state(alone))


# What can't be measured or logged.


def unmeasurable():
    """Return a model without a loss on the data."""
    return linear(loss=None, metrics=())


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_a_model_that_cannot_be_measured_is_one_warning(book, path):
    switch_on(book)
    with pytest.warns(lossgap.LossgapWarning) as told:
        history = fit(unmeasurable())
    (warning,) = [warning for warning in told if warning.category is lossgap.LossgapWarning]
    assert "this training goes on without the true loss" in str(warning.message)
    assert len(history.history["loss"]) == 2
    assert not path.exists()


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_who_wants_silence_is_warned_of_nothing(book, path):
    switch_on(book, silent=True)
    fit(unmeasurable())
    set_mood(path, "fails")
    fit()


class Broken(Book):
    def start(self, training):
        raise OSError("no route to host")


def raising(error):
    def tracker(callbacks):
        raise error

    return tracker


@pytest.mark.parametrize("where", ["tracker", "start", "arrange"])
def test_a_tracker_that_breaks_is_one_warning_and_the_training_goes_on(where, path):
    if where == "arrange":
        switch_on(Book(path), arrange=raising(RuntimeError("no route to host")))
    else:
        switch_on(Broken(path) if where == "start" else raising(OSError("no route to host")))
    alone = linear()
    with pytest.warns(lossgap.LossgapWarning, match="no route to host") as told:
        history = fit(alone)
    assert len(told) == 1
    assert len(history.epoch) == 2
    assert "true_loss" not in history.history


def test_a_tracker_that_breaks_keeps_no_other_from_logging(path):
    switch_on(raising(OSError("no route to host")), "broken")
    switch_on(Book(path), "book")
    with pytest.warns(lossgap.LossgapWarning, match="without the true loss in broken"):
        fit()
    assert epochs(path) == [0, 1, "end"]


def test_a_warning_points_to_the_users_line():
    switch_on(raising(OSError("no route to host")))
    with pytest.warns(lossgap.LossgapWarning) as told:
        linear().fit(*regression(), verbose=0)
    assert told[0].filename == __file__


def test_a_tracker_may_leave_a_fit_alone():
    switch_on(lambda callbacks: None)
    assert "true_loss" not in fit().history


@pytest.mark.parametrize(
    "wrong", [{"epoch": 1}, {"validation_split": 2.0}, {"callbacks": [3]}, {"epochs": None}]
)
@pytest.mark.filterwarnings("ignore::lossgap.LossgapWarning")
def test_errors_of_fit_keep_their_type_and_message(wrong, book):
    with pytest.raises(Exception) as alone:  # noqa: PT011 - whichever Keras raises
        fit(**wrong)
    switch_on(book)
    with pytest.raises(type(alone.value)) as logged:
        fit(**wrong)
    assert str(logged.value) == str(alone.value)
    assert type(logged.value.__cause__) is type(alone.value.__cause__)


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_the_users_exceptions_pass_and_the_training_is_logged_as_failed(error, book, path):
    class Stumbling(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise error

    switch_on(book)
    with pytest.raises(type(error)) as raised:
        fit(callbacks=[Stumbling()])
    assert raised.value is error
    assert lines(path)[-1] == {"failed": True, "n": 1}
    fit(epochs=1)
    assert epochs(path) == [0, "end", 0, "end"]


# A Keras that wraps fit in another way.


@pytest.fixture
def _without_closure(monkeypatch):
    monkeypatch.setattr(every_fit, "_closure", lambda function: None)
    yield
    monkeypatch.undo()


@pytest.mark.usefixtures("_without_closure")
def test_without_the_closure_the_class_is_patched_and_it_is_said(book, path):
    owner = every_fit._trainer()
    before = owner.fit
    with pytest.warns(lossgap.LossgapWarning, match="after all other autologging"):
        switch_on(book)
    fit(epochs=1)
    autolog.disable("book")
    assert owner.fit is before
    fit(epochs=1)
    assert epochs(path) == [0, "end"]


@pytest.mark.usefixtures("_without_closure")
def test_a_later_patch_of_another_tool_is_not_taken_away(book, path):
    owner = every_fit._trainer()
    before = owner.fit
    try:
        with pytest.warns(lossgap.LossgapWarning):
            switch_on(book)
        ours = owner.fit

        def theirs(self, *args, **kwargs):
            return ours(self, *args, **kwargs)

        owner.fit = theirs
        autolog.disable("book")
        assert owner.fit is theirs
        fit(epochs=1)
        assert epochs(path) == []
    finally:
        owner.fit = before
