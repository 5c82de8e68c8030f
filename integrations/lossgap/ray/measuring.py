"""``lossgap.ray.measure``: ``lossgap.measure`` on a data set of Ray Data."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import keras

from lossgap.core import inspection, keys
from lossgap.core.averaging import validated_weights
from lossgap.core.feeds.arrays import DEFAULT_BATCH_SIZE
from lossgap.core.feeds.choose import Feeds
from lossgap.core.measurement import Measurement
from lossgap.core.merging import unsummed_names
from lossgap.core.meter import Meter
from lossgap.core.settings import Settings
from lossgap.errors import DataError, InvalidArgumentError, LossgapWarning, UnsupportedModelError
from lossgap.extras import require
from lossgap.ray.columns import Columns, Roles
from lossgap.ray.job import Job
from lossgap.ray.models import Recipe
from lossgap.ray.sample import SampleFeed
from lossgap.ray.worker import compiled

if TYPE_CHECKING:
    from lossgap.core.feeds import Feed


def measure(
    model: Any,
    dataset: Any,
    *,
    x: Columns = "x",
    y: Columns | None = "y",
    sample_weight: Columns | None = None,
    class_weight: Mapping[int, float] | None = None,
    reported_loss: float | None = None,
    batch_size: int | None = None,
    parts: bool = True,
    metrics: bool = True,
    seed: int = 0,
    workers: int | None = None,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
) -> Measurement:
    """Measure the true loss over a sharded data set, where its blocks are.

    Each worker loads the model and measures the blocks that come to it; what it sends back
    are a few numbers. The result is that of :func:`lossgap.measure` on the same samples, within
    rounding. Where the loss depends on which samples share a batch, batches are those of the
    data set in its order. The parts of the gap are measured by the calling process, on a
    sample of rows that is brought there; at most some thousands.

    Args:
        model: A compiled Keras model, the path of a ``.keras`` file, or a function that returns
            the compiled model: each worker calls it. Classes and functions of your own in a
            saved model have to be registered, and importable on the workers.
        dataset: A ``ray.data.Dataset``. It is read once, and its first rows again, and once more
            for the sample.
        x: Column of the inputs, or a list or dict of columns as the model takes them.
        y: Columns of the targets, likewise; ``None`` without.
        sample_weight: Columns of the weights of the samples, likewise.
        class_weight: Weights of the classes, as ``fit`` takes them: for the part
            ``class_weight``.
        reported_loss: The loss that the training reported. With it the measurement has a gap.
        batch_size: The training's batch size. Defaults to Keras's 32.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics. Those with an ``update_state`` of your
            own are left out, with a warning: their states may not be sums.
        seed: Seed of the sample and the random masks that the parts are measured with.
        workers: Workers at the most; ``None`` for as many as Ray finds room for.
        num_cpus: Cores that a worker takes.
        num_gpus: GPUs that a worker takes.

    Returns:
        The measurement.

    Raises:
        MissingDependencyError: Ray isn't installed.
        InvalidArgumentError: An argument is out of range.
        DataError: There is no such column, or the rows can't be measured.
        UnsupportedModelError: The model isn't compiled with a loss, can't be sent to workers, or
            carries a state from batch to batch.

    Example:
        ``lossgap.ray.measure(model, ray.data.read_parquet("s3://..."), x="image", y="label")``
    """
    data = require("ray.data", extra="ray")
    if not isinstance(dataset, data.Dataset):
        raise DataError(
            f"Expected a ray.data.Dataset. Received: {type(dataset).__name__}. Make one with "
            "ray.data.read_parquet(...), say, or measure here with lossgap.measure(model, x, y)."
        )
    settings = Settings(parts=parts, metrics=metrics, batch_size=batch_size, seed=seed)
    if workers is not None and (isinstance(workers, bool) or workers < 1):
        raise InvalidArgumentError(
            f"Expected `workers` to be a whole number of at least 1. Received: {workers!r}."
        )
    roles = Roles(x, y, sample_weight, class_weight, batch_size)
    roles.check(dataset.columns() or [])
    dataset = dataset.select_columns(roles.names())
    recipe = Recipe.of(model)
    local = model if isinstance(model, keras.Model) else recipe.model()
    try:
        rows = dataset.take_batch(batch_size or DEFAULT_BATCH_SIZE, batch_format="numpy")
    except ValueError as error:
        raise DataError("The data set is empty: it has no row. Pass at least one.") from error
    first = roles.feed(rows)
    evaluator = compiled(local, first, metrics=metrics)
    _check(local, is_sequential=evaluator.is_sequential, metrics=metrics)
    resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}
    job = Job(
        dataset,
        recipe,
        roles,
        evaluator,
        first=first,
        workers=workers,
        resources=resources,
        metrics=metrics,
    )
    sample = cast("Feed", SampleFeed(dataset, roles, first, job))  # all that parts are made from
    feeds = Feeds(sample, None, lambda: None)
    meter = Meter(local, feeds, validated_weights(local, ()), settings, main=job)
    return meter.measure({keys.LOSS: reported_loss}, validate=False)


def _check(model: Any, *, is_sequential: bool, metrics: bool) -> None:
    if is_sequential or inspection.has_memory(model):
        raise UnsupportedModelError(
            f"The model {model.name!r} carries a state from batch to batch in evaluation mode (a "
            "stateful recurrent layer, or a layer that counts or draws whatever its mode), so "
            "that workers can't share the batches. Measure it in one place: "
            "lossgap.measure(model, x, y)."
        )
    names = unsummed_names(model) if metrics else []
    if names:
        warnings.warn(
            f"lossgap: the metric {names[0]!r} has an update_state of its own, so its states on "
            "several workers can't be put together. It is left out.",
            LossgapWarning,
            stacklevel=3,
        )
