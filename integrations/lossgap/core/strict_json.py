"""Strict JSON, which every tool reads: it has no NaN and no infinities."""

import json
import math
from collections.abc import Mapping
from typing import Any


def strict(value: object) -> Any:
    """Return ``value`` with NaN and infinities as text, as protobuf's JSON has them.

    Args:
        value: Mappings, lists, tuples, texts and numbers, nested as deep as wanted.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {key: strict(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [strict(member) for member in value]
    return value


def dumps(value: object, *, indent: int | None = None) -> str:
    """Write ``value`` as strict JSON, on one line unless ``indent`` is given."""
    return json.dumps(strict(value), allow_nan=False, indent=indent)
