"""The autolog extension: MLflow's words, every fit."""

from collections.abc import Mapping
from typing import Any

from lossgap.core.settings import MAX_BYTES, Settings
from lossgap.extras import require
from lossgap.mlflow.tracker import NAME, MLflowTracker
from lossgap.trackers import autolog as every_fit


def autolog(
    *,
    every: int = 1,
    unit: str = "epoch",
    samples: float | None = None,
    precision: float | None = None,
    budget: float | None = None,
    loss_range: tuple[float, float] | None = None,
    parts: bool = True,
    metrics: bool = True,
    batch_size: int | None = None,
    max_bytes: int = MAX_BYTES,
    seed: int = 0,
    strict: bool = False,
    log_panels: bool = True,
    log_view: bool = True,
    log_note: bool = True,
    disable: bool = False,
    exclusive: bool = False,
    silent: bool = False,
    extra_tags: Mapping[str, str] | None = None,
) -> None:
    """Measure and log the true loss of every ``fit`` of Keras, beside MLflow's autologging.

    Composes with ``mlflow.autolog()``, ``mlflow.tensorflow.autolog()`` and
    ``mlflow.keras.autolog()`` in any order, before or after ``import keras``. Logs to the run
    that they make, or to the user's; without one, to a run of its own. A model or data that
    can't be measured are a warning, never an error. A ``TrueLoss`` among the callbacks
    measures as it was told, and its numbers are logged.

    Args:
        every: Measure every so many epochs or steps.
        unit: ``"epoch"`` or ``"step"``.
        samples: Estimate the true loss from so many samples, a count or a fraction.
        precision: Estimate it to a relative half-width of its 95 % interval.
        budget: Estimate it within a fraction of the training's time.
        loss_range: Smallest and largest loss of a sample, for intervals that hold at all times.
        parts: Whether to find the causes of the gap.
        metrics: Whether to compute the compiled metrics.
        batch_size: Batch size to measure with; ``None`` to choose.
        max_bytes: Memory for batches that are kept as they pass.
        seed: Seed of samples and random masks.
        strict: Whether a measurement or a tracker that fails ends the training, see
            :class:`lossgap.TrueLoss`; and likewise what keeps a training from being measured.
        log_panels: Whether to write the panels as artifacts under ``lossgap/``.
        log_view: Whether to write the experiment's saved view "True loss".
        log_note: Whether the verdict becomes the run's description, where it has none.
        disable: Whether to switch off; ``mlflow.autolog(disable=True)`` does it, too.
        exclusive: Whether to keep away from runs that the user started.
        silent: Whether to print nothing and warn of nothing.
        extra_tags: Tags of the runs that this makes.

    Raises:
        MissingDependencyError: MLflow isn't installed.
        InvalidArgumentError: An argument is out of range.
    """
    require("mlflow", extra="mlflow")
    from lossgap.mlflow import integration

    settings = Settings(
        every=every,
        unit=unit,
        parts=parts,
        metrics=metrics,
        batch_size=batch_size,
        max_bytes=max_bytes,
        seed=seed,
        samples=samples,
        precision=precision,
        budget=budget,
        loss_range=loss_range,
        strict=strict,
    )
    options: dict[str, Any] = {
        "panels": log_panels,
        "view": log_view,
        "note": log_note,
        "exclusive": exclusive,
        "extra_tags": extra_tags,
    }
    MLflowTracker(**options)  # so that a wrong argument is an error here, not in a training
    integration.configure(disable=disable, silent=silent, exclusive=exclusive)
    if disable:
        every_fit.disable(NAME)
        return

    def tracker(_callbacks: list[Any]) -> MLflowTracker | None:
        return None if integration.is_disabled() else MLflowTracker(**options)

    every_fit.enable(every_fit.Autolog(NAME, settings, tracker, _beside_mlflow, silent))


def _beside_mlflow(callbacks: list[Any]) -> list[Any]:
    from lossgap.mlflow import hiding

    return hiding.hide(callbacks)
