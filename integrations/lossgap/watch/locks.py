"""Locks that end with their process, however it ends."""

import sqlite3
from contextlib import suppress
from pathlib import Path


class Lock:
    """A file that one process holds: SQLite's own lock, which works on every platform.

    Args:
        path: The file, which is made if there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: sqlite3.Connection | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free, without waiting, and tell whether it was."""
        database = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = OFF")  # nothing is written
            database.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            database.close()
            return False
        self._database = database
        return True

    def release(self) -> None:
        """Let go of it."""
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            self._database.close()
            self._database = None


def is_held(path: Path) -> bool:
    """Tell whether a process that is alive holds a lock."""
    if not path.exists():
        return False
    lock = Lock(path)
    if not lock.acquire():
        return True
    lock.release()
    return False
