"""Measure a model once, from a script, a notebook or a training loop of one's own."""

from collections.abc import Mapping
from typing import Any

from lossgap.core import arrays, inspection, keys
from lossgap.core.measurement import Measurement
from lossgap.core.meter import Batching, Meter
from lossgap.errors import DataError


def measure(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    reported_loss: float | None = None,
    validation_data: tuple[Any, ...] | None = None,
    val_loss: float | None = None,
    batch_size: int | None = None,
    parts: bool = True,
    metrics: bool = True,
    seed: int = 0,
) -> Measurement:
    r"""Measure the true loss of a compiled model, and what the reported loss adds to it.

    The true loss is the compiled loss on the data alone, in evaluation mode, with the
    weights :math:`w` as they are now:

    .. math:: \frac{1}{N} \sum_b n_b\, L(w, B_b; \text{eval})

    over batches :math:`B_b` of :math:`n_b` samples, without ``model.losses``. No variable
    of the model changes: neither weights nor metrics nor random state.

    Args:
        model: A compiled Keras model.
        x: Inputs: arrays of shape ``(n_samples, ...)``, alone or in dicts, lists or tuples.
        y: Targets, likewise.
        sample_weight: Weights of the samples, as ``fit`` takes them.
        class_weight: Weights of the classes, as ``fit`` takes them. They are no part of the
            true loss; with them the part ``class_weight`` says what they add.
        reported_loss: The loss that the training reported, in the units of the loss. With it
            the measurement has a gap, and its parts sum to the gap.
        validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, for ``true_val_loss``.
        val_loss: The validation loss that Keras reported.
        batch_size: The training's batch size. Losses and layers that look at a whole batch
            depend on it. Defaults to Keras's 32.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics.
        seed: Seed of the sample and the random masks that the parts are measured with.

    Returns:
        The measurement. NaN and infinity in the loss pass through as such.

    Raises:
        UnsupportedModelError: The model isn't compiled with a loss.
        DataError: The data aren't arrays, are empty, or don't fit together.
        UnsupportedBackendError: Keras runs on a backend that lossgap doesn't measure on.

    Example:
        >>> import keras, numpy as np, lossgap
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "linear")])
        >>> model.set_weights([np.array([[2.0]]), np.array([0.0])])
        >>> model.compile(loss="mse")
        >>> lossgap.measure(model, np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])).true_loss
        2.5
    """
    inspection.check(model)
    training = arrays.read(x, y, sample_weight, class_weight)
    validation = None if validation_data is None else arrays.read(*_unpacked(validation_data))
    model._symbolic_build(data_batch=training.pack(training.rows(slice(0, 1)))[:3])
    meter = Meter(
        model,
        training,
        lambda: validation,
        batching=Batching(training=batch_size, measuring=batch_size),
        parts=parts,
        metrics=metrics,
        seed=seed,
    )
    logs = {keys.LOSS: reported_loss, keys.VAL_LOSS: val_loss}
    return meter.measure(logs)


def _unpacked(validation_data: Any) -> tuple[Any, ...]:
    if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
        raise DataError(
            "Expected `validation_data` to be (x, y) or (x, y, sample_weight). "
            f"Received: {type(validation_data).__name__}."
        )
    return tuple(validation_data)
