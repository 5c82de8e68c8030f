"""The right number for whatever people hand to fit, to TrueLoss and to measure."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import lossgap
from feeding import BATCH, CLASS_WEIGHT, FEEDS, KINDS, N, Sequence, classes, compiled, regression
from lossgap.errors import DataError
from small import assert_same_state, l2_penalty, linear, mse, state

# The models of the matrix keep their rows in a train_step of their own, which lossgap tells.
pytestmark = pytest.mark.filterwarnings(
    "ignore:lossgap. Recorded.train_step is the model's own:lossgap.errors.LossgapWarning"
)

X, Y, W = regression()


def dataset(*arrays):
    """Return a dataset of arrays in their order."""
    return tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH)


def fed(feed, callback, model=None, **arguments):
    """Train for one epoch on a feed, and return the model and the measurement."""
    model = model or linear()
    model.fit(feed, shuffle=False, verbose=0, callbacks=[callback], **arguments)
    return model, callback.measurements[-1]


SEPARATE = {
    "arrays": lambda: (X, Y, W),
    "a dataset": lambda: (dataset(X, Y, W),),
    "a dataset of two parts": lambda: (
        dataset(X[:30], Y[:30], W[:30]).concatenate(dataset(X[30:], Y[30:], W[30:])),
    ),
    "a dataset that is cached and prefetched": lambda: (dataset(X, Y, W).cache().prefetch(2),),
    "a PyDataset": lambda: (Sequence(X, Y, W),),
    "a PyDataset with workers": lambda: (Sequence(X, Y, W, workers=2),),
    "a shuffled dataset that was drawn before": lambda: (_frozen(),),
}


def _frozen():
    """Return the batches that a shuffled dataset gave once."""
    batches = list(tf.data.Dataset.from_tensor_slices((X, Y, W)).shuffle(N).batch(BATCH))
    rows = [np.concatenate([b[i].numpy() for b in batches]) for i in range(3)]
    return dataset(*rows)


@pytest.mark.parametrize("make", SEPARATE.values(), ids=SEPARATE)
def test_separate_data_are_read_anew_for_every_epoch(make):
    given = make()
    sample_weight = given[2] if len(given) == 3 else None
    callback = lossgap.TrueLoss(*given[:2], sample_weight=sample_weight)
    expected, model = [], linear()

    class Expected(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            expected.append(mse(model, X, Y, W))

    other = tf.data.Dataset.from_tensor_slices((X * 2, Y)).shuffle(N).batch(BATCH)
    model.fit(other, epochs=3, shuffle=False, verbose=0, callbacks=[callback, Expected()])
    np.testing.assert_allclose([m.true_loss for m in callback.measurements], expected, rtol=2e-6)
    assert {(m.n_samples, m.n_total) for m in callback.measurements} == {(N, N)}
    assert all(m.standard_error is None for m in callback.measurements)


@pytest.mark.parametrize("make", SEPARATE.values(), ids=SEPARATE)
def test_measure_reads_what_can_be_read_again_and_leaves_the_model_alone(make):
    given = make()
    model = linear()
    model.fit(X, Y, verbose=0)
    before = state(model)
    sample_weight = given[2] if len(given) == 3 else None
    for _ in range(2):
        measured = lossgap.measure(model, *given[:2], sample_weight=sample_weight)
        assert measured.true_loss == pytest.approx(mse(model, X, Y, W), rel=2e-6)
    assert_same_state(state(model), before)


def test_a_pipeline_that_augments_gets_the_part_that_its_augmentation_adds():
    shifted = dataset(X, Y).map(lambda x, y: (x + 1.0, y))
    model, measured = fed(shifted, lossgap.TrueLoss(dataset(X, Y)))
    assert measured.true_loss == pytest.approx(mse(model, X, Y), rel=2e-6)
    added = mse(model, X + 1.0, Y) - mse(model, X, Y)
    assert measured.parts["pipeline"].value == pytest.approx(added, rel=1e-5)
    assert sum(part.value for part in measured.parts.values()) == pytest.approx(
        measured.regularization_gap, abs=1e-6
    )


def test_a_pipeline_that_only_shuffles_has_no_part():
    shuffled = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(N).batch(BATCH)
    _, measured = fed(shuffled, lossgap.TrueLoss(dataset(X, Y)))
    assert list(measured.parts) == ["penalty", "dropout", "drift"]


def test_the_fed_batches_are_left_alone_where_parts_arent_wanted():
    _, measured = fed(_endless(), lossgap.TrueLoss(X, Y, parts=False), steps_per_epoch=3)
    assert measured.parts == {}
    assert measured.n_samples == N


def _endless():
    while True:
        yield X[:BATCH], Y[:BATCH]


@pytest.mark.parametrize("kind", ["arrays", "dataset", "PyDataset"])
def test_class_weights_are_a_part_of_the_gap_and_not_of_the_true_loss(kind):
    x, y = classes()
    feeds = {"arrays": x, "dataset": dataset(x, y), "PyDataset": Sequence(x, y)}
    targets = {"y": y, "batch_size": BATCH} if kind == "arrays" else {}
    model, measured = fed(
        feeds[kind],
        lossgap.TrueLoss(),
        compiled("classes"),
        class_weight=CLASS_WEIGHT,
        **targets,
    )
    [(losses, _)] = KINDS["classes"].losses(model, np.column_stack([x, y, np.ones(N)]))
    assert measured.true_loss == pytest.approx(losses.mean(), rel=2e-6)
    weights = np.array([CLASS_WEIGHT[label] for label in y])
    assert measured.parts["class_weight"].value == pytest.approx(
        np.mean(losses * weights) - losses.mean(), rel=1e-5
    )


VALIDATIONS = {
    "arrays": lambda: (X[:20], Y[:20]),
    "arrays with weights": lambda: (X[:20], Y[:20], W[:20]),
    "a dataset": lambda: dataset(X[:20], Y[:20]),
    "a dataset with weights": lambda: dataset(X[:20], Y[:20], W[:20]),
}


@pytest.mark.parametrize("depends", [False, True], ids=["weight penalty", "activity penalty"])
@pytest.mark.parametrize("kind", VALIDATIONS)
def test_the_true_validation_loss_is_right_for_any_validation_data(kind, depends):
    model = linear()
    if depends:
        model = keras.Sequential([layers.Input((4,)), layers.Dense(1, activity_regularizer="l2")])
        model.compile("sgd", "mse")
    shuffled = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(N).batch(BATCH)
    callback = lossgap.TrueLoss()
    _, measured = fed(shuffled, callback, model, validation_data=VALIDATIONS[kind]())
    expected = mse(model, X[:20], Y[:20], W[:20] if "weights" in kind else None)
    assert measured.true_val_loss == pytest.approx(expected, rel=2e-6)
    assert measured.val_loss > measured.true_val_loss
    if not depends:
        assert measured.val_loss == pytest.approx(expected + l2_penalty(model), rel=2e-6)


def test_a_part_of_a_validation_set_has_a_true_loss_where_the_penalty_tells():
    endless = dataset(X, Y).repeat()
    callback = lossgap.TrueLoss()
    model, measured = fed(dataset(X, Y), callback, validation_data=endless, validation_steps=2)
    expected = mse(model, X[: 2 * BATCH], Y[: 2 * BATCH])
    assert measured.true_val_loss == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("kind", ["a part of a dataset", "a PyDataset"])
def test_a_validation_set_that_cant_be_read_leaves_the_number_out_and_says_so(kind):
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1, activity_regularizer="l2")])
    model.compile("sgd", "mse")
    validation = {"validation_data": dataset(X, Y).repeat(), "validation_steps": 2}
    if kind == "a PyDataset":
        validation = {"validation_data": Sequence(X, Y)}
    with pytest.warns(lossgap.LossgapWarning, match="no true_val_loss.*as arrays"):
        _, measured = fed(dataset(X, Y), lossgap.TrueLoss(), model, **validation)
    assert measured.true_val_loss is None
    assert measured.val_loss is not None


def test_epochs_of_a_stream_are_measured_each_on_its_own_batches():
    data = dataset(X, Y).repeat()
    callback = lossgap.TrueLoss()
    expected, model = [], linear()

    class Expected(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            places = (np.arange(2) + 2 * epoch) % 5  # 5 batches, the last one with 6 samples
            rows = np.concatenate([np.arange(N)[p * BATCH : (p + 1) * BATCH] for p in places])
            expected.append((len(rows), mse(model, X[rows], Y[rows])))

    model.fit(
        data,
        steps_per_epoch=2,
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=[callback, Expected()],
    )
    assert [m.n_samples for m in callback.measurements] == [n for n, _ in expected]
    losses = [m.true_loss for m in callback.measurements]
    np.testing.assert_allclose(losses, [loss for _, loss in expected], rtol=2e-6)


def test_mid_epoch_measurements_leave_the_logs_and_history_to_keras():
    callback = lossgap.TrueLoss(unit="step", every=2)
    running = []

    class Running(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            running.append(logs["loss"])

    model = linear()
    history = model.fit(
        X, Y, batch_size=BATCH, epochs=2, verbose=0, callbacks=[callback, Running()]
    )
    assert set(history.history) == {"loss", "mae"}
    assert [m.step for m in callback.measurements] == [2, 4, 6, 8, 10]
    assert [m.epoch for m in callback.measurements] == [0, 0, 1, 1, 1]
    assert [m.reported_loss for m in callback.measurements] == running[1::2]


def test_a_cadence_of_epochs_adds_no_hook_to_the_batches():
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    for hook in hooks:
        own = getattr(lossgap.TrueLoss(), hook)
        assert getattr(own, "__func__", None) is getattr(keras.callbacks.Callback, hook)


def test_data_and_model_are_let_go_of_after_the_fit():
    x, y = X.copy(), Y.copy()
    callback, model = lossgap.TrueLoss(), linear()
    model.fit(x, y, verbose=0, callbacks=[callback])
    gone = weakref.ref(x)
    del x, y
    keras.backend.clear_session(free_memory=False)
    gc.collect()
    assert gone() is None
    assert callback.measurements


def test_the_sample_of_a_stream_is_let_go_of_after_the_fit():
    callback = lossgap.TrueLoss()
    kept = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(weakref.ref(callback._feeds.fed))

    fed(dataset(X, Y), callback, epochs=2)
    model = linear()
    model.fit(dataset(X, Y), shuffle=False, verbose=0, callbacks=[callback, Watch()])
    del model
    keras.backend.clear_session(free_memory=False)
    gc.collect()
    assert [ref() for ref in kept] == [None]


def _train_on_batches(model, x, y):
    model.reset_metrics()
    for start in range(0, N, BATCH):
        logs = model.train_on_batch(
            x[start : start + BATCH], y[start : start + BATCH], return_dict=True
        )
    return float(logs["loss"])  # the running mean of the metrics


def _with_a_tape(model, x, y):
    total = 0.0
    for start in range(0, N, BATCH):
        batch_x, batch_y = x[start : start + BATCH], y[start : start + BATCH]
        with tf.GradientTape() as tape:
            outputs = model(batch_x, training=True)
            loss = model.compute_loss(batch_x, tf.constant(batch_y), outputs)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        total += float(loss) * len(batch_x)
    return total / N


@pytest.mark.parametrize("loop", [_train_on_batches, _with_a_tape])
@pytest.mark.parametrize("source", ["arrays", "a dataset"])
def test_a_loop_of_ones_own_is_measured_between_its_epochs_and_stays_the_same(loop, source):
    states = []
    for measuring in (False, True):
        keras.utils.set_random_seed(5)
        model = linear()
        for _ in range(2):
            reported = loop(model, X, Y)
            if measuring:
                data = (X, Y) if source == "arrays" else (dataset(X, Y),)
                measured = lossgap.measure(model, *data, reported_loss=reported, batch_size=BATCH)
                assert measured.true_loss == pytest.approx(mse(model, X, Y), rel=2e-6)
                assert measured.regularization_gap == reported - measured.true_loss
                assert sum(part.value for part in measured.parts.values()) == pytest.approx(
                    measured.regularization_gap, abs=1e-6
                )
        draws = [tf.random.uniform((3,)), keras.random.uniform((3,)), np.random.rand(3)]  # noqa: NPY002
        variables = [*model.variables, *model.optimizer.variables]
        left = [variable.numpy() for variable in variables]
        states.append([*left, *(np.asarray(draw) for draw in draws)])
    assert_same_state(*states)


def test_two_callbacks_on_one_stream_keep_the_same_batches():
    callbacks = [lossgap.TrueLoss(), lossgap.TrueLoss(parts=False)]
    data = dataset(X, Y).repeat()
    linear().fit(data, steps_per_epoch=3, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
    one, other = ([(m.n_total, m.true_loss) for m in c.measurements] for c in callbacks)
    assert one == other
    assert [n for n, _ in one] == [3 * BATCH, 2 * BATCH + 6]  # the last of five batches has six


def test_ragged_arrays_are_measured_as_ragged():
    values = np.arange(120, dtype="float32")
    x = tf.RaggedTensor.from_row_lengths(values, [3, 1] * 30)
    y = np.linspace(0, 1, 60).astype("float32")[:, None]

    class Mean(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(1)

        def call(self, x):
            return self.out(tf.reduce_mean(x, axis=1)[:, None] / 60.0)

    model, callback = Mean(), lossgap.TrueLoss()
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0, callbacks=[callback])
    means = tf.reduce_mean(x, axis=1).numpy()[:, None] / 60.0
    outputs = means @ model.out.kernel.numpy() + model.out.bias.numpy()
    expected = np.mean((outputs - y) ** 2)
    assert callback.measurements[0].true_loss == pytest.approx(expected, rel=2e-6)


def test_sparse_arrays_are_refused_before_the_training():
    sparse = tf.sparse.from_dense(X)
    with pytest.raises(DataError, match=r"Sparse arrays.*tf\.sparse\.to_dense"):
        linear().fit(sparse, Y, verbose=0, callbacks=[lossgap.TrueLoss()])


def test_sparse_batches_cant_be_kept_and_the_error_says_what_to_pass():
    sparse = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(X), Y)).batch(BATCH)
    model = linear()
    with pytest.raises(DataError, match=r"can't be measured.*dense or ragged.*TrueLoss\(x, y\)"):
        model.fit(sparse, shuffle=False, verbose=0, callbacks=[lossgap.TrueLoss()])
    assert model.optimizer.iterations == 0


def test_every_feed_of_the_matrix_names_a_kind_of_model():
    assert {make().kind for make in FEEDS.values()} == set(KINDS)
