"""Measurements as JSON lines: one measurement per line, with the name of its run.

A line is strict JSON that any tool reads. NaN and infinities, which JSON doesn't have, are
written as the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, as protobuf's JSON does.
What is written is read back exactly, to the last bit of every number.
"""

import json
import math
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_type_hints

from lossgap.charts.frames import Run
from lossgap.core import keys
from lossgap.core.measurement import LARGEST_COUNT, Measurement
from lossgap.core.strict_json import dumps
from lossgap.errors import DataError

_T = TypeVar("_T")

VERSION: Final = 1
LONGEST_LINE: Final = 4_000_000
"""Characters; a measurement of a model with ten thousand layers takes a quarter of that."""

MOST_LINES: Final = 2_000_000
LARGEST_FILE: Final = 512 * 2**20
"""Bytes. In memory the measurements take up to ten times as much."""

_ODD: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TYPES: Final = get_type_hints(Measurement)
_NESTED: Final = ("parts", "penalties", "metrics")
_KINDS: Final = {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}


def write_measurements(path: str | os.PathLike[str], runs: Iterable[Run]) -> None:
    """Write the measurements of ``runs`` to a file, which is replaced.

    Args:
        path: The file, best called ``*.jsonl``.
        runs: One or more; a run's measurements stay in order.
    """
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        for run in runs:
            file.writelines(to_line(run.name, m) + "\n" for m in run.measurements)


def to_line(run: str, measurement: Measurement) -> str:
    """Write one measurement as strict JSON without a line break."""
    record = {"lossgap": VERSION, "run": run} | measurement.to_dict()
    return dumps(record)


def read_measurements(path: str | os.PathLike[str]) -> list[Run]:
    """Read the runs in a file that :func:`write_measurements` wrote.

    Lines of one run need not stand together. Empty lines are passed over.

    Args:
        path: The file.

    Returns:
        The runs, in the order of their first lines.

    Raises:
        DataError: The file has no measurement, or a line isn't one; the text says which and why.
        OSError: The file can't be read.
    """
    found: dict[str, list[Measurement]] = {}
    for number, line in _lines(Path(path)):
        try:
            name, measurement = from_line(line)
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        found.setdefault(name, []).append(measurement)
    if not found:
        raise DataError(f"{path}: there is no measurement in it. Expected one JSON object a line.")
    return [Run(name, tuple(measurements)) for name, measurements in found.items()]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for, a device never ends
        raise DataError(f"{path}: not a regular file.")
    if found.st_size > LARGEST_FILE:
        raise DataError(f"{path}: larger than {LARGEST_FILE >> 20} MiB. Split the file.")
    with path.open(encoding="utf-8-sig", errors="strict") as file:
        for number in range(1, MOST_LINES + 2):
            try:
                line = file.readline(LONGEST_LINE + 1)
            except UnicodeDecodeError as error:
                raise DataError(f"{path}, line {number}: not text in UTF-8 ({error}).") from error
            if not line:
                return
            if len(line) > LONGEST_LINE:
                raise DataError(
                    f"{path}, line {number}: longer than {LONGEST_LINE} characters. "
                    "Was it written by lossgap?"
                )
            if number > MOST_LINES:
                raise DataError(f"{path}: more than {MOST_LINES} lines. Split the file.")
            if line.strip():
                yield number, line


def from_line(line: str) -> tuple[str, Measurement]:
    """Read the run's name and the measurement that :func:`to_line` wrote.

    Raises:
        DataError: The line isn't a measurement; the text says why.
    """
    try:
        record = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error}).") from error
    if not isinstance(record, dict):
        raise DataError(f"expected a JSON object, got {_kind(record)}.")
    version, run = record.pop("lossgap", None), record.pop("run", None)
    if version != VERSION:
        raise DataError(
            f"expected {VERSION} under 'lossgap', got {version!r}. "
            "Was the line written by lossgap, or by a later version of it?"
        )
    if not isinstance(run, str):
        raise DataError(f"expected text under 'run', got {_kind(run)}.")
    return run, _measurement(record)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"a bare {name}; expected {json.dumps(name)} in quotes")


