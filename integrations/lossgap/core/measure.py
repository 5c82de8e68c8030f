"""Measure a model once, from a script, a notebook or a training loop of one's own."""

from collections.abc import Mapping
from typing import Any

from lossgap.core import backends, inspection, keys
from lossgap.core.averaging import validated_weights
from lossgap.core.feeds import Feed
from lossgap.core.feeds.arrays import ArrayFeed, can_read
from lossgap.core.feeds.choose import Feeds
from lossgap.core.feeds.datasets import DatasetFeed
from lossgap.core.measurement import Measurement
from lossgap.core.meter import Meter, build
from lossgap.core.settings import Settings
from lossgap.errors import DataError


def measure(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    reported_loss: float | None = None,
    validation_data: Any = None,
    val_loss: float | None = None,
    batch_size: int | None = None,
    samples: float | None = None,
    precision: float | None = None,
    loss_range: tuple[float, float] | None = None,
    parts: bool = True,
    metrics: bool = True,
    seed: int = 0,
) -> Measurement:
    """Measure the true loss of a compiled model, and what the reported loss adds to it.

    The true loss is the compiled loss on the data alone, in evaluation mode, with the
    weights ``w`` as they are now: ``sum_b n_b * L(w, B_b; eval) / N`` over batches ``B_b`` of
    ``n_b`` samples, ``N`` in all, without ``model.losses``. No variable of the model changes:
    neither weights nor metrics nor random state.

    Args:
        model: A compiled Keras model.
        x: Inputs: arrays of shape ``(n_samples, ...)``, alone or in dicts, lists or tuples;
            or, without ``y``, a dataset that can be read again: a ``tf.data.Dataset`` that
            doesn't shuffle, a ``keras.utils.PyDataset``, a PyTorch ``DataLoader``.
        y: Targets, likewise.
        sample_weight: Weights of the samples, as ``fit`` takes them.
        class_weight: Weights of the classes, as ``fit`` takes them. They are no part of the
            true loss; with them the part ``class_weight`` says what they add.
        reported_loss: The loss that the training reported, in the units of the loss. With it
            the measurement has a gap, and its parts sum to the gap.
        validation_data: ``(x, y)``, ``(x, y, sample_weight)`` or a dataset, for
            ``true_val_loss``.
        val_loss: The validation loss that Keras reported.
        batch_size: The training's batch size. Losses and layers that look at a whole batch
            depend on it. Defaults to Keras's 32.
        samples: Estimate the true loss from so many samples: a count, or a fraction of all.
        precision: Estimate it from as many samples as it takes for a 95 % interval of this
            relative half-width.
        loss_range: The smallest and largest loss that a sample can have, for an interval that
            holds at all numbers of samples at once.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics.
        seed: Seed of the sample and the random masks that the parts are measured with.

    Returns:
        The measurement. NaN and infinity in the loss pass through as such.

    Raises:
        InvalidArgumentError: An argument is out of range.
        UnsupportedModelError: The model isn't compiled with a loss.
        DataError: The data can't be read, are empty, or don't fit together.
        UnsupportedBackendError: Keras runs on a backend that lossgap doesn't measure on.

    Example:
        >>> import keras, numpy as np, lossgap
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "linear")])
        >>> model.set_weights([np.array([[2.0]]), np.array([0.0])])
        >>> model.compile(loss="mse")
        >>> lossgap.measure(model, np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])).true_loss
        2.5
    """
    settings = Settings(
        parts=parts,
        metrics=metrics,
        batch_size=batch_size,
        seed=seed,
        samples=samples,
        precision=precision,
        loss_range=loss_range,
    )
    inspection.check(model)
    backends.active().settle(model)
    fed = _feed((x, y, sample_weight), class_weight, batch_size, seed)
    validation = None
    if validation_data is not None:
        validation = _feed(_unpacked(validation_data), None, batch_size, seed)
    build(model, fed)
    meter = Meter(
        model,
        Feeds(fed, None, lambda: validation),
        validated_weights(model, ()),
        settings,
    )
    logs = {keys.LOSS: reported_loss, keys.VAL_LOSS: val_loss}
    return meter.measure(logs)


def _feed(
    data: tuple[Any, ...],
    class_weight: Mapping[int, float] | None,
    batch_size: int | None,
    seed: int,
) -> Feed:
    if can_read(data[0]):
        return ArrayFeed(*data, class_weight=class_weight, batch_size=batch_size)
    if class_weight is not None or any(item is not None for item in data[1:]):
        raise DataError(
            f"Received a {type(data[0]).__name__} as x together with y, sample_weight or "
            "class_weight, which go with arrays. A dataset yields (x, y) or (x, y, "
            "sample_weight) itself: pass it alone."
        )
    return DatasetFeed(data[0], seed=seed)


def _unpacked(validation_data: Any) -> tuple[Any, ...]:
    if not isinstance(validation_data, tuple | list):
        return (validation_data,)
    if len(validation_data) not in (1, 2, 3):
        raise DataError(
            "Expected `validation_data` to be a dataset, (x, y) or (x, y, sample_weight). "
            f"Received: {len(validation_data)} elements."
        )
    return tuple(validation_data)
