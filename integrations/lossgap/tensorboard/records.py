"""The framing of event files: records one after the other, read without TensorFlow.

TensorBoard's own loader imports TensorFlow wherever it is installed, which takes seconds
and, beside a training on another backend, the memory of the accelerator.

References:
    https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

LARGEST_RECORD: Final = 64 * 2**20
"""Bytes. A measurement of a model with ten thousand layers takes a megabyte."""

_LENGTH: Final = struct.Struct("<Q")
_CHECKSUM: Final = struct.Struct("<I")
_HEAD: Final = _LENGTH.size + _CHECKSUM.size


def event_files(directory: Path) -> list[Path]:
    """Return the event files in a directory itself, in the order in which they were begun."""
    if not directory.is_dir():
        return []
    return sorted(
        path for path in directory.iterdir() if "tfevents" in path.name and path.is_file()
    )


def events(path: Path, *, largest: int = LARGEST_RECORD) -> Iterator[Event]:
    """Yield the events of a file, up to the first one that isn't whole.

    The last record of a training that still writes, or that was killed, may not be.

    Args:
        path: The event file.
        largest: Longer records are passed over unread: pictures, graphs.

    Raises:
        OSError: The file can't be read.
    """
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        while len(head := file.read(_HEAD)) == _HEAD:
            (length,) = _LENGTH.unpack_from(head)
            left -= _HEAD + length + _CHECKSUM.size
            if left < 0 or not _matches(head[: _LENGTH.size], head[_LENGTH.size :]):
                return
            if length > largest:
                file.seek(length + _CHECKSUM.size, os.SEEK_CUR)
                continue
            data = file.read(length)
            if not _matches(data, file.read(_CHECKSUM.size)):
                return
            try:
                event = Event.FromString(data)
            except DecodeError:  # whole, and yet not what TensorBoard writes
                return
            yield event


def _matches(data: bytes, checksum: bytes) -> bool:
    if len(checksum) < _CHECKSUM.size:
        return False
    wanted: int = masked_crc32c(data)
    return _CHECKSUM.unpack(checksum) == (wanted,)
