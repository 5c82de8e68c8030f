"""Optional packages, imported when they are first needed."""

import importlib
from typing import Any

from lossgap.errors import MissingDependencyError


def require(module: str) -> Any:
    """Import ``module``, which the extra ``charts`` brings.

    Args:
        module: Import name, such as ``"altair"``.

    Returns:
        The module.

    Raises:
        MissingDependencyError: It isn't installed; the text has the install command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Drawing charts needs the package {module!r}, which isn't installed. "
            'Install it with: pip install "lossgap[charts]"'
        ) from error
