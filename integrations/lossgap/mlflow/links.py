"""Which model and data a measurement is about, as MLflow links them to metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.mlflow.names import named


@dataclass(frozen=True, slots=True)
class Links:
    """A LoggedModel and a Dataset, as far as MLflow's autologging made them.

    Attributes:
        model_id: Id of the LoggedModel.
        dataset_name: Name of the training data.
        dataset_digest: Digest of the training data.
    """

    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


def find(client: MlflowClient, run_id: str, *, since: float) -> Links:
    """Find what belongs to the training that began at ``since``, in seconds.

    The model was made moments before the training began, by whoever patches ``fit`` from
    outside, so the newest of the run is the one.
    """
    run = client.get_run(run_id)
    data = [
        given.dataset
        for given in (run.inputs.dataset_inputs if run.inputs else [])
        if any(tag.key == "mlflow.data.context" and tag.value == "train" for tag in given.tags)
    ]
    dataset = data[-1] if data else None
    return Links(
        _newest_model(client, run.info.experiment_id, run_id, since),
        dataset.name if dataset else None,
        dataset.digest if dataset else None,
    )


def snapshot(
    measurements: Sequence[Measurement],
    kept_epoch: int | None,
    step: Callable[[Measurement], int],
    timestamps: Mapping[int, int],
    links: Links,
) -> list[Metric]:
    """Return the metrics of the model that the training leaves behind, and the best.

    They are those that were logged already, with the same steps and timestamps, so that the
    run's curves stay as they are.

    Args:
        measurements: All of the training.
        kept_epoch: The epoch whose weights the model has; ``None`` for the last.
        step: Gives the step of a measurement.
        timestamps: Milliseconds by step.
        links: What to link to.
    """
    kept = [m for m in measurements if kept_epoch is None or m.epoch == kept_epoch]
    if not kept:
        return []  # the epoch wasn't measured: no number is better than another epoch's
    final = kept[-1]
    values = named(final.tracked() | _best(measurements))
    place = step(final)
    return [
        Metric(name, value, timestamps.get(place, 0), place, **_identity(links, place))
        for name, value in values.items()
        if value == value  # noqa: PLR0124 - older servers take a NaN once only
    ]


def _identity(links: Links, step: int) -> dict[str, Any]:
    """Return the links of a metric at ``step``.

    MLflow's ``log_model`` links the metrics of step 0 to its model once more and without their
    dataset. Where a dataset stands there already, the database refuses, and the run fails.
    """
    if links.model_id is None or step == 0:
        return {"model_id": links.model_id}
    return {
        "model_id": links.model_id,
        "dataset_name": links.dataset_name,
        "dataset_digest": links.dataset_digest,
    }


def _best(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Return the measurement with the lowest true validation loss, under names of its own."""
    rated = [(m.true_val_loss, m) for m in measurements if m.true_val_loss is not None]
    rated = [(loss, m) for loss, m in rated if loss == loss]  # noqa: PLR0124 - NaN is no best
    if not rated:
        return {}
    loss, best = min(rated, key=lambda pair: pair[0])
    found: dict[str, float | None] = {
        keys.TRUE_VAL_LOSS: loss,
        keys.TRUE_LOSS: best.true_loss,
        keys.REGULARIZATION_GAP: best.regularization_gap,
        keys.EPOCH: best.epoch,
    }
    return {keys.tracked_best(n): value for n, value in found.items() if value is not None}


def _newest_model(
    client: MlflowClient, experiment_id: str, run_id: str, since: float
) -> str | None:
    if not hasattr(client, "search_logged_models"):
        return None
    models = client.search_logged_models(
        [experiment_id],
        filter_string=f"source_run_id = '{run_id}'",
        order_by=[{"field_name": "creation_timestamp", "ascending": False}],
        max_results=1,
    )
    slack = 600.0  # a signature may be inferred and data be hashed before the training begins
    recent = [m for m in models if m.creation_timestamp >= (since - slack) * 1000]
    return str(recent[0].model_id) if recent else None
