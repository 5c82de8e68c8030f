"""The command line's entry point: ``lossgap``.

The commands need typer and rich, which are extras. So this module imports neither:
the commands live in :mod:`lossgap.commands`, one module each, and are imported here.
"""

import io
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn

from lossgap.errors import LossgapError
from lossgap.redaction import shown

_PACKAGES: Final = ("rich", "typer")
ERROR: Final = 2
DEFECT: Final = 3
INTERRUPTED: Final = 130
_LONGEST_TRACEBACK: Final = 20_000


def main() -> None:
    """Run the command in ``sys.argv``.

    Raises:
        SystemExit: With 0 after success and 1 where a command says so; 2 after an error, which
            is one line on stderr; 3 after a defect, which is a traceback; 130 when interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A pipe may have an encoding without "±", which is no reason to lose the numbers.
            stream.reconfigure(errors="replace")
    try:
        from lossgap.commands import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
            raise
        _fail(f'the command line needs {error.name}: pip install "lossgap[cli]"')
    raise SystemExit(_run(app))


def _run(app: Callable[..., Any]) -> int:
    """Run the command and return its exit code, which is 0 if it says nothing."""
    try:
        code = app(prog_name="lossgap", standalone_mode=False)
    except LossgapError as error:
        _fail(str(error))
    except OSError as error:
        _fail(_told(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last that sees it
        # typer's own errors are of classes that moved between its releases.
        if hasattr(error, "format_message"):
            _fail(_usage(error))
        return _defect()
    return code if isinstance(code, int) else 0


def _usage(error: Any) -> str:
    """Say what is wrong with the arguments, and which help has the right ones."""
    path = getattr(getattr(error, "ctx", None), "command_path", "lossgap")
    said = str(error.format_message()).rstrip(".")
    return f"{said}{'' if said.endswith('?') else '.'} See: {path} --help"


def _told(error: OSError) -> str:
    """Say which file can't be read or written, and why."""
    if error.filename is None or error.strerror is None:
        return f"{type(error).__name__}: {error}"
    return f"{error.strerror}: {str(error.filename)!r}. Name another place, or make it accessible."


def _defect() -> int:
    text = shown(traceback.format_exc(), most=_LONGEST_TRACEBACK)
    sys.stderr.write(
        f"{text}lossgap: this is a defect of lossgap. Please report it with the lines above.\n"
    )
    return DEFECT


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"lossgap: {shown(' '.join(message.split()))}\n")
    raise SystemExit(ERROR)
