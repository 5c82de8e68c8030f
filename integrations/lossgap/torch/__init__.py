"""The true loss of plain PyTorch models, for training loops of one's own.

The names are loaded when they are first used: importing this package imports neither PyTorch
nor Keras.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lossgap.extras import require

if TYPE_CHECKING:
    from lossgap.torch.lightning import LightningTrueLoss as LightningTrueLoss
    from lossgap.torch.measuring import measure as measure

_HOMES = {
    "LightningTrueLoss": "lossgap.torch.lightning",
    "measure": "lossgap.torch.measuring",
}

__all__ = ["LightningTrueLoss", "measure"]


if not TYPE_CHECKING:  # else every misspelt name would pass a type checker

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'lossgap.torch' has no attribute {name!r}")
        require("torch", extra="torch")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
