"""Ten models of the zoo, measured and trained on several devices and by one: what differs."""

import contextlib

import keras
import numpy as np
import pytest

import lossgap
import models
from models import CASES

TEN = (
    "sequential_with_dropout_on_the_input",
    "functional_with_two_inputs",
    "list_of_outputs_with_loss_weights",
    "dict_of_outputs_with_sample_weights_for_each",
    "convolution_with_batch_normalization",
    "lstm_with_a_masked_loss",
    "multi_head_attention_with_dropout",
    "regularizers_inside_a_nested_model",
    "activity_regularizer",
    "dropout_noise_and_batch_normalization",
)
BY_NAME = {case.name: case for case in CASES}
REPORTED = 3.0


def built(name, scope=contextlib.nullcontext):
    """Build a model from fixed seeds, with its data, where the scope puts its variables."""
    keras.utils.clear_session(free_memory=False)
    if keras.config.backend() == "jax":
        keras.distribution.set_distribution(None)
    keras.utils.set_random_seed(0)
    with scope(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(models, "trained", untrained)
        model, *data = BY_NAME[name].build()
    return model, *(keras.tree.map_structure(evened, part, none_is_leaf=False) for part in data)


def untrained(model, loss, x, y, sample_weight=None, **options):
    """Stand in for the training of the zoo, which not every strategy can do by `fit`."""
    return models.ready(model, loss, **options)


def evened(array):
    """Cut off an odd sample at the end: JAX splits none in two."""
    return array[: len(array) // 2 * 2]


def batch_size(name):
    """Return the batch size: one that devices can halve where the loss depends on batches."""
    return 14 if name == "lstm_with_a_masked_loss" else BY_NAME[name].batch_size


def measured(name, model, x, y, sample_weight, *, n_replicas=1):
    """Measure a model, and return all numbers in plain types."""
    return told(
        lossgap.measure(
            model,
            x,
            y,
            sample_weight=sample_weight,
            batch_size=batch_size(name) // n_replicas,
            reported_loss=REPORTED,
        )
    )


def told(found):
    """Return the numbers of a measurement in plain types."""
    return {
        "true_loss": found.true_loss,
        "parts": {name: part.value for name, part in found.parts.items()},
        "errors": {name: part.standard_error for name, part in found.parts.items()},
        "penalties": {f"{p.layer} {p.kind}": p.value for p in found.penalties},
        "metrics": {name: values.true for name, values in found.metrics.items()},
        "n_samples": [found.n_samples, found.n_total],
    }


def together_and_alone(name, scope):
    """Measure a model where the scope has it, and the same model on one device."""
    model, *data = built(name, scope)
    together = measured(name, model, *data)
    alone, *data = built(name)
    alone.set_weights(model.get_weights())
    return {"together": together, "alone": measured(name, alone, *data)}


def trained_twice(name, scope, n_replicas=1):
    """Train without and with a measurement: whether all is the same, and what was measured."""
    left = []
    callback = lossgap.TrueLoss()
    for callbacks in ([], [callback]):
        model, x, y, sample_weight = built(name, scope)
        fitted = model.fit(
            x,
            y,
            sample_weight=sample_weight,
            batch_size=batch_size(name),
            epochs=2,
            verbose=0,
            callbacks=callbacks,
        )
        left.append(state_after(model, fitted.history))
    alone, *data = built(name)
    alone.set_weights(model.get_weights())
    return {
        "same": left[0] == left[1],
        "in_training": told(callback.measurements[-1]),
        "after_training": measured(name, alone, *data, n_replicas=n_replicas),
    }


def state_after(model, history, *, metrics=True):
    """Return every bit that a training leaves behind; a loop of one's own may use no metrics."""
    variables = [*model.variables, *model.optimizer.variables]
    variables += model.metrics_variables if metrics else []
    reported = {key: values for key, values in history.items() if not is_ours(key)}
    values = [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables]
    drawn = [np.random.random(), keras.random.randint((2,), 0, 1000)]  # noqa: NPY002
    return reported, values, drawn[0], keras.ops.convert_to_numpy(drawn[1]).tolist()


def is_ours(name):
    """Tell whether a key of the history is lossgap's."""
    return name == "regularization_gap" or name.startswith("true_")


def assert_alike(one, other):
    """Compare two measurements of the same weights: what adds up may differ by rounding."""
    assert one["n_samples"] == other["n_samples"]
    assert one["true_loss"] == pytest.approx(other["true_loss"], rel=2e-6)
    for group in ("parts", "errors", "penalties", "metrics"):
        assert list(one[group]) == list(other[group])
        for name, value in other[group].items():
            expected = value if value is None else pytest.approx(value, rel=2e-5, abs=2e-6)
            assert one[group][name] == expected, (group, name)
