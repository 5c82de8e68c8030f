"""The numbers of a measurement under names that MLflow takes."""

import re
from collections.abc import Mapping
from typing import Any, Final

from lossgap.core.measurement import Measurement

LONGEST_NAME: Final = 250
_REFUSED: Final = re.compile(r"[^/\w.\- :]", flags=re.ASCII)


def named(values: Mapping[str, float]) -> dict[str, float]:
    """Return values under names of letters, digits and ``_ - . : /`` and space.

    A metric of Keras may have any name. Characters that MLflow refuses become ``_``; two
    names that would then be one get a number.
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        candidate = clean = _clean(name)
        number = 1
        while candidate in found:
            number += 1
            candidate = f"{clean[: LONGEST_NAME - 8]}_{number}"
        found[candidate] = value
    return found


def _clean(name: str) -> str:
    """Keep the first slash, which makes the section of charts, and no path in the rest."""
    section, slash, rest = name.partition("/")
    plain = _REFUSED.sub("_", rest).replace("/", "_").replace("..", "__")
    return f"{section}{slash}{plain}"[:LONGEST_NAME].rstrip()


def own_step(measurement: Measurement, settings: Mapping[str, Any]) -> int:
    """Return a measurement's step: the epoch from 0, as MLflow counts, or the optimizer's step."""
    if settings.get("unit") == "step":
        return measurement.step or 0
    return measurement.epoch or 0
