"""A callback and its trackers, copied and pickled, as tuners and workers do it.

Before, in the middle of and after a training, which goes on as if nothing had happened.
"""

import copy
import io
import pickle

import cloudpickle
import joblib
import keras
import numpy as np
import pytest
import tensorflow as tf

import lossgap
from lossgap.errors import DataError, LossgapError
from lossgap.tensorboard import reader
from small import linear, regression


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


def cloudpickled(thing):
    return cloudpickle.loads(cloudpickle.dumps(thing))


def through_joblib(thing):
    file = io.BytesIO()
    joblib.dump(thing, file)
    file.seek(0)
    return joblib.load(file)


WAYS = (copy.copy, copy.deepcopy, pickled, cloudpickled, through_joblib)
PICKLING = (pickled, cloudpickled, through_joblib)
EPOCHS = 3


class InTheMiddle(keras.callbacks.Callback):
    """Copies a callback at the end of the second epoch, after it has measured."""

    def __init__(self, measuring, way):
        super().__init__()
        self.copied = None
        self._measuring = measuring
        self._way = way

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.copied = self._way(self._measuring)


def fit(*callbacks):
    x, y = regression()
    return linear().fit(x, y, epochs=EPOCHS, verbose=0, callbacks=[*callbacks]).history


@pytest.fixture(scope="module")
def expected():
    """Return the history of a training whose callback nobody copies."""
    keras.utils.set_random_seed(0)
    return fit(lossgap.TrueLoss(*regression()))


def assert_works(copied, expected):
    keras.utils.set_random_seed(0)
    assert fit(copied) == expected
    assert len(copied.measurements) == EPOCHS


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("data", [(), regression()], ids=["from fit", "given"])
def test_a_callback_is_copied_before_a_training(way, data, expected):
    copied = way(lossgap.TrueLoss(*data))
    assert copied.measurements == []
    assert_works(copied, expected)


@pytest.mark.parametrize("way", WAYS)
def test_a_callback_is_copied_in_the_middle_of_a_training(way, expected):
    measuring = lossgap.TrueLoss(*regression())
    middle = InTheMiddle(measuring, way)
    keras.utils.set_random_seed(0)
    assert fit(measuring, middle) == expected
    copied = middle.copied
    assert copied.measurements == measuring.measurements[:2]
    assert copied.model is None
    assert_works(copied, expected)
    assert len(measuring.measurements) == EPOCHS


@pytest.mark.parametrize("way", WAYS)
def test_a_callback_is_copied_after_a_training(way, expected):
    measuring = lossgap.TrueLoss(*regression())
    fit(measuring)
    copied = way(measuring)
    assert copied.measurements == measuring.measurements
    assert str(copied.summary()) == str(measuring.summary())
    assert_works(copied, expected)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_hears_of_its_own_steps(way):
    measuring = lossgap.TrueLoss(*regression(), unit="step", every=2)
    copied = way(measuring)
    fit(copied)
    assert len(copied.measurements) == 4
    assert measuring.measurements == []


def test_deep_copies_share_the_data():
    x, y = regression()
    copied = copy.deepcopy([lossgap.TrueLoss(x, y)])[0]
    assert copied._given.x is x


def generator():
    yield np.zeros((2, 4)), np.zeros((2, 1))


@pytest.mark.parametrize("way", PICKLING)
@pytest.mark.parametrize(
    "make", [generator, lambda: tf.data.Dataset.from_tensor_slices(regression()).batch(8)]
)
def test_data_that_no_pickle_can_hold_are_an_error_with_a_way_out(way, make):
    with pytest.raises(DataError, match=r"can't be pickled.*Pass arrays or a PyDataset"):
        way(lossgap.TrueLoss(make()))
    assert isinstance(copy.deepcopy(lossgap.TrueLoss(make())), lossgap.TrueLoss)


def tensorboard(folder):
    return lossgap.tensorboard.TensorBoardTracker(folder / "logs")


def mlflow(folder):
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return lossgap.mlflow.MLflowTracker(tracking_uri=uri, panels=False, view=False)


READ = {
    tensorboard: lambda folder: reader.read(str(folder / "logs")),
    mlflow: lambda folder: __import__("lossgap.mlflow.reader").mlflow.reader.read(str(folder)),
}


@pytest.mark.parametrize(
    ("make", "way"), [(mlflow, copy.deepcopy), (tensorboard, copy.deepcopy), (tensorboard, pickled)]
)
def test_a_tracker_is_copied_with_its_callback_at_any_time(make, way, tmp_path):
    measuring = lossgap.TrueLoss(*regression(), trackers=make(tmp_path))
    middle = InTheMiddle(measuring, way)
    early = way(measuring)
    fit(measuring, middle)
    late = way(measuring)
    for copied in (early, middle.copied, late):
        fit(copied)
    runs = READ[make](tmp_path)
    assert [len(run.measurements) for run in runs] == [EPOCHS] * 4


@pytest.mark.parametrize("make", READ)
def test_a_tracker_of_its_own_is_copied_while_it_logs(make, tmp_path):
    tracker = make(tmp_path)
    measuring = lossgap.TrueLoss(*regression(), trackers=tracker)

    class Copies(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            copies.extend(way(tracker) for way in WAYS)

    copies = []
    fit(measuring, Copies())
    assert len(copies) == len(WAYS) * EPOCHS
    assert len(READ[make](tmp_path)[0].measurements) == EPOCHS


def test_a_copy_holds_nothing_of_the_training(tmp_path):
    tracker = mlflow(tmp_path)
    model = linear()
    x, y = regression()
    measuring = lossgap.TrueLoss(x, y, trackers=tracker)
    sizes = []

    class Weighs(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            sizes.append(len(pickle.dumps(measuring)) - len(pickle.dumps(measuring.measurements)))

    model.fit(x, y, epochs=2, verbose=0, callbacks=[measuring, Weighs()])
    assert max(sizes) < len(pickle.dumps((x, y))) + 2_000


def test_an_error_is_one_of_lossgap_s():
    assert issubclass(DataError, LossgapError)
