"""The verdict: what the numbers of a training say, in a few plain sentences.

Each sentence is a function that returns ``None`` where the numbers don't support
it. This module tells the gap between reported and true loss and its causes;
:mod:`lossgap.core.generalization` compares training with validation.
"""

import math
from collections.abc import Sequence
from typing import Final

from lossgap.core import generalization, keys
from lossgap.core.measurement import Measurement, Part
from lossgap.core.wording import (
    CAUSES,
    SIGNIFICANT_ERRORS,
    Words,
    cause,
    differs,
    is_certain,
    percent,
    sentence,
    total_of,
)

SMALLEST_GAP: Final = 0.01
"""Reported and true loss that lie closer than this, relatively, are told as equal."""

SMALLEST_SHARE: Final = 0.05
"""Parts below this fraction of the gap aren't worth a reader's time."""

_AVERAGING: Final = f"{CAUSES[keys.DRIFT]} over weights that were still moving"


def tell(measurements: Sequence[Measurement]) -> str:
    """Say what the measurements of one training show, and nothing beyond it.

    Causes are told of the last measurement, trends over all of them. If a number
    is NaN or infinite, the verdict is the first place where that happened and nothing
    else, because no comparison holds after it.

    Args:
        measurements: In the order in which they were taken.

    Returns:
        Up to six sentences; empty without measurements.
    """
    if not measurements:
        return ""
    broken = _broken(measurements)
    if broken is not None:
        return broken
    words, last = Words.of(measurements), measurements[-1]
    sentences = (
        _losses(last, words),
        _causes(last, words),
        _doubts(last, words),
        generalization.tell_levels(last, words),
        generalization.tell_trend(measurements, words),
    )
    return " ".join(sentence(text) for text in sentences if text)


def _bad(measurement: Measurement) -> dict[str, float]:
    """Return the numbers that aren't finite: losses, or else the parts that follow from them."""
    losses = {
        "the reported loss": measurement.reported_loss,
        "the true loss": measurement.true_loss,
        "the validation loss": measurement.val_loss,
        "the true validation loss": measurement.true_val_loss,
    }
    parts = {f"the share of {cause(n)}": p.value for n, p in measurement.parts.items()}
    for numbers in (losses, parts):
        bad = {n: v for n, v in numbers.items() if v is not None and not math.isfinite(v)}
        if bad:
            return bad
    return {}


def _broken(measurements: Sequence[Measurement]) -> str | None:
    # A NaN has no scale to choose decimals by, and none is written.
    words = Words(decimals=0, with_steps=len({m.epoch for m in measurements}) < len(measurements))
    for index, measurement in enumerate(measurements):
        bad, when = _bad(measurement), words.when(measurement)
        if bad:
            verb = "became" if index else "is"
            told = _listed([f"{name} {verb} {_name(value)}" for name, value in bad.items()])
            return sentence(f"in {when} {told}" if when else told)
    return None


def _name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "infinite" if value > 0 else "minus infinite"


def _error(measurement: Measurement) -> float:
    return measurement.standard_error or 0.0


def _has_gap(last: Measurement) -> bool:
    reported = last.reported_loss
    return reported is not None and differs(
        reported, last.true_loss, relative=SMALLEST_GAP, error=_error(last)
    )


def _losses(last: Measurement, words: Words) -> str:
    true, when = words.number(last.true_loss, last.standard_error), words.when(last)
    start = f"in {when} " if when else ""
    reported, gap = last.reported_loss, last.regularization_gap
    if reported is None or gap is None:
        return f"{start}the true loss on the training data is {true}"
    start = f"{start}Keras reports a loss of {words.number(reported)}"
    if not _has_gap(last):
        if last.standard_error and not abs(gap) > SIGNIFICANT_ERRORS * last.standard_error:
            return f"{start}, which can't be told from the estimated true loss, {true}"
        return (
            f"{start}, which agrees with the true loss on the training data, {true}, "
            f"to within {percent(SMALLEST_GAP)}"
        )
    size = words.number(abs(gap), last.standard_error)
    if gap > 0:
        share = f" ({percent(gap / reported)})" if last.true_loss >= 0 else ""
        return (
            f"{start}, but the true loss on the training data is {true}: "
            f"{size} of it{share} is not loss on the data"
        )
    share = f" ({percent(-gap / last.true_loss)} of the true loss)" if reported >= 0 else ""
    return (
        f"{start}, but the true loss on the training data is {true}: "
        f"the reported loss is {size} too low{share}"
    )


