"""What the training reported, out of the file of a ``CSVLogger``."""

import csv
from pathlib import Path

from lossgap.core import keys
from lossgap.errors import DataError


def logs_of(path: Path | None, epoch: int | None) -> dict[str, float]:
    """Return loss and validation loss of an epoch, as far as they are there.

    Args:
        path: A file of ``keras.callbacks.CSVLogger``; ``None`` for none.
        epoch: Index of the epoch, from 0.

    Raises:
        DataError: It isn't a table with ``epoch`` and ``loss``.
    """
    if path is None or epoch is None or not path.exists():
        return {}
    found: dict[str, float] = {}
    try:
        with path.open(newline="", encoding="utf-8") as opened:
            sample = opened.readline()
            opened.seek(0)
            rows = csv.DictReader(opened, delimiter=next((c for c in ",;\t" if c in sample), ","))
            if not {"epoch", keys.LOSS} <= set(rows.fieldnames or ()):
                raise DataError(
                    f"Expected {path} to be a file of CSVLogger, with columns epoch and loss. Its "
                    f"columns: {', '.join(rows.fieldnames or ()) or 'none'}."
                )
            for row in rows:
                if row["epoch"] and float(row["epoch"]) == epoch:
                    found = {
                        name: float(row[name])
                        for name in (keys.LOSS, keys.VAL_LOSS)
                        if row.get(name)
                    }
    except (OSError, ValueError, UnicodeError, csv.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} can't be read as a table of CSVLogger: {error}") from error
    return found
