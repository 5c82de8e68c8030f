"""The records in a run's ``.wandb`` file: LevelDB's log format behind a header of seven bytes.

References:
    LevelDB's log format:
    https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from lossgap.errors import DataError
from lossgap.extras import require

LARGEST_RECORD: Final = 64 * 2**20
LARGEST_FILE: Final = 4 * 2**30

_MAGIC: Final = b":W&B"
_HEADER_BYTES: Final = 7
_BLOCK_BYTES: Final = 32_768
_CHUNK: Final = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a run's file, in order; see :func:`records_after`."""
    for record, _ in records_after(path, 0):
        yield record


def records_after(path: Path, place: int) -> Iterator[tuple[Any, int]]:
    """Yield the records of a run's file from a place on, each with the place behind it.

    A file whose process was killed ends in the middle of a record: what is whole before it is
    yielded. Nothing is yielded from behind a damaged place.

    Args:
        path: The file, ``run-*.wandb``.
        place: Behind a record, in bytes; 0 for the beginning.

    Yields:
        ``wandb.proto.wandb_internal_pb2.Record`` objects, and where each ends.

    Raises:
        DataError: The file isn't one of W&B's, or is too large.
        MissingDependencyError: wandb isn't installed.
        OSError: The file can't be read.
    """
    proto = require("wandb.proto.wandb_internal_pb2", extra="wandb")
    decode = require("google.protobuf.message", extra="wandb").DecodeError
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for, a device never ends
        raise DataError(f"{path}: not a regular file.")
    if found.st_size > LARGEST_FILE:
        raise DataError(
            f"{path}: larger than {LARGEST_FILE >> 30} GiB, which isn't read. Leave its folder out."
        )
    with path.open("rb") as file:
        for payload, end in _payloads(file, path, place):
            try:
                yield proto.Record.FromString(payload), end
            except decode:
                return


def _payloads(file: IO[bytes], path: Path, place: int) -> Iterator[tuple[bytes, int]]:
    """Put the chunks of each record together, and tell where it ends."""
    if not file.read(_HEADER_BYTES).startswith(_MAGIC):
        raise DataError(f"{path}: not a file of W&B's. Expected it to begin with {_MAGIC!r}.")
    parts: list[bytes] = []
    size = 0
    for kind, data, end in _chunks(file, max(place, _HEADER_BYTES)):
        if kind in (_FULL, _FIRST):
            parts, size = [], 0
        elif not parts:
            return
        parts.append(data)
        size += len(data)
        if size > LARGEST_RECORD:
            raise DataError(f"{path}: a record is larger than {LARGEST_RECORD >> 20} MiB.")
        if kind in (_FULL, _LAST):
            yield b"".join(parts), end
            parts = []


def _chunks(file: IO[bytes], place: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield kind, data and end of the chunks until the file ends, or is damaged."""
    file.seek(place)
    while True:
        left = _BLOCK_BYTES - place % _BLOCK_BYTES
        if left < _CHUNK.size:  # too little for a chunk: zeros
            file.read(left)
            place += left
        head = file.read(_CHUNK.size)
        if len(head) < _CHUNK.size:
            return
        checksum, length, kind = _CHUNK.unpack(head)
        data = file.read(length)
        known = kind in (_FULL, _FIRST, _MIDDLE, _LAST)
        if len(data) < length or not known or zlib.crc32(bytes([kind]) + data) != checksum:
            return
        place += _CHUNK.size + length
        yield kind, data, place