def _measurement(record: dict[str, Any]) -> Measurement:
    unknown = sorted(record.keys() - _TYPES.keys())
    if unknown:
        raise DataError(f"unknown field {unknown[0]!r}; expected {', '.join(_TYPES)}.")
    if keys.TRUE_LOSS not in record:
        raise DataError(f"there is no {keys.TRUE_LOSS!r}.")
    fields = {k: _plain(v, k, _TYPES[k]) for k, v in record.items() if k not in _NESTED}
    fields["parts"] = _members(record.get("parts", {}), "parts", ("value",), ("standard_error",))
    _known_parts(fields["parts"])
    fields["metrics"] = _members(
        record.get("metrics", {}), "metrics", ("true",), ("reported", "val", "standard_error")
    )
    fields["penalties"] = [_penalty(value) for value in _list(record.get("penalties", []))]
    return Measurement.from_dict(fields)


def _plain(value: object, where: str, kind: Any) -> Any:
    """Check a field that holds one number or text; ``kind`` is its type in the record."""
    if value is None and type(None) in get_args(kind):
        return None
    if kind in {str, str | None}:
        return _text(value, where)
    if kind == tuple[float, float] | None:
        return [_number(end, f"{where}[{i}]") for i, end in enumerate(_pair(value, where))]
    if kind in {int, int | None}:
        return _integer(value, where)
    return _number(value, where)


def _pair(value: object, where: str) -> list[Any]:
    ends = _list(value)
    if len(ends) != len(("low", "high")):
        raise DataError(f"expected two numbers under {where!r}, got {len(ends)}.")
    return ends


def _known_parts(names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in keys.PARTS]
    if unknown:
        raise DataError(
            f"unknown part {unknown[0]!r} of the gap; expected {', '.join(keys.PARTS)}. "
            "Was the line written by a later version of lossgap?"
        )


def _members(
    value: object, where: str, needed: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, dict[str, float | None]]:
    """Check a mapping from names to records of numbers."""
    return {
        name: _record(member, f"{where}[{name!r}]", needed, optional)
        for name, member in _object(value, where).items()
    }


def _record(
    value: object, where: str, needed: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, float | None]:
    record = _object(value, where)
    if record.keys() == {*needed, *optional} and all(type(v) is float for v in record.values()):
        return record  # Nearly every one; reading a hundred long runs takes half the time so.
    wrong = sorted({*needed} - record.keys()) or sorted(record.keys() - {*needed, *optional})
    if wrong:
        expected = ", ".join((*needed, *optional))
        raise DataError(f"expected {expected} under {where}, {wrong[0]!r} is missing or unknown.")
    return {
        key: None if number is None and key in optional else _number(number, f"{where}.{key}")
        for key, number in record.items()
    }


def _penalty(value: object) -> dict[str, Any]:
    record = dict(_object(value, "penalties"))
    layer, kind = record.pop("layer", None), record.pop("kind", None)
    numbers = _record(record, "penalties", ("value",), ())
    return {
        "layer": _text(layer, "penalties.layer"),
        "kind": _text(kind, "penalties.kind"),
        **numbers,
    }


def _number(value: object, where: str) -> float:
    if type(value) is float:
        return value
    if isinstance(value, str) and value in _ODD:
        return _ODD[value]
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"expected a number under {where!r}, got {_kind(value)}.")
    try:
        return float(value)
    except OverflowError as error:
        raise DataError(f"a number of {len(str(value))} digits under {where!r}.") from error


def _integer(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_COUNT:
        raise DataError(
            f"expected a whole number from 0 to {LARGEST_COUNT} under {where!r}, got "
            f"{_kind(value)}."
        )
    return value


def _text(value: object, where: str) -> str:
    return _checked(value, str, where)


def _object(value: object, where: str) -> dict[str, Any]:
    return _checked(value, dict, where)


def _list(value: object) -> list[Any]:
    return _checked(value, list, "penalties")


def _checked(value: object, kind: type[_T], where: str) -> _T:
    if not isinstance(value, kind):
        raise DataError(f"expected {_KINDS[kind]} under {where!r}, got {_kind(value)}.")
    return value


def _kind(value: object) -> str:
    return _KINDS.get(type(value)) or f"the number {value!r}"
