"""What a training could not deliver, on disk until it can: one SQLite file per training."""

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final, Self

from lossgap.errors import DataError

FOLDER_VARIABLE: Final = "LOSSGAP_OUTBOX"
"""Environment variable that names the folder of the journals."""

_ENDING: Final = ".sqlite"
_BESIDE: Final = ("-wal", "-shm", "-journal")
# Rows survive the end of the process, whichever way it ends. Exclusive: the lock tells other
# processes that the journal has an owner, and goes with it; no memory is shared, so that a
# network's file system will do.
_SETTINGS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
)
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, record TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS origin (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)


def folder() -> Path:
    """Return the folder of the journals: ``$LOSSGAP_OUTBOX``, else ``~/.lossgap/outbox``."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else Path.home() / ".lossgap" / "outbox"


def paths() -> list[Path]:
    """Return the journals in the folder, oldest first."""
    with suppress(OSError):
        return sorted(folder().glob(f"*{_ENDING}"))
    return []


class Journal:
    """The undelivered records of one training, owned by this process while it is open.

    Raises:
        sqlite3.Error: The file can't be written or read, or belongs to another process.
        OSError: The folder can't be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._database = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            for statement in (*_SETTINGS, *_TABLES):
                self._database.execute(statement)
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def create(cls, tracker: str, destination: Mapping[str, Any]) -> Self:
        """Make the journal of a training whose measurements go to ``destination``."""
        place = folder()
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{tracker}-{uuid.uuid4().hex[:8]}{_ENDING}"
        journal = cls(place / name)
        journal._set("tracker", tracker)
        journal.set_destination(destination)
        return journal

    def set_destination(self, destination: Mapping[str, Any]) -> None:
        """Say anew where the records go."""
        self._set("destination", json.dumps(destination))

    def origin(self) -> tuple[str, dict[str, Any]]:
        """Return the name of the tracker and the destination of the records.

        Raises:
            DataError: The file isn't a journal of lossgap's.
        """
        with self._lock:
            rows = dict(self._database.execute("SELECT name, value FROM origin").fetchall())
        try:
            return rows["tracker"], dict(json.loads(rows["destination"]))
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{self.path} is no journal of lossgap's: {error!r}.") from error

    def write(self, number: int, record: str) -> None:
        """Keep a record under its number; once more changes nothing."""
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (number, record))

    def forget(self, number: int) -> None:
        """Drop a record that was delivered."""
        with self._lock:
            self._database.execute("DELETE FROM records WHERE number = ?", (number,))

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield the records with their numbers, in order."""
        with self._lock:
            rows = self._database.execute("SELECT number, record FROM records ORDER BY number")
            yield from rows.fetchall()

    def __len__(self) -> int:
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM records").fetchone()[0])

    def close(self) -> None:
        """Close the file, and remove it if nothing waits in it."""
        empty = not len(self)
        with self._lock:
            self._database.close()
        if empty:
            for ending in ("", *_BESIDE):
                Path(f"{self.path}{ending}").unlink(missing_ok=True)

    def _set(self, name: str, value: str) -> None:
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO origin VALUES (?, ?)", (name, value))
