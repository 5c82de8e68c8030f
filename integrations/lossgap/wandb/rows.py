"""One measurement, one row of a run's history: there and back."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lossgap.core import keys
from lossgap.core.measurement import LARGEST_COUNT, Measurement

EPOCH: Final = keys.tracked(keys.EPOCH)
STEP: Final = keys.tracked(keys.STEP)
TRUE_LOSS: Final = keys.tracked(keys.TRUE_LOSS)

_N_SAMPLES: Final = keys.tracked(keys.N_SAMPLES)
_N_TOTAL: Final = keys.tracked(keys.N_TOTAL)
_TELLING: Final = (EPOCH, STEP, TRUE_LOSS, keys.tracked(keys.SECONDS))
_ODD: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def row(measurement: Measurement) -> dict[str, float]:
    """Return the row of a measurement: what every tracker gets, and where it belongs.

    Beside the numbers of :meth:`~lossgap.Measurement.tracked` it has the epoch (from 0, as
    Keras counts in callbacks), the optimizer's step, how many samples were measured of how
    many, and the standard errors of the parts. The penalty by layer isn't in it: a model may
    have thousands of layers.
    """
    found: dict[str, float | None] = {EPOCH: measurement.epoch, STEP: measurement.step}
    found |= measurement.tracked()
    found |= {
        keys.tracked_part_error(name): part.standard_error
        for name, part in measurement.parts.items()
    }
    found[_N_SAMPLES] = measurement.n_samples or None
    found[_N_TOTAL] = measurement.n_total or None
    return _keyed({name: value for name, value in found.items() if value is not None})


def _keyed(values: Mapping[str, float]) -> dict[str, float]:
    """Return values under keys that W&B takes as they are.

    ``*`` stands for any ending there, and lone surrogates are in no file. Two names that would
    then be one get a number.
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        candidate = plain = name.encode("utf-8", "replace").decode().replace("*", "_")
        number = 1
        while candidate in found:
            number += 1
            candidate = f"{plain}_{number}"
        found[candidate] = value
    return found


def is_hidden(name: str) -> bool:
    """Tell whether W&B should draw no chart of its own for a key: counts and errors."""
    counts = (EPOCH, STEP, _N_SAMPLES, _N_TOTAL)
    return name in counts or name.endswith(keys.ERROR_SUFFIX)


def is_row(values: Mapping[str, Any]) -> bool:
    """Tell whether a row of a history holds a measurement."""
    return TRUE_LOSS in values


def ours(items: Any) -> dict[str, Any]:
    """Return lossgap's keys among the items of a row; W&B puts names into ``nested_key``."""
    named = ((item.key or ".".join(item.nested_key), item) for item in items)
    return {n: value(item) for n, item in named if n.startswith(keys.NAMESPACE)}


def value(item: Any) -> Any:
    """Return the value of an item; ``None`` where it is no JSON."""
    try:
        return json.loads(item.value_json)
    except (ValueError, RecursionError):
        return None


def identity(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what tells the row of one measurement from those of all others.

    The numbers of a row come back from the disk and from a server to the last bit; how long a
    measurement took is hardly ever the same twice.
    """
    return tuple(_told(values[name]) if name in values else "" for name in _TELLING)


def _told(value: Any) -> str:
    try:
        return repr(_number(value))
    except (TypeError, ValueError, OverflowError):
        return repr(value)


def measurement(values: Mapping[str, Any], *, precision: str = "float32") -> Measurement:
    """Return the measurement of a row; other keys in it don't matter.

    Raises:
        ValueError: One of lossgap's keys has no number.
        TypeError: Likewise.
    """
    numbers = {
        name: _number(value) for name, value in values.items() if name.startswith(keys.NAMESPACE)
    }
    found = Measurement.from_tracked(
        numbers, epoch=_count(numbers.get(EPOCH)), step=_count(numbers.get(STEP))
    )
    return replace(found, precision=precision)


def _number(value: Any) -> float:
    return _ODD[value] if isinstance(value, str) and value in _ODD else float(value)


def _count(value: float | None) -> int | None:
    if value is None:
        return None
    if not 0 <= value <= LARGEST_COUNT:
        raise ValueError(f"expected an epoch or step from 0 to {LARGEST_COUNT}, got {value}")
    return int(value)
