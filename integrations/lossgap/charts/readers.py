"""Where a report's measurements come from: a registry of readers, one per kind of place.

A reader recognizes a path or an address and reads the runs in it. JSON lines are built in;
each tracker's package has a ``READER`` in its module ``reader``, which the command line
registers through the same door.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lossgap.charts import jsonl
from lossgap.charts.frames import Run
from lossgap.errors import DataError, InvalidArgumentError, first_line
from lossgap.redaction import shown


@dataclass(frozen=True, slots=True)
class Reader:
    """One kind of place.

    Attributes:
        name: What it is called, such as ``"JSON lines"``.
        accepts: Tells from a path or an address alone whether this reader is for it.
        read: Returns the runs there.
    """

    name: str
    accepts: Callable[[str], bool]
    read: Callable[[str], list[Run]]


def _is_json_lines(place: str) -> bool:
    return Path(place).suffix.lower() in {".jsonl", ".ndjson"}


_READERS: Final[list[Reader]] = [Reader("JSON lines", _is_json_lines, jsonl.read_measurements)]


def register(reader: Reader) -> None:
    """Add a reader; it is asked after those that were registered before.

    Raises:
        InvalidArgumentError: There is another reader of this name.
    """
    if any(known.name == reader.name for known in _READERS):
        raise InvalidArgumentError(
            f"There is already a reader called {reader.name!r}. Register it once, or rename it."
        )
    _READERS.append(reader)


def readers() -> tuple[Reader, ...]:
    """Return the readers, in the order in which they are asked."""
    return tuple(_READERS)


def read(place: str) -> list[Run]:
    """Read the runs in ``place``, with the first reader that accepts it.

    Args:
        place: A path or an address.

    Raises:
        DataError: Nothing can be read there; the text says why.
    """
    for reader in _READERS:
        if reader.accepts(place):
            try:
                return reader.read(place)
            except OSError as error:
                why = error.strerror or first_line(error)
                raise DataError(f"Can't read {shown(place)!r}: {why}.") from error
    known = ", ".join(reader.name for reader in _READERS)
    raise DataError(
        f"Don't know how to read {shown(place)!r}. Expected one of: {known} (a file called "
        "*.jsonl, as lossgap.charts.write_measurements writes)."
    )
