"""What the verdict says of training against validation, both measured alike."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from lossgap.core.measurement import Measurement
from lossgap.core.wording import SIGNIFICANT_ERRORS, Words, differs, percent, total_of

SMALLEST_DIFFERENCE: Final = 0.02
"""Losses that lie closer than this, relatively, count as equal across data sets and epochs."""

CLEAR_FALL: Final = 0.1
"""Fall of the true loss, relatively, against which a still validation loss is a finding."""

SHORTEST_TREND: Final = 3
"""Measurements that a trend takes."""

SMALLEST_WIDENING: Final = 0.25
"""Growth of the generalization gap, as a fraction of it, that is worth telling."""


def tell_levels(last: Measurement, words: Words) -> str | None:
    """Compare the last measurement's training and validation loss, measured alike.

    Where Keras reports a training loss above the validation loss, this sentence also
    says why that is no paradox.

    Args:
        last: The measurement to tell.
        words: How to write it.

    Returns:
        A sentence without its full stop, or ``None`` without a corrected validation
        loss and where the difference drowns in the estimate's error.
    """
    true_val, gap = last.true_val_loss, last.generalization_gap
    if true_val is None or gap is None:
        return None
    error = last.standard_error or 0.0
    if error and not abs(gap) > SIGNIFICANT_ERRORS * error:
        return None
    train, val = words.number(last.true_loss, last.standard_error), words.number(true_val)
    alike = f"measured alike, validation is at {val} and training at {train}"
    if not differs(true_val, last.true_loss, relative=SMALLEST_DIFFERENCE):
        ending = "no generalization gap to speak of"
    elif gap > 0:
        share = f" ({percent(gap / last.true_loss)} of the true loss)" if last.true_loss > 0 else ""
        ending = f"a generalization gap of {words.number(gap, last.standard_error)}{share}"
    else:
        ending = "the validation data is the easier one for this model, by its nature or by chance"
    return f"{_paradox(last, words)}{alike}: {ending}"


def _paradox(last: Measurement, words: Words) -> str:
    """Open the comparison with what Keras's own two numbers seem to say."""
    reported, val, true_val = last.reported_loss, last.val_loss, last.true_val_loss
    if reported is None or val is None or true_val is None:
        return ""
    penalties = ""
    if val > true_val and differs(val, true_val, relative=SMALLEST_DIFFERENCE):
        penalties = f", of which {words.number(val - true_val)} is penalties"
    if reported > val and differs(reported, val, relative=SMALLEST_DIFFERENCE):
        remains = true_val < last.true_loss and differs(
            true_val, last.true_loss, relative=SMALLEST_DIFFERENCE
        )
        return (
            f"the reported loss is above the validation loss ({words.number(val)}{penalties}) "
            f"{'partly' if remains else 'only'} because it is averaged over the epoch, in training "
            "mode; "
        )
    if penalties:
        return f"Keras reports a validation loss of {words.number(val)}{penalties}; "
    return ""


def tell_trend(measurements: Sequence[Measurement], words: Words) -> str | None:
    """Say whether the model overfits, from the course of both losses.

    Args:
        measurements: All measurements, in order; those without a corrected validation
            loss are left out.
        words: How to write it.

    Returns:
        A sentence without its full stop, or ``None`` where there are too few
        measurements or their course is neither clearly up nor clearly down.
    """
    course = [m for m in measurements if m.true_val_loss is not None]
    if len(course) < SHORTEST_TREND or not _in_order(course):
        return None
    best = min(course, key=_val)
    since = course[course.index(best) :]
    if len(since) >= SHORTEST_TREND and _has_risen(since):
        return _tell_rise(since, words)
    recent = course[-SHORTEST_TREND:]
    if (
        best is course[-1]
        and _train_fell(recent)
        and differs(_val(recent[0]), _val(best), relative=SMALLEST_DIFFERENCE)
    ):
        return _tell_fall(course, words)
    return _tell_standstill(course, _val(best), words)


def _val(measurement: Measurement) -> float:
    value = measurement.true_val_loss
    return math.inf if value is None else value


