"""Which measurements W&B has written into a run's file.

W&B gathers what it is given in memory, and writes it in blocks of 32 KiB. Until a block is full,
or the run is finished, its rows die with the process.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lossgap.errors import LossgapError
from lossgap.wandb import datastore, faults, rows

_FILES: Final = "run-*.wandb"


def file_of(run: Any) -> Path | None:
    """Return the file in which a run keeps its rows; ``None`` where there is none."""
    folder = faults.folder(run)
    return next(iter(folder.glob(_FILES)), None) if folder is not None else None


class Written:
    """The rows of lossgap's in a run's file, as it grows.

    Args:
        file: What :func:`file_of` returned.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._place = 0

    def more(self) -> list[tuple[str, ...]]:
        """Return the identities of the rows that came to the file since the last call.

        Raises:
            LossgapError: The file can't be understood.
            OSError: It can't be read.
        """
        found = []
        for record, place in datastore.records_after(self.file, self._place):
            if record.WhichOneof("record_type") == "history":
                values = rows.ours(record.history.item)
                if rows.is_row(values):
                    found.append(rows.identity(values))
            self._place = place
        return found


def in_folder(folder: Path) -> set[tuple[str, ...]]:
    """Return the identities of all rows of lossgap's in a run's folder, as far as it is there.

    Raises:
        LossgapError: A file can't be understood.
        OSError: It can't be read.
    """
    return {found for file in folder.glob(_FILES) for found in Written(file).more()}


def is_begun(folder: Path) -> bool:
    """Tell whether W&B has written anything into a run's folder."""
    with suppress(LossgapError, OSError):
        return any(True for file in folder.glob(_FILES) for _ in datastore.records(file))
    return False


def last_step(folder: Path) -> int:
    """Return the last step of W&B's that is in a run's folder; -1 for none."""
    last = -1
    with suppress(LossgapError, OSError):
        for file in folder.glob(_FILES):
            for record in datastore.records(file):
                if record.WhichOneof("record_type") == "history":
                    last = max(last, record.history.step.num)
    return last
