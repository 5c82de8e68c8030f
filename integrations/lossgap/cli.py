"""The command line's entry point: ``lossgap``.

The commands need typer and rich, which are extras. So this module imports neither:
the commands live in :mod:`lossgap.commands`, one module each, and are imported here.
"""

import io
import sys
from typing import NoReturn

from lossgap.errors import LossgapError
from lossgap.redaction import shown

_PACKAGES = ("rich", "typer")


def main() -> None:
    """Run the command in ``sys.argv``.

    Raises:
        SystemExit: With 0 after success, 1 if typer or rich is missing, 2 after an
            error, which is one line on stderr.
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
        _fail(f'the command line needs {error.name}: pip install "lossgap[cli]"', code=1)
    try:
        app(prog_name="lossgap")
    except LossgapError as error:
        _fail(str(error), code=2)


def _fail(message: str, *, code: int) -> NoReturn:
    sys.stderr.write(f"lossgap: {shown(' '.join(message.split()))}\n")
    raise SystemExit(code)
