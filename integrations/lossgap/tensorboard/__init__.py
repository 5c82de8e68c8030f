"""TensorBoard: event files beside Keras's own, the tab, autologging of every fit.

TensorBoard imports this package at its own start, to find the tab: the names below are
loaded when they are first used, so that nothing of them can stop it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossgap.tensorboard.autologging import autolog as autolog
    from lossgap.tensorboard.tracker import TensorBoardTracker as TensorBoardTracker

_HOMES = {
    "TensorBoardTracker": "lossgap.tensorboard.tracker",
    "autolog": "lossgap.tensorboard.autologging",
}

__all__ = ["TensorBoardTracker", "autolog"]


if not TYPE_CHECKING:  # else every misspelt name would pass a type checker

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'lossgap.tensorboard' has no attribute {name!r}")
        globals()[name] = value = getattr(importlib.import_module(_HOMES[name]), name)
        return value
