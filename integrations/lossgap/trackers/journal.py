"""What a training could not deliver, on disk until it can: one SQLite file per training."""

import ctypes
import json
import os
import re
import sqlite3
import time
import uuid
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from lossgap.errors import DataError

FOLDER_VARIABLE: Final = "LOSSGAP_OUTBOX"
"""Environment variable that names the folder of the journals."""

ENDING: Final = ".outbox.sqlite"
"""How the name of a journal ends: other databases in the folder are left alone."""

LARGEST_RECORD: Final = 64_000_000
"""Characters of a record; the end of a training holds all of its measurements."""

_BESIDE: Final = ("-wal", "-shm", "-journal")
_ATTEMPTS: Final = 5
_MOST_OF_A_NAME: Final = 40
# Rows survive the end of the process, whichever way it ends. Exclusive: the lock tells other
# processes that the journal has an owner, and goes with it; no memory is shared, so that a
# network's file system will do.
_EXCLUSIVE: Final = "PRAGMA locking_mode = EXCLUSIVE"
_SETTINGS: Final = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL")
_TABLES: Final = {
    "records": "CREATE TABLE records (number INTEGER PRIMARY KEY, record TEXT NOT NULL)",
    "origin": "CREATE TABLE origin (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
}

_open: "weakref.WeakSet[Journal]" = weakref.WeakSet()


def folder() -> Path:
    """Return the folder of the journals: ``$LOSSGAP_OUTBOX``, else ``~/.lossgap/outbox``.

    Raises:
        OSError: There is neither the variable nor a home.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    try:
        return Path(given) if given else Path.home() / ".lossgap" / "outbox"
    except RuntimeError as error:
        raise OSError(str(error)) from error


def paths() -> list[Path]:
    """Return the journals in the folder, oldest first."""
    with suppress(OSError):
        return sorted(folder().glob(f"*{ENDING}"))
    return []


class Journal:
    """The undelivered records of one training, owned by this process while it is open.

    Not for two threads at once.

    Args:
        path: The file. It is made where there is none.

    Raises:
        sqlite3.Error: The file can't be written or read, or belongs to another process.
        DataError: It is no journal of lossgap's, or the rest of one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size if path.exists() else 0
        rest = Path(f"{path}-wal")
        if not size and rest.exists() and rest.stat().st_size:
            raise DataError(f"{path} was cut to nothing.")  # SQLite would remove what is left
        self._database = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
        _open.add(self)
        try:
            self._database.execute(_EXCLUSIVE)
            if size:
                self._tables()  # before anything is changed
            for setting in _SETTINGS:
                self._database.execute(setting)
            self.is_blank = not self._tables()  # a read takes the lock, and SQLite keeps it
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def create(cls, tracker: str, destination: Mapping[str, Any]) -> Self:
        """Make the journal of a training whose measurements go to ``destination``.

        Raises:
            sqlite3.Error: The file can't be written.
            OSError: The folder can't be made.
        """
        place = folder()
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        label = re.sub(r"[^\w-]", "_", tracker)[:_MOST_OF_A_NAME]
        for _ in range(_ATTEMPTS):
            stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{label}-{uuid.uuid4().hex[:8]}"
            journal = cls._created(place / f"{stem}{ENDING}", tracker, destination)
            if journal is not None:
                return journal
        raise OSError(f"Other processes took every new file in {place}")

    @classmethod
    def _created(cls, path: Path, tracker: str, destination: Mapping[str, Any]) -> Self | None:
        """Make a journal, unless another process saw the new file first, and took it away."""
        # For its owner alone; SQLite gives what it puts beside a file the same rights.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            journal = cls(path)
        except sqlite3.OperationalError as error:
            if is_locked(error) or not path.exists():
                return None
            raise
        if not path.exists():
            journal.close()
            return None
        try:
            with journal._together():
                for table in _TABLES.values():
                    journal._database.execute(table)
                journal._set("tracker", tracker)
                journal._set("destination", json.dumps(destination))
        except BaseException:
            journal.close()
            raise
        journal.is_blank = False
        return journal

    def origin(self) -> tuple[str, dict[str, Any]]:
        """Return the name of the tracker and the destination of the records.

        Raises:
            DataError: They can't be read.
        """
        try:
            rows = dict(self._database.execute("SELECT name, value FROM origin").fetchall())
            return rows["tracker"], dict(json.loads(rows["destination"]))
        except (KeyError, ValueError, TypeError, RecursionError, sqlite3.Error) as error:
            raise DataError(f"{self.path} is no journal of lossgap's: {error!r}.") from error

    def write(self, items: Iterable[tuple[int, str]]) -> None:
        """Keep records under their numbers, all or none; once more changes nothing."""
        with self._together():
            self._database.executemany("INSERT OR REPLACE INTO records VALUES (?, ?)", items)

    def attempted(self, destination: Mapping[str, Any], *, n_delivered: int) -> None:
        """Say anew where the records go, and drop those that are there: below ``n_delivered``."""
        with self._together():
            self._set("destination", json.dumps(destination))
            self._database.execute("DELETE FROM records WHERE number < ?", (n_delivered,))

    def forget(self) -> None:
        """Drop all records."""
        with self._together():
            self._database.execute("DELETE FROM records")

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Iterate over the records with their numbers, in order; they may be removed meanwhile.

        Raises:
            DataError: A record is larger than any that lossgap writes.
        """
        last = -(2**63)
        while True:
            found = self._database.execute(
                "SELECT number, length(record), substr(record, 1, ?) FROM records "
                "WHERE number > ? ORDER BY number LIMIT 1",
                (LARGEST_RECORD, last),
            ).fetchone()
            if found is None:
                return
            last, size, text = found
            if size is None or size > LARGEST_RECORD:
                raise DataError(
                    f"{self.path}: record {last} has more than {LARGEST_RECORD:,} characters, "
                    "which aren't read. Remove the file to give it up."
                )
            yield last, text

    def __len__(self) -> int:
        if self.is_blank:
            return 0
        return int(self._database.execute("SELECT count(*) FROM records").fetchone()[0])

    def close(self) -> None:
        """Close the file, and remove it if nothing waits in it.

        Raises:
            sqlite3.Error: The file can't be read.
            OSError: It can't be removed.
        """
        try:
            empty = not len(self)
            if empty:  # while the lock is held: a new owner must not find it before it is gone
                with suppress(PermissionError):  # Windows, where nobody else can have it open
                    self.path.unlink(missing_ok=True)
        finally:
            self._database.close()
        if empty:
            for ending in ("", *_BESIDE):
                Path(f"{self.path}{ending}").unlink(missing_ok=True)

    def _tables(self) -> set[str]:
        rows = self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = {name for (name,) in rows.fetchall()}
        if names and names != {*_TABLES}:
            raise DataError(f"{self.path} is no journal of lossgap's: it holds other tables.")
        return names

    def _set(self, name: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO origin VALUES (?, ?)", (name, value))

    @contextmanager
    def _together(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise

    def abandon(self) -> None:
        """Never touch the file again: in a forked process, where it is the parent's.

        Closing it there, as garbage collection would, takes the parent's unsaved rows away. So
        the connection gets a reference that nobody gives back.
        """
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._database))


def is_locked(error: sqlite3.Error) -> bool:
    """Tell whether another process, or another thread, owns the journal."""
    return "locked" in str(error)


def _abandon_all() -> None:
    for journal in list(_open):
        journal.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
