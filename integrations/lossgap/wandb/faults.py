"""What goes wrong with a W&B run, in words that say the way out."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lossgap.errors import LossgapError, first_line
from lossgap.redaction import shown

_LOG: Final = Path("logs", "debug-internal.log")
_TAIL_BYTES: Final = 200_000
_STREAM: Final = "file_stream"
_SENT: Final = "filestream: request sent"
_FATAL: Final = "filestream: fatal error: filestream:"
_RETRYING: Final = "api: retrying error"
_HTTP_ERRORS: Final = ("api: HTTP error", "api: retrying HTTP error")
_ABOUT_ROWS: Final = (_STREAM, "filestream: ")


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
            f"W&B's own process is gone ({reason(error)}), so nothing "
            f"more can be logged to this run.{_to_deliver(run)}"
        )
    return LossgapError(f"{reason(error)}{_to_deliver(run)}")


def reason(error: Exception) -> str:
    """Return what an error of W&B's says, in a line."""
    return f"{type(error).__name__}: {first_line(error)}"


def what_is_gone(place: Path) -> str:
    """Tell that the folder was removed in which a run keeps its rows."""
    return (
        f"The folder of the W&B run is gone: {place}. Was it removed? What W&B had written there "
        "went with it. What was measured after that is kept, and added to the run in a new folder "
        "by the command: lossgap sync"
    )


def _to_deliver(run: Any) -> str:
    place = folder(run)
    if place is None:
        return ""
    return f" What reached the disk is delivered by: wandb sync --include-online {place}"


def upload_trouble(run: Any) -> str | None:
    """Say why rows of an online run stay on disk, as far as W&B's own log of the run tells.

    W&B tells the caller nothing when a server dies or refuses: ``run.log`` goes on as before.
    The log's form is W&B's own, so whatever isn't understood counts as no trouble.
    """
    place = folder(run)
    if place is None:
        return None
    for entry in _log_backwards(place):
        text = str(entry.get("msg", ""))
        if text.startswith(_SENT):
            return None
        reason = _reason(text, entry)
        if reason:
            return (
                f"W&B's server doesn't take this run's rows: {shown(reason)}. They are on disk. "
                "Those that W&B hasn't sent when the run is finished are delivered by: "
                f"wandb sync --include-online {place}"
            )
    return None


def _log_backwards(place: Path) -> Iterator[dict[str, Any]]:
    """Yield the last entries of W&B's log of a run that are about the stream of its rows."""
    try:
        with (place / _LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in reversed(lines):
        if any(word in line for word in _ABOUT_ROWS):
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry


def _reason(text: str, entry: dict[str, Any]) -> str | None:
    """Return what an entry says about rows that aren't taken."""
    if text.startswith(_FATAL):
        return text.removeprefix(_FATAL).partition(" url=")[0].strip().rstrip(".")
    if text in _HTTP_ERRORS and _STREAM in str(entry.get("url", "")):
        return f"it answers with HTTP status {entry.get('status')}"
    if text == _RETRYING and _STREAM in str(entry.get("error", "")):
        return str(entry["error"]).rpartition(": ")[2].rstrip(".")
    return None