def _in_order(course: Sequence[Measurement]) -> bool:
    """Tell whether the measurements are of one training, with known times."""
    times = [(m.epoch, m.step) for m in course]
    if all(epoch is not None for epoch, _ in times):
        epochs = [epoch for epoch, _ in times if epoch is not None]
        if all(a < b for a, b in pairwise(epochs)):
            return True
        if any(a > b for a, b in pairwise(epochs)):
            return False
    steps = [step for _, step in times if step is not None]
    return len(steps) == len(times) and all(a < b for a, b in pairwise(steps))


def _train_moved(first: Measurement, last: Measurement, relative: float) -> bool:
    error = math.hypot(first.standard_error or 0.0, last.standard_error or 0.0)
    return differs(first.true_loss, last.true_loss, relative=relative, error=error)


def _train_fell(course: Sequence[Measurement], relative: float = SMALLEST_DIFFERENCE) -> bool:
    first, last = course[0], course[-1]
    return last.true_loss < first.true_loss and _train_moved(first, last, relative)


def _has_risen(since: Sequence[Measurement]) -> bool:
    """Tell whether the last two validation losses stand clear of the smallest one's noise.

    The noise is estimated from second differences, which a steady rise doesn't enter.
    """
    values = [_val(m) for m in since]
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    # For independent errors of deviation s, a second difference has deviation sqrt(6) s
    # and mean absolute value sqrt(6) s sqrt(2 / pi).
    noise = total_of(bends) / len(bends) / math.sqrt(12 / math.pi)
    lowest = min(values[-2:])
    return differs(lowest, values[0], relative=SMALLEST_DIFFERENCE) and (
        (values[-1] + values[-2]) / 2 - values[0] > 3 * noise
    )


def _tell_rise(since: Sequence[Measurement], words: Words) -> str | None:
    first, last = since[0], since[-1]
    if not _train_moved(first, last, SMALLEST_DIFFERENCE):
        return None
    val = f"from {words.number(_val(first))} to {words.number(_val(last))}"
    train = (
        f"from {words.number(first.true_loss, first.standard_error)} "
        f"to {words.number(last.true_loss, last.standard_error)}"
    )
    if last.true_loss < first.true_loss:
        return (
            f"the model overfits: since {words.when(first)} the true validation loss rose {val}, "
            f"while the true loss kept falling, {train}"
        )
    return (
        f"since {words.when(first)} both losses rose, validation {val} and training {train}: "
        "that is training getting worse, not overfitting"
    )


def _tell_standstill(course: Sequence[Measurement], best: float, words: Words) -> str | None:
    moving = [differs(_val(m), best, relative=SMALLEST_DIFFERENCE) for m in course]
    since = [m for i, m in enumerate(course) if not any(moving[i:])]
    if len(since) < SHORTEST_TREND or not _train_fell(since, relative=CLEAR_FALL):
        return None
    first, last = since[0], since[-1]
    return (
        f"since {words.when(first)} validation stands still at about {words.number(best)}, while "
        f"training fell from {words.number(first.true_loss, first.standard_error)} to "
        f"{words.number(last.true_loss, last.standard_error)}: what the model still learns "
        "doesn't carry over"
    )


def _tell_fall(course: Sequence[Measurement], words: Words) -> str:
    recent, last = course[-SHORTEST_TREND], course[-1]
    text = (
        f"the model isn't overfitting yet: from {words.when(recent)} to {words.when(last)} "
        f"validation still fell from {words.number(_val(recent))} to {words.number(_val(last))}, "
        f"and training from {words.number(recent.true_loss, recent.standard_error)} "
        f"to {words.number(last.true_loss, last.standard_error)}"
    )
    return text + _tell_widening(course[0], last, words)


def _tell_widening(first: Measurement, last: Measurement, words: Words) -> str:
    before, after = first.generalization_gap, last.generalization_gap
    if before is None or after is None or after <= 0:
        return ""
    error = math.hypot(first.standard_error or 0.0, last.standard_error or 0.0)
    grown = after - before
    material = grown > max(SMALLEST_WIDENING * after, SMALLEST_DIFFERENCE * abs(_val(last)))
    if not material or grown <= SIGNIFICANT_ERRORS * error:
        return ""
    return (
        f", though their gap widened from {words.number(before)} ({words.when(first)}) "
        f"to {words.number(after)}"
    )
