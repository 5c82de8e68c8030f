"""A job of Ray Data finds the numbers of a pass in one process."""

import keras
import numpy as np
import pytest
from keras import layers

import lossgap
import own
from lossgap.errors import DataError, InvalidArgumentError, UnsupportedModelError
from small import linear, regression
from ten_models import REPORTED, TEN, assert_alike, batch_size, built, measured, told

X, Y = regression()


def columns(role, structure):
    """Return a structure of arrays as columns, and how lossgap is told of them."""
    if structure is None:
        return {}, None
    if isinstance(structure, dict):
        named = {key: f"{role}_{key}" for key in structure}
        return {named[key]: array for key, array in structure.items()}, named
    if isinstance(structure, list):
        named = [f"{role}_{index}" for index in range(len(structure))]
        return dict(zip(named, structure, strict=True)), named
    return {role: structure}, role


def sharded(data, n_blocks=3, **arrays):
    """Return a data set of arrays in several blocks."""
    n_rows = len(next(iter(arrays.values())))
    rows = [{name: array[i] for name, array in arrays.items()} for i in range(n_rows)]
    return data.from_items(rows, override_num_blocks=n_blocks)


@pytest.mark.parametrize("name", TEN)
def test_a_job_measures_what_one_process_measures(ray_data, name):
    model, *data = built(name)
    arrays, roles = {}, {}
    for role, structure in zip(("x", "y", "sample_weight"), data, strict=True):
        found, roles[role] = columns(role, structure)
        arrays |= found
    there = lossgap.ray.measure(
        model,
        sharded(ray_data, **arrays),
        **roles,
        batch_size=batch_size(name),
        reported_loss=REPORTED,
    )
    assert_alike(told(there), measured(name, model, *data))


def test_the_model_comes_as_a_file_or_a_function_too(ray_data, tmp_path):
    model = own.linear()
    model.save(tmp_path / "model.keras")
    here = lossgap.measure(model, X, Y)
    for given in (tmp_path / "model.keras", own.linear):
        there = lossgap.ray.measure(given, sharded(ray_data, x=X, y=Y), workers=1)
        # Keras numbers the layers of each further model.
        one, other = (told(found) | {"penalties": {}} for found in (there, here))
        assert_alike(one, other)
        assert [p.value for p in there.penalties] == [p.value for p in here.penalties]


def test_a_metric_of_ones_own_is_left_out_with_a_warning(ray_data):
    with pytest.warns(lossgap.LossgapWarning, match="'largest'.*left out"):
        there = lossgap.ray.measure(own.with_a_largest, sharded(ray_data, x=X, y=Y), parts=False)
    here = lossgap.measure(own.with_a_largest(), X, Y)
    assert list(here.metrics) == ["mae", "largest"]
    assert list(there.metrics) == ["mae"]
    assert there.true_loss == pytest.approx(here.true_loss, rel=2e-6)


def test_the_parts_of_a_large_set_are_measured_on_a_sample(ray_data):
    x, y = regression(20_000)
    model = linear()
    rows = ray_data.from_numpy(list(np.array_split(np.hstack([x, y]), 7))).map_batches(
        lambda batch: {"x": batch["data"][:, :4], "y": batch["data"][:, 4:]}
    )
    there = lossgap.ray.measure(model, rows)
    here = lossgap.measure(model, x, y)
    assert there.n_samples == there.n_total == 20_000
    assert there.true_loss == pytest.approx(here.true_loss, rel=2e-6)
    assert there.penalties[0].value == pytest.approx(here.penalties[0].value, rel=1e-6)
    one, other = there.parts["dropout"], here.parts["dropout"]
    assert one.value == pytest.approx(
        other.value, abs=4 * (one.standard_error + other.standard_error)
    )


def test_class_weights_are_a_part(ray_data):
    labels = (Y[:, 0] > 0).astype("int64")
    weights = {0: 1.0, 1: 3.0}
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(inputs))
    model.compile("sgd", "sparse_categorical_crossentropy")
    rows = sharded(ray_data, x=X, y=labels)
    there = lossgap.ray.measure(model, rows, class_weight=weights, reported_loss=REPORTED)
    here = lossgap.measure(model, X, labels, class_weight=weights, reported_loss=REPORTED)
    assert there.parts["class_weight"].value != 0
    assert_alike(told(there), told(here))


def test_a_model_with_a_memory_is_refused(ray_data):
    model = keras.Sequential([keras.Input((5, 3), batch_size=10), layers.LSTM(2, stateful=True)])
    model.compile("sgd", "mse")
    rows = sharded(ray_data, x=np.zeros((70, 5, 3), "float32"), y=np.zeros((70, 2), "float32"))
    with pytest.raises(UnsupportedModelError, match="from batch to batch"):
        lossgap.ray.measure(model, rows, batch_size=10)


def test_what_a_worker_cant_measure_is_told_here(ray_data):
    rows = sharded(ray_data, x=list(X), y=list(Y)).map(
        lambda row: row | {"x": row["x"][:3] if row["y"][0] == Y[-1, 0] else row["x"]}
    )
    with pytest.raises(DataError, match="column 'x' holds values of different shapes"):
        lossgap.ray.measure(linear(), rows)


@pytest.mark.parametrize(
    ("given", "arguments", "error", "text"),
    [
        (X, {}, DataError, r"Expected a ray\.data\.Dataset.*ndarray"),
        (None, {"x": "image"}, DataError, "no column 'image'. It has: x, y"),
        (None, {"x": 3}, InvalidArgumentError, "name of a column.*int"),
        (None, {"workers": 0}, InvalidArgumentError, "Received: 0"),
        (None, {"batch_size": 0}, InvalidArgumentError, "Received: 0"),
    ],
)
def test_bad_input_is_refused_before_a_job_begins(ray_data, given, arguments, error, text):
    rows = sharded(ray_data, x=X, y=Y) if given is None else given
    with pytest.raises(error, match=text):
        lossgap.ray.measure(linear(), rows, **arguments)


def test_an_empty_data_set_is_refused(ray_data):
    rows = sharded(ray_data, x=X, y=Y).filter(lambda row: False)
    with pytest.raises(DataError, match="empty"):
        lossgap.ray.measure(linear(), rows)


def test_a_model_that_is_none_is_refused(ray_data):
    with pytest.raises(UnsupportedModelError, match="Received: int"):
        lossgap.ray.measure(3, sharded(ray_data, x=X, y=Y))
    with pytest.raises(UnsupportedModelError, match="no model file"):
        lossgap.ray.measure("nowhere.keras", sharded(ray_data, x=X, y=Y))
