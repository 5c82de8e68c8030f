"""The true training loss of Keras models, and what separates it from the reported one.

The names below are loaded when they are first used: ``import lossgap`` alone
imports neither Keras nor a backend nor a tracker.
"""

import importlib
from typing import TYPE_CHECKING, Any

import lossgap.exits as _exits  # noqa: F401 - first of all: what it does at the end comes last

if TYPE_CHECKING:
    from lossgap import mlflow as mlflow
    from lossgap import ray as ray
    from lossgap import tensorboard as tensorboard
    from lossgap import torch as torch
    from lossgap import wandb as wandb
    from lossgap.core.callback import TrueLoss as TrueLoss
    from lossgap.core.fit import fit as fit
    from lossgap.core.measure import measure as measure
    from lossgap.core.measurement import Measurement as Measurement
    from lossgap.core.measurement import MetricValues as MetricValues
    from lossgap.core.measurement import Part as Part
    from lossgap.core.measurement import Penalty as Penalty
    from lossgap.core.summary import Summary as Summary
    from lossgap.core.summary import summarize as summarize
    from lossgap.errors import LossgapError as LossgapError
    from lossgap.errors import LossgapWarning as LossgapWarning

    __version__: str

_HOMES = {
    "LossgapError": "lossgap.errors",
    "LossgapWarning": "lossgap.errors",
    "Measurement": "lossgap.core.measurement",
    "MetricValues": "lossgap.core.measurement",
    "Part": "lossgap.core.measurement",
    "Penalty": "lossgap.core.measurement",
    "Summary": "lossgap.core.summary",
    "TrueLoss": "lossgap.core.callback",
    "fit": "lossgap.core.fit",
    "measure": "lossgap.core.measure",
    "summarize": "lossgap.core.summary",
}
_PACKAGES = ("mlflow", "ray", "tensorboard", "torch", "wandb")

__all__ = [
    "LossgapError",
    "LossgapWarning",
    "Measurement",
    "MetricValues",
    "Part",
    "Penalty",
    "Summary",
    "TrueLoss",
    "__version__",
    "fit",
    "measure",
    "mlflow",
    "ray",
    "summarize",
    "tensorboard",
    "torch",
    "wandb",
]


if not TYPE_CHECKING:  # else every misspelt name would pass a type checker

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            value: Any = importlib.import_module("importlib.metadata").version("lossgap")
        elif name in _PACKAGES:
            value = importlib.import_module(f"lossgap.{name}")
        elif name in _HOMES:
            value = getattr(importlib.import_module(_HOMES[name]), name)
        else:
            raise AttributeError(f"module 'lossgap' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
