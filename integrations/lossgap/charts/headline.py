"""The report's first lines: which loss is real, how large the gap is, and what causes it."""

from typing import Any, Final

from lossgap.charts import palette
from lossgap.charts.frames import Z95, finite
from lossgap.charts.signs import ABSENT, MINUS, signed
from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.core.wording import is_certain

WORTH_TELLING: Final = 0.15
"""A cause with at least this share of all parts' sizes is named in the headline."""

SMALL: Final = 0.005
"""A gap below this fraction of the losses is called none."""


def headline(measurement: Measurement) -> list[dict[str, str]]:
    """Return the tiles of one measurement: each a title, a number, a note and a colour."""
    reported, true = finite(measurement.reported_loss), finite(measurement.true_loss)
    tiles = [
        _tile(
            "Reported loss", measurement.reported_loss, "what Keras prints", palette.REPORTED_LOSS
        ),
        _tile(
            "True loss",
            measurement.true_loss,
            _true_note(measurement),
            keys.TRUE_LOSS,
        ),
    ]
    if reported is not None and true is not None:
        tiles.append(_gap_tile(measurement, reported - true, reported, true))
    if measurement.true_val_loss is not None:
        tiles.append(
            _tile(
                "True val loss",
                measurement.true_val_loss,
                _overfit(measurement),
                keys.TRUE_VAL_LOSS,
            )
        )
    return tiles


def main_causes(measurement: Measurement) -> list[str]:
    """Return the causes that push the gap the way it goes, the largest first.

    Those are left out that are small, or that lie within two standard errors of zero.
    """
    gap = finite(measurement.regularization_gap)
    values = {name: finite(part.value) for name, part in measurement.parts.items()}
    sizes = sum(abs(value) for value in values.values() if value is not None)
    if gap is None or not sizes:
        return []
    pushing = {
        name: abs(value)
        for name, value in values.items()
        if value is not None
        and value * gap > 0
        and abs(value) >= WORTH_TELLING * sizes
        and is_certain(measurement.parts[name])
    }
    return sorted(pushing, key=lambda name: -pushing[name])


def number(value: float | None) -> str:
    """Write a loss with four digits; an absent one is a dash."""
    return ABSENT if value is None else signed(f"{value:.4g}")


def share_of_gap(reported: float, true: float) -> str:
    """Say how large the gap is compared with the loss that is the larger one."""
    gap = reported - true
    larger = max(abs(reported), abs(true))
    if not larger or abs(gap) < SMALL * larger:
        return "reported and true loss agree"
    if min(reported, true) < 0:
        return f"reported {MINUS} true"
    if gap > 0:
        return f"{gap / reported:.0%} of the reported loss isn't loss on your data"
    return f"the reported loss is {-gap / true:.0%} below the true one"


def _true_note(measurement: Measurement) -> str:
    note = "the real loss on your training data"
    if measurement.standard_error is None:
        return note
    return f"{note}, ± {Z95 * measurement.standard_error:.2g} (95 %)"


def _tile(title: str, value: float | None, note: str, colour: str) -> dict[str, str]:
    return {
        "title": title,
        "number": number(value),
        "note": note,
        "colour": palette.LOSSES[colour].colour,
    }


def _gap_tile(measurement: Measurement, gap: float, reported: float, true: float) -> dict[str, Any]:
    note = share_of_gap(reported, true)
    causes = [palette.part_look(name).short for name in main_causes(measurement)]
    if causes and note != "reported and true loss agree":
        note += (
            f"; main cause: {causes[0]}" if len(causes) == 1 else f"; causes: {', '.join(causes)}"
        )
    sign = "+" if gap > 0 else ""
    return {"title": "Gap", "number": sign + number(gap), "note": note, "colour": ""}


def _overfit(measurement: Measurement) -> str:
    gap = finite(measurement.generalization_gap)
    if gap is None:
        return "on validation data, measured alike"
    sign = "+" if gap > 0 else ""
    return f"on validation data, measured alike: {sign}{number(gap)} against the true loss"
