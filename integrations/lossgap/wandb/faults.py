"""What goes wrong with a W&B run, in words that say the way out."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lossgap.errors import LossgapError, first_line

_LOG: Final = Path("logs", "debug-internal.log")
_TAIL_BYTES: Final = 200_000
_STREAM: Final = "filestream"
_HTTP: Final = "api: HTTP error"
_RETRYING: Final = "retrying"


def folder(run: Any) -> Path | None:
    """Return the folder in which a run keeps its rows on disk; ``None`` where it has none."""
    with suppress(Exception):
        place = Path(run.dir).parent
        if place.is_dir():
            return place
    return None


def failed(run: Any, error: Exception) -> LossgapError:
    """Turn what a call to W&B raised into an error that says what to do."""
    if type(error).__name__ == "UsageError" and "finished" in str(error):
        return LossgapError(
            "The W&B run was finished before the training, so nothing more can be logged to it. "
            "Call run.finish() after fit, or leave it to wandb. What was measured before is in "
            f"the run.{_to_deliver(run)}"
        )
    if isinstance(error, OSError) or "Mailbox" in type(error).__name__:
        return LossgapError(
            f"W&B's own process is gone ({type(error).__name__}: {first_line(error)}), so nothing "
            f"more can be logged to this run.{_to_deliver(run)}"
        )
    return LossgapError(f"{type(error).__name__}: {first_line(error)}{_to_deliver(run)}")


def _to_deliver(run: Any) -> str:
    place = folder(run)
    if place is None:
        return ""
    return f" What reached the disk is delivered by: wandb sync --include-online {place}"


def upload_trouble(run: Any) -> str | None:
    """Say why rows of an online run stay on disk, as far as W&B's own log of the run tells.

    W&B logs nothing to the caller when a server dies or refuses: ``run.log`` goes on as before.
    The log's form is W&B's own, so whatever isn't understood counts as no trouble.
    """
    place = folder(run)
    if place is None:
        return None
    with suppress(OSError, ValueError):
        with (place / _LOG).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
        for line in reversed(lines):
            reason = _reason(line)
            if reason:
                return (
                    f"W&B's server doesn't take this run's rows: {reason} They are on disk. "
                    "W&B goes on trying until the run is finished; what is left then is delivered "
                    f"by: wandb sync --include-online {place}"
                )
    return None


def _reason(line: str) -> str | None:
    """Return what a line of the log says about rows that aren't taken."""
    if _STREAM not in line and _HTTP not in line and _RETRYING not in line:
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    text = str(entry.get("msg", ""))
    if str(entry.get("level", "")).startswith("ERROR") and text.startswith(f"{_STREAM}: fatal"):
        return f"{text.rpartition(f'{_STREAM}: ')[2].partition(' url=')[0].strip().rstrip('.')}."
    if text == _HTTP and "file_stream" in str(entry.get("url", "")):
        return f"HTTP status {entry.get('status')}."
    return None