def _named(last: Measurement) -> dict[str, Part]:
    """Return the parts that are certain and matter, the biggest first."""
    gap = last.regularization_gap
    if gap is None:
        return {}
    # Where causes cancel each other they matter against the loss, not against the gap.
    floor = SMALLEST_SHARE * abs(gap) if _has_gap(last) else SMALLEST_GAP * abs(last.true_loss)
    found = [(n, p) for n, p in last.parts.items() if is_certain(p) and abs(p.value) > floor]
    return dict(sorted(found, key=lambda item: -abs(item[1].value)))


def _causes(last: Measurement, words: Words) -> str | None:
    named, gap = _named(last), last.regularization_gap
    if not named or gap is None:
        return None
    drift = named.pop(keys.DRIFT, None)
    if _has_gap(last) and gap > 0 and all(p.value > 0 for p in (*named.values(), drift) if p):
        groups = _shares(named, drift, gap, words)
    else:
        groups = _changes(named, drift, words)
    groups.sort(key=lambda group: -abs(group[0]))
    told = "; ".join(text for _, text in groups)
    # Only the first mention names what it is about.
    return told.replace(" it by ", " the reported loss by ", 1).replace(" of it", " of the gap", 1)


def _shares(
    named: dict[str, Part], drift: Part | None, gap: float, words: Words
) -> list[tuple[float, str]]:
    """Tell causes that all raise the reported loss as shares of the gap."""
    groups = []
    if named:
        total = total_of(part.value for part in named.values())
        if len(named) == 1:
            ((name, part),) = named.items()
            size, causes = words.number(part.value, part.standard_error), cause(name)
        else:
            size = words.number(total)
            causes = _listed(
                [f"{cause(n)} {words.number(p.value, p.standard_error)}" for n, p in named.items()]
            )
        text = f"regularization makes up {size} ({percent(total / gap)}) of it: {causes}"
        groups.append((total, text))
    if drift is not None:
        size = words.number(drift.value, drift.standard_error)
        text = f"{_AVERAGING} makes up {size} ({percent(drift.value / gap)}) of it"
        groups.append((drift.value, text))
    return groups


def _changes(named: dict[str, Part], drift: Part | None, words: Words) -> list[tuple[float, str]]:
    """Tell causes of either sign as what each does to the reported loss."""
    groups = []
    if named:
        total = total_of(part.value for part in named.values())
        text = _listed([_change(cause(name), part, words) for name, part in named.items()])
        # The parts of one measurement share masks: only their errors' sum bounds the total's.
        error = total_of(part.standard_error or 0.0 for part in named.values())
        if len(named) > 1 and is_certain(Part(total, error)):
            text += f" (on balance, {_change('regularization', Part(total), words)})"
        groups.append((total, text))
    if drift is not None:
        groups.append((drift.value, _change(_AVERAGING, drift, words)))
    return groups


def _change(cause: str, part: Part, words: Words) -> str:
    verb = "raises" if part.value > 0 else "lowers"
    return f"{cause} {verb} it by {words.number(abs(part.value), part.standard_error)}"


def _doubts(last: Measurement, words: Words) -> str | None:
    gap = last.regularization_gap
    if gap is None or not _has_gap(last):
        return None
    doubtful = [
        f"{cause(name)} ({words.number(part.value, part.standard_error)})"
        for name, part in last.parts.items()
        if part.standard_error is not None
        and not is_certain(part)
        and not abs(part.value) + SIGNIFICANT_ERRORS * part.standard_error
        < SMALLEST_SHARE * abs(gap)
    ]
    if not doubtful:
        return None
    return f"too uncertain to name as a cause: {_listed(doubtful)}"


def _listed(texts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
