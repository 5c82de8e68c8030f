"""What stands where in a log directory: the names of sub-runs and tags, spelled once.

Curves of different runs share a card of TensorBoard's where they share a tag. So the losses
go to sub-runs of their own, all under the tag that Keras's callback uses: reported, true,
validation and corrected validation overlay by themselves. All numbers together are in one
more sub-run, under the names that every tracker uses.
"""

from collections.abc import Mapping
from typing import Final

from lossgap.charts.frames import Z95
from lossgap.core import keys
from lossgap.core.measurement import Measurement

Points = dict[str, float]
"""Values by tag."""

TRAIN: Final = "train"
VALIDATION: Final = "validation"
KERAS_RUNS: Final = (TRAIN, VALIDATION)
"""The sub-runs that Keras's own callback writes."""

TRUE: Final = "true"
VALIDATION_TRUE: Final = "validation_true"
GAP: Final = "gap"
SUB_RUNS: Final = (TRAIN, TRUE, VALIDATION, VALIDATION_TRUE, GAP)
"""The sub-runs of one model, in the order in which they are told."""

PLUGIN: Final = "lossgap"
"""The name under which TensorBoard finds data for the tab."""

MARKER: Final = "lossgap_marker"
"""Tag of the tensor that tells TensorBoard that there are data for the tab."""

EPOCH_LOSS: Final = f"epoch_{keys.LOSS}"

CI_VALUE: Final = f"{keys.TRUE_LOSS}_ci/value"
CI_LOWER: Final = f"{keys.TRUE_LOSS}_ci/lower"
CI_UPPER: Final = f"{keys.TRUE_LOSS}_ci/upper"

_PENALTIES: Final = "lossgap_penalty/"


def epoch_metric(name: str) -> str:
    """Name the metric ``name`` as Keras's callback does: ``epoch_<name>``."""
    return f"epoch_{name}"


def penalty(kind: str, layer: str) -> str:
    """Name the penalty of one kind on the layer at a path: ``lossgap_penalty/<kind>:<layer>``."""
    return f"{_PENALTIES}{kind}:{layer}"


def parse_penalty(tag: str) -> tuple[str, str] | None:
    """Return kind and layer of the penalty that a tag names; ``None`` for any other tag."""
    if not tag.startswith(_PENALTIES):
        return None
    kind, _, layer = tag.removeprefix(_PENALTIES).partition(":")
    return kind, layer


def linked(measurement: Measurement) -> Points:
    """Return every number of a measurement by its tag in the sub-run ``gap``."""
    points = measurement.tracked()
    for name, part in measurement.parts.items():
        if part.standard_error is not None:
            points[keys.tracked_part_error(name)] = part.standard_error
    points[keys.tracked(keys.N_SAMPLES)] = measurement.n_samples
    points[keys.tracked(keys.N_TOTAL)] = measurement.n_total
    points |= {penalty(p.kind, p.layer): p.value for p in measurement.penalties}
    if measurement.standard_error is not None:
        half = Z95 * measurement.standard_error
        points[CI_VALUE] = measurement.true_loss
        points[CI_LOWER] = measurement.true_loss - half
        points[CI_UPPER] = measurement.true_loss + half
    return _present(points)


def overlaid(measurement: Measurement) -> dict[str, Points]:
    """Return the numbers of a measurement under Keras's tags, by sub-run.

    A sub-run has a point only where there is a number, as Keras writes its own: TensorBoard
    breaks a line at NaN.
    """
    true: dict[str, float | None] = {EPOCH_LOSS: measurement.true_loss}
    train: dict[str, float | None] = {EPOCH_LOSS: measurement.reported_loss}
    validation: dict[str, float | None] = {EPOCH_LOSS: measurement.val_loss}
    for name, metric in measurement.metrics.items():
        true[epoch_metric(name)] = metric.true
        train[epoch_metric(name)] = metric.reported
        validation[epoch_metric(name)] = metric.val
    runs = {
        TRAIN: train,
        TRUE: true,
        VALIDATION: validation,
        VALIDATION_TRUE: {EPOCH_LOSS: measurement.true_val_loss},
    }
    return {run: present for run, points in runs.items() if (present := _present(points))}


def _present(points: Mapping[str, float | None]) -> Points:
    """Leave out what is absent. Lone surrogates in a name, which no file can hold, become "?"."""
    return {
        tag.encode("utf-8", "replace").decode(): value
        for tag, value in points.items()
        if value is not None
    }
