"""From scalars to measurements: what the tags of a run ``gap`` mean.

All tags of a run have the same steps, and NaN stands where a number is absent. A number
that is there at other steps, or a loss beside a true loss that is NaN itself, really was NaN.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from lossgap.charts import palette
from lossgap.core import keys
from lossgap.core.measurement import Measurement, MetricValues, Part, Penalty

Series = Mapping[str, Mapping[int, float]]
"""Values by tag and step."""

EPOCH: Final = "epoch"
STEP: Final = "step"

PENALTIES: Final = "lossgap_penalty/"
"""What the tag of a layer's penalty begins with; ``<kind>:<layer path>`` follows."""

REPORTED: Final = keys.tracked(palette.REPORTED_LOSS)
TRUE: Final = keys.tracked(keys.TRUE_LOSS)
GAP: Final = keys.tracked(keys.REGULARIZATION_GAP)
VAL: Final = keys.tracked(keys.VAL_LOSS)
TRUE_VAL: Final = keys.tracked(keys.TRUE_VAL_LOSS)

_STDERR: Final = "_stderr"
_TRUE_STDERR: Final = TRUE + _STDERR
_PART: Final = keys.tracked_part("")
_METRIC: Final = keys.tracked(keys.TRUE_PREFIX)
_NO_METRICS: Final = {TRUE, TRUE_VAL, _TRUE_STDERR}

LAST_TAGS: Final = (
    REPORTED,
    TRUE,
    GAP,
    VAL,
    TRUE_VAL,
    *(keys.tracked_part(name + end) for name in keys.PARTS for end in ("", _STDERR)),
)
"""Tags whose last values tell a model's losses and its main cause."""


def measurements(series: Series, axis: str = EPOCH) -> tuple[Measurement, ...]:
    """Return the measurements of one model, in order of their steps.

    Args:
        series: What was logged, by tag and step.
        axis: What a step counts: ``"epoch"`` (from 0) or ``"step"`` of the optimizer.

    Returns:
        One for each step with a true loss; none where nothing of lossgap's was logged.
    """
    true = series.get(TRUE, {})
    parts, metrics, penalties = _parts(series), _metrics(series), _penalties(series)
    diverged = {step for step, value in true.items() if math.isnan(value)}
    reported = _apart(true, _column(series, REPORTED, diverged), _column(series, GAP, ()))
    apart = _column(series, keys.tracked(palette.GENERALIZATION_GAP), ())
    val, true_val = _column(series, VAL, ()), _apart(true, _column(series, TRUE_VAL, ()), apart)
    errors, seconds = _column(series, _TRUE_STDERR, ()), series.get(keys.tracked("seconds"), {})
    counts, totals = (series.get(keys.tracked(name), {}) for name in ("n_samples", "n_total"))
    return tuple(
        Measurement(
            true_loss=true[step],
            epoch=step if axis == EPOCH else None,
            step=step if axis == STEP else None,
            reported_loss=reported.get(step),
            val_loss=val.get(step),
            true_val_loss=true_val.get(step),
            parts={name: found[step] for name, found in parts.items() if step in found},
            penalties=tuple(found[step] for found in penalties if step in found),
            metrics={name: found[step] for name, found in metrics.items() if step in found},
            n_samples=_count(counts.get(step)),
            n_total=_count(totals.get(step)),
            standard_error=errors.get(step),
            seconds=_or_zero(seconds.get(step)),
        )
        for step in sorted(true)
    )


def _column(series: Series, tag: str, diverged: Iterable[int]) -> dict[int, float]:
    """Return the values of a tag, without NaN that stands for an absent number.

    Args:
        series: What was logged.
        tag: The tag.
        diverged: Steps at which NaN is what was measured.
    """
    values = series.get(tag, {})
    kept = {step: value for step, value in values.items() if not math.isnan(value)}
    return kept | {step: values[step] for step in diverged if step in values}


def _apart(
    true: Mapping[int, float], values: Mapping[int, float], gaps: Mapping[int, float]
) -> dict[int, float]:
    """Return values that stand apart from the true loss by the gap that was measured.

    The gap itself was logged with all digits of float32, which the difference of two losses
    close to each other wouldn't have.
    """
    return {
        step: true[step] + gaps[step] if math.isfinite(gaps.get(step, math.nan)) else value
        for step, value in values.items()
        if step in true
    }


def _parts(series: Series) -> dict[str, dict[int, Part]]:
    found = {}
    for tag in series:
        name = tag.removeprefix(_PART)
        if name == tag or (tag.endswith(_STDERR) and tag.removesuffix(_STDERR) in series):
            continue
        errors = _column(series, tag + _STDERR, ())
        values = _column(series, tag, ())
        found[name] = {step: Part(value, errors.get(step)) for step, value in values.items()}
    order = {name: index for index, name in enumerate(keys.PARTS)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def _metrics(series: Series) -> dict[str, dict[int, MetricValues]]:
    return {
        tag.removeprefix(_METRIC): {
            step: MetricValues(true=value) for step, value in _column(series, tag, ()).items()
        }
        for tag in series
        if tag.startswith(_METRIC) and tag not in _NO_METRICS
    }


def _penalties(series: Series) -> list[dict[int, Penalty]]:
    found = []
    for tag in series:
        if tag.startswith(PENALTIES):
            kind, _, layer = tag.removeprefix(PENALTIES).partition(":")
            values = _column(series, tag, ())
            found.append({step: Penalty(layer, kind, value) for step, value in values.items()})
    return found


def _or_zero(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0


def _count(value: float | None) -> int:
    return int(_or_zero(value))
