"""What became of each checkpoint, on disk: found, claimed, measured, sent.

One SQLite file beside the checkpoints, which all watchers share. A claim ends with its watcher,
whose lock goes with its process.
"""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from lossgap.errors import DataError, first_line
from lossgap.trackers import records
from lossgap.watch.locks import Lock, is_held

_WAIT_SECONDS: Final = 60.0
_SENDING: Final = "sending"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoints (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, epoch INTEGER, step INTEGER,
    owner TEXT, record TEXT, gone INTEGER NOT NULL DEFAULT 0, UNIQUE (name, digest));
CREATE TABLE IF NOT EXISTS sendings (
    checkpoint INTEGER NOT NULL, place TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (checkpoint, place));
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A checkpoint in the ledger.

    Attributes:
        number: Its number there.
        name: Path of the file, relative to the folder of the checkpoints.
        digest: SHA-256 of its content: a file that is written anew is another checkpoint.
        epoch: Index of its epoch, from 0; ``None`` where unknown.
        step: Optimizer steps that it stands after; ``None`` where unknown.
    """

    number: int
    name: str
    digest: str
    epoch: int | None
    step: int | None


@dataclass(frozen=True, slots=True)
class Parcel:
    """A measurement to be sent.

    Attributes:
        number: The checkpoint's number.
        name: Its file.
        log: The measurement, and when it was made.
        unsure: Whether it may have been sent already, by a watcher that was killed.
    """

    number: int
    name: str
    log: records.Log
    unsure: bool


class Ledger:
    """The ledger of one folder of checkpoints, as one watcher sees it.

    Args:
        path: The file; it is made where there is none.

    Raises:
        DataError: It can't be opened, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._me = uuid.uuid4().hex
        self._alive = Lock(self._lock_path(self._me))
        try:
            self._database = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
            with ExitStack() as stack:
                stack.callback(self._database.close)
                self._begin()
                stack.pop_all()
        except sqlite3.Error as error:
            raise DataError(
                f"The ledger {path} can't be used ({first_line(error)}). It has to be in a folder "
                "that can be written to: choose another one with --ledger."
            ) from error
        self.sending = Lock(self._lock_path(_SENDING))

    def _begin(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        for table in _TABLES.split(";"):
            self._database.execute(table)
        with self._together():  # else another could take a new lock for one that is left over
            self._clear_away()
            self._alive.acquire()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all claims."""
        self.sending.release()
        with suppress(sqlite3.Error):
            self._database.execute(
                "UPDATE checkpoints SET owner = NULL WHERE owner = ?", (self._me,)
            )
        self._database.close()
        with suppress(OSError):
            self._alive.path.unlink(missing_ok=True)
        self._alive.release()

    def agree(self, name: str, value: str) -> str:
        """Return a setting that all watchers share: the first one's value."""
        with self._together():
            self._database.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, value))
        row = self._database.execute(
            "SELECT value FROM settings WHERE name = ?", (name,)
        ).fetchone()
        return str(row[0])

    def offer(self, name: str, digest: str, epoch: int | None, step: int | None) -> None:
        """Enter a checkpoint; one that is there already stays as it is."""
        self._database.execute(
            "INSERT OR IGNORE INTO checkpoints (name, digest, epoch, step) VALUES (?, ?, ?, ?)",
            (name, digest, epoch, step),
        )

    def unmeasured(self) -> list[Entry]:
        """Return the checkpoints that wait to be measured, in the order of their steps."""
        rows = self._database.execute(
            "SELECT id, name, digest, epoch, step FROM checkpoints WHERE record IS NULL "
            "AND NOT gone ORDER BY epoch, step, id"
        )
        return [Entry(*row) for row in rows.fetchall()]

    def claim(self, entry: Entry) -> bool:
        """Take a checkpoint for this watcher, unless one that is alive has it, or it is done."""
        with self._together():
            row = self._database.execute(
                "SELECT owner, record FROM checkpoints WHERE id = ?", (entry.number,)
            ).fetchone()
            if row[1] is not None or self._is_another(row[0]):
                return False
            self._database.execute(
                "UPDATE checkpoints SET owner = ? WHERE id = ?", (self._me, entry.number)
            )
        return True

    def release(self, entry: Entry) -> None:
        """Give a claim back."""
        self._database.execute("UPDATE checkpoints SET owner = NULL WHERE id = ?", (entry.number,))

    def gone(self, entry: Entry) -> None:
        """Note that a checkpoint was removed or written over before it was measured."""
        self._database.execute(
            "UPDATE checkpoints SET gone = 1, owner = NULL WHERE id = ?", (entry.number,)
        )

    def measured(self, entry: Entry, log: records.Log) -> None:
        """Keep a measurement; from here on it isn't made again."""
        self._database.execute(
            "UPDATE checkpoints SET record = ?, owner = NULL WHERE id = ? AND record IS NULL",
            (log.to_json(), entry.number),
        )

    def unsent(self, place: str) -> list[Parcel]:
        """Return what a place hasn't got, in the order of the steps."""
        rows = self._database.execute(
            "SELECT id, name, record, sent FROM checkpoints LEFT JOIN sendings "
            "ON checkpoint = id AND place = ? WHERE record IS NOT NULL AND NOT ifnull(sent, 0) "
            "ORDER BY epoch, step, id",
            (place,),
        )
        return [
            Parcel(number, name, self._log(text), sent is not None)
            for number, name, text, sent in rows.fetchall()
        ]

    def measurements(self) -> list[dict[str, Any]]:
        """Return all that was measured, by any watcher, in the order of the steps."""
        rows = self._database.execute(
            "SELECT name, record FROM checkpoints WHERE record IS NOT NULL ORDER BY epoch, step, id"
        )
        return [
            {"checkpoint": name} | self._log(text).measurement.to_dict()
            for name, text in rows.fetchall()
        ]

    def sendable(self, place: str) -> list[Parcel]:
        """Return what can be sent now: nothing that stands after one that is being measured."""
        rows = self._database.execute(
            "SELECT id, owner FROM checkpoints WHERE record IS NULL AND NOT gone "
            "AND owner IS NOT NULL ORDER BY epoch, step, id"
        ).fetchall()
        first = next((number for number, owner in rows if self._is_another(owner)), None)
        if first is None:
            return self.unsent(place)
        order = [
            n
            for (n,) in self._database.execute(
                "SELECT id FROM checkpoints ORDER BY epoch, step, id"
            )
        ]
        before = set(order[: order.index(first)])
        return [parcel for parcel in self.unsent(place) if parcel.number in before]

    def about_to_send(self, parcel: Parcel, place: str) -> None:
        """Note that a measurement may be there from now on."""
        self._database.execute(
            "INSERT OR IGNORE INTO sendings (checkpoint, place) VALUES (?, ?)",
            (parcel.number, place),
        )

    def sent(self, parcel: Parcel, place: str) -> None:
        """Note that a measurement is there."""
        self._database.execute(
            "UPDATE sendings SET sent = 1 WHERE checkpoint = ? AND place = ?",
            (parcel.number, place),
        )

    def _log(self, text: str) -> records.Log:
        found = records.from_json(text)
        if not isinstance(found, records.Log):
            raise DataError(f"{self.path} holds a record that is no measurement. Remove the file.")
        return found

    def _is_another(self, owner: str | None) -> bool:
        """Tell whether a claim is that of another watcher, which is alive."""
        return owner not in (None, self._me) and is_held(self._lock_path(str(owner)))

    def _clear_away(self) -> None:
        """Remove the locks of watchers that were killed."""
        for path in self.path.parent.glob(f"{self.path.name}.*.lock"):
            if path != self._lock_path(_SENDING) and not is_held(path):
                path.unlink(missing_ok=True)

    def _lock_path(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{name}.lock")

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
