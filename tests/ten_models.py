"""Ten models of the zoo, measured and trained on several devices and by one: what differs."""

import contextlib

import keras
import numpy as np

import lossgap
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
    with scope():
        return BY_NAME[name].build()


def measured(name, model, x, y, sample_weight, batch_size=None):
    """Measure a model, and return all numbers in plain types."""
    size = batch_size or BY_NAME[name].batch_size
    found = lossgap.measure(
        model, x, y, sample_weight=sample_weight, batch_size=size, reported_loss=REPORTED
    )
    return told(found)


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
    model, x, y, sample_weight = built(name, scope)
    together = measured(name, model, x, y, sample_weight)
    alone, *data = built(name)
    alone.set_weights(model.get_weights())
    expected = BY_NAME[name].reference(alone, *data, BY_NAME[name].batch_size)
    return {
        "together": together,
        "alone": measured(name, alone, *data),
        "expected": expected.true_loss,
    }


def trained_twice(name, scope, n_replicas=1):
    """Train with and without a measurement: whether all is the same, and what was measured."""
    left, measurements = [], []
    for callbacks in ([], [lossgap.TrueLoss()]):
        model, x, y, sample_weight = built(name, scope)
        size = BY_NAME[name].batch_size
        history = model.fit(
            x,
            y,
            sample_weight=sample_weight,
            batch_size=size,
            epochs=2,
            verbose=0,
            callbacks=callbacks,
        ).history
        reported = {key: value for key, value in history.items() if not is_ours(key)}
        variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        values = [keras.ops.convert_to_numpy(v).tobytes() for v in variables]
        drawn = [np.random.random(), *keras.ops.convert_to_numpy(keras.random.uniform((2,)))]  # noqa: NPY002
        left.append((reported, values, drawn))
        measurements += [told(m) for callback in callbacks for m in callback.measurements]
    alone, *data = built(name)
    alone.set_weights(model.get_weights())
    return {
        "same": left[0] == left[1],
        "measured": measurements,
        "alone": measured(name, alone, *data, batch_size=size // n_replicas),
    }


def is_ours(name):
    """Tell whether a key of the history is lossgap's."""
    return name == "regularization_gap" or name.startswith("true_")
