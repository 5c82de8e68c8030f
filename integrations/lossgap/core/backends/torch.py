"""PyTorch: the step batch by batch, without gradients.

PyTorch runs eagerly, in Keras too. What differs from the other backends is that much of
it has a state outside of Keras's variables: the random state that dropout without a seed
draws from, and the buffers, modes and generators of modules.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from keras import ops
from keras.src.backend.torch.core import get_device

from lossgap.core.backends import Loop, Step, iteration
from lossgap.core.backends.iteration import (
    check_dense,
    check_readable,
    divert_random_state,
    is_python,
    is_ragged,
    is_sparse,
    reads_ahead,
)

__all__ = [
    "check_readable",
    "divert_random_state",
    "is_python",
    "is_ragged",
    "is_sparse",
    "reads_ahead",
]


def to_device(leaf: Any) -> Any:
    """Convert an array to a tensor on the device that Keras trains on."""
    check_dense(leaf)
    return ops.convert_to_tensor(leaf)


def to_numpy(leaf: Any) -> np.ndarray:
    """Return the values of an array or a variable. Keras's own way warns with NumPy 2."""
    tensor = ops.convert_to_tensor(leaf).detach().cpu()
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())


def own(leaf: Any) -> Any:
    """Copy a tensor: anyone could write to it."""
    check_dense(leaf)
    return ops.convert_to_tensor(leaf).detach().clone()


def concatenate(leaves: list[Any]) -> Any:
    """Lay tensors end to end; one alone isn't copied."""
    return leaves[0] if len(leaves) == 1 else torch.cat(leaves)


def n_bytes(leaf: Any) -> int:
    """Return the size of a tensor."""
    return int(leaf.numel() * leaf.element_size())


def spec(leaf: Any) -> Any:
    """Return the leaf itself: PyTorch learns about a step by running it."""
    return to_device(leaf)


def any_length(spec: Any) -> Any:
    """Return the spec as it is: a tensor has a number of samples."""
    return spec


def compile_loop(step: Step, specs: list[Any], state: list[Any], reads: list[Any]) -> Loop:
    """Run ``step`` once, so that it is known what it does. Nothing is compiled."""
    del reads  # an eager step reads variables as they are
    loop = eager_loop(step)
    loop(specs, np.array([0, len(specs[0])]), state)
    return loop


def eager_loop(step: Step) -> Loop:
    """Run ``step`` batch by batch, drawing from the random states at the end of ``state``."""

    def loop(
        leaves: list[Any], splits: np.ndarray, state: list[Any]
    ) -> tuple[np.ndarray, list[Any]]:
        n_random = len(_random_states())
        state, random = state[:-n_random], state[-n_random:]
        rows = []
        with torch.no_grad(), _drawing_from(random):
            for start, stop in pairwise(splits.tolist()):
                row, state = step([leaf[start:stop] for leaf in leaves], state)
                rows.append(_stacked(row))
            drawn = _random_states()
        return torch.stack(rows).cpu().numpy().astype(np.float64), [*state, *drawn]

    return loop


def _stacked(row: list[Any]) -> torch.Tensor:
    device = get_device()
    dtype = torch.float32 if str(device).startswith("mps") else torch.float64
    return torch.stack([torch.as_tensor(value, dtype=dtype, device=device) for value in row])


def scope(model: Any) -> AbstractContextManager[None]:
    """Do nothing: a process of PyTorch has its variables to itself."""
    del model
    return nullcontext()


def n_replicas(model: Any) -> int:
    """Return 1: a process of PyTorch trains on one device."""
    del model
    return 1


def replicas(model: Any) -> None:
    """Return nothing: a process of PyTorch measures by itself."""
    del model


def is_chief(model: Any) -> bool:
    """Tell whether this process has the rank 0, where ``torch.distributed`` is in use."""
    del model
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not together or torch.distributed.get_rank() == 0


def runs_eagerly(model: Any) -> bool:
    """Tell whether the model was compiled to run eagerly."""
    return bool(model.run_eagerly)


def random_states(seed: int) -> list[Any]:
    """Return the random states for a seed: of the CPU, and of the device where it is another."""
    return [torch.Generator(kind).manual_seed(seed).get_state() for kind in _devices()]


def _devices() -> list[str]:
    return list(dict.fromkeys(["cpu", str(get_device()).partition(":")[0]]))


def _random_states() -> list[Any]:
    return [module.get_rng_state() for module in _with_random_state()]


@contextmanager
def _drawing_from(states: list[Any]) -> Iterator[None]:
    """Draw from other random states for a while."""
    modules = _with_random_state()
    before = _random_states()
    try:
        _set(modules, states)
        yield
    finally:
        _set(modules, before)


def _set(modules: list[Any], states: list[Any]) -> None:
    for module, state in zip(modules, states, strict=True):
        module.set_rng_state(state)


def _with_random_state() -> list[Any]:
    return [torch if kind == "cpu" else torch.get_device_module(kind) for kind in _devices()]


@contextmanager
def kept(model: Any) -> Iterator[None]:
    """Keep what modules hold beside Keras's variables: modes, tensors, generators."""
    layers = model._flatten_layers()  # not all of them are known to PyTorch as modules
    modules = {id(module): module for layer in layers for module in layer.modules()}
    modes = [(module, module.training) for module in modules.values()]
    holders = [held for module, _ in modes for held in (vars(module), module._buffers)]
    values = [(held, name, value) for held in holders for name, value in held.items()]
    generators = [(v, v.get_state()) for *_, v in values if isinstance(v, torch.Generator)]
    tensors = [
        (held, name, value, value.detach().clone())
        for held, name, value in values
        if isinstance(value, torch.Tensor)
    ]
    try:
        yield
    finally:
        for module, mode in modes:
            if module.training != mode:
                module.training = mode
        for generator, state in generators:
            generator.set_state(state)
        for held, name, value, before in tensors:
            held[name] = value
            if not torch.equal(value, before):
                with torch.no_grad():
                    value.copy_(before)


def settle(model: Any) -> None:
    """Do nothing: the variables are always those of the training."""
    del model


def test_step(model: Any, data: Any) -> Any:
    """Run the model's ``test_step``."""
    with torch.no_grad(), _drawing_from(_random_states()):
        return model.test_step(data)


def can_tap(epoch_iterator: Any) -> bool:
    """Tell that the batches of any fit can be kept."""
    del epoch_iterator
    return True


def tap(epoch_iterator: Any, receive: Callable[[Any], None]) -> Any:
    """Show each batch as the training takes it; what it is like shows with the first one."""
    iteration.tap(epoch_iterator, receive)


def batches(adapter: Any) -> Any:
    """Return the batches that Keras would train on, to be read again and again."""
    return iteration.Rereadable(adapter.get_torch_dataloader, spec)
