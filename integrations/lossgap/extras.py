"""Optional packages, imported when they are first needed."""

import importlib
import importlib.metadata
from typing import Any

from lossgap.errors import MissingDependencyError


def require(module: str, *, extra: str) -> Any:
    """Import a module that one of lossgap's extras brings.

    Args:
        module: Import name, such as ``"altair"``.
        extra: Name of the extra, such as ``"charts"``.

    Returns:
        The module.

    Raises:
        MissingDependencyError: It isn't installed; the text has the install command. A stray
            folder of the module's name, which Python would import, doesn't count.
    """
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # the package is there, and misses something of its own
        raise _missing(module, extra) from error
    if getattr(found, "__file__", None) is None:
        raise _missing(module, extra)
    return found


def _missing(module: str, extra: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"The package {module!r} is needed here and isn't installed. Install it with: "
        f'pip install "lossgap[{extra}]"'
    )
