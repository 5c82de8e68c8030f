"""Which modules act in training mode, and the switches for them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from lossgap.core import keys
from lossgap.core.shapley import Setting

_OF_TORCH: Final = "torch.nn.modules."


def mechanism_of(module: nn.Module) -> str | None:
    """Name the mechanism that a module belongs to; ``None`` where it has none.

    PyTorch's own modules are known. A module of another class is ``"other"``: whether it looks
    at ``self.training`` shows when it is switched.
    """
    if isinstance(module, _DropoutNd):
        return keys.DROPOUT if module.p else None
    if isinstance(module, nn.RNNBase):
        return keys.DROPOUT if module.dropout and module.num_layers > 1 else None
    if isinstance(module, nn.MultiheadAttention):
        return keys.DROPOUT if module.dropout else None
    if isinstance(module, nn.RReLU):
        return keys.NOISE
    if isinstance(module, _BatchNorm | _InstanceNorm):
        return keys.BATCH_NORM if module.running_mean is not None else None
    is_of_torch = type(module).__module__.startswith(_OF_TORCH)
    return None if is_of_torch and not module._forward_pre_hooks else keys.OTHER


class Switches:
    """Runs mechanisms in train or evaluation mode, one by one.

    A module that isn't in training mode when it is handed over, such as one that is frozen, is
    left in evaluation mode. Where none of a group is in training mode, all of it is taken.

    Args:
        groups: Modules, submodules included: those of the model, and those of the loss.
    """

    def __init__(self, *groups: Iterable[nn.Module]) -> None:
        self._all = [module for group in groups for module in group]
        trained = [
            module
            for group in map(list, groups)
            for module in ([module for module in group if module.training] or group)
        ]
        named = [(module, mechanism_of(module)) for module in trained]
        self._modules = [(module, name) for module, name in named if name is not None]

    @property
    def candidates(self) -> tuple[str, ...]:
        """Mechanisms that may act, in the order of :data:`lossgap.core.keys.MECHANISMS`."""
        names = {name for _, name in self._modules}
        return tuple(name for name in keys.MECHANISMS if name in names)

    def set_to(self, setting: Setting) -> None:
        """Put the mechanisms of ``setting`` into train mode and all else into evaluation mode.

        The flags alone: a ``train`` or ``eval`` of the user's own may do more.
        """
        for module in self._all:
            module.training = False
        for module, name in self._modules:
            module.training = name in setting


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Let encoder layers run their submodules, which in evaluation mode they otherwise skip."""
    before: Any = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
