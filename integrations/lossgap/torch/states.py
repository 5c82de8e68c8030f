"""What running a model changes beside its result, put back afterwards.

The modules work on copies of their buffers for the time being. The tensors of the training
aren't written to, not even to put a value back: their version counters, which a backward pass
looks at, stay too.
"""

import random
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import numpy as np
import torch
from torch import nn

from lossgap.errors import UnsupportedModelError

_CONTAINERS: Final = (list, dict, OrderedDict, set, deque)
_GENERATORS: Final = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_TRAINING: Final = "training"
_BUFFERS: Final = "_buffers"  # their values are copied one by one


class Kept:
    """Keeps modes, buffers and attributes of modules, and the random states in them.

    Args:
        modules: All of them, submodules included.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._modules = list(modules)
        self._originals: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._containers: list[tuple[Any, Any]] = []
        self._snapshots: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._copies: dict[int, tuple[torch.Tensor, torch.Tensor, int]] = {}
        self._parameters: list[tuple[torch.nn.Parameter, int]] = []
        self._generators = Generators([vars(module) for module in self._modules])

    def __enter__(self) -> Self:
        """Let the modules work on copies."""
        holders = [held for m in self._modules for held in (vars(m), m._buffers)]
        self._originals = [(held, dict(held)) for held in holders]
        self._containers = [
            (value, _contents(value))
            for held in holders
            for name, value in held.items()
            if type(value) in _CONTAINERS and name != _BUFFERS
        ]
        self._parameters = [
            (p, p._version) for m in self._modules for p in m._parameters.values() if p is not None
        ]
        for held, before in self._originals:
            for name, value in before.items():
                if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                    held[name] = self._copy(value)
        self._snapshots = [(held, dict(held)) for held in holders]
        return self

    def _copy(self, tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in self._copies:  # modules may share one
            copy = tensor.detach().clone()
            self._copies[id(tensor)] = (tensor, copy, copy._version)
        return self._copies[id(tensor)][1]

    def reset(self) -> None:
        """Put the copies and attributes back to what they were; modes stay."""
        self._put_back(self._snapshots, modes=False)
        for key, (original, copy, version) in self._copies.items():
            if copy._version != version:
                with torch.no_grad():
                    copy.copy_(original)
                self._copies[key] = (original, copy, copy._version)

    def reset_generators(self) -> None:
        """Put back the random states of the modules' own generators."""
        self._generators.put_back()

    def __exit__(self, *error: object) -> None:
        """Put everything back.

        Raises:
            UnsupportedModelError: A module wrote to its parameters.
        """
        self._put_back(self._originals, modes=True)
        self._generators.put_back()
        changed = sum(p._version != version for p, version in self._parameters)
        if changed and error[0] is None:
            raise UnsupportedModelError(
                f"{changed} parameters of the model changed while it was measured: a module writes "
                "to its parameters in its forward. They keep what was written, so this training "
                "isn't what it would have been. Take the writing out of forward to measure it."
            )

    def _put_back(
        self, states: list[tuple[dict[str, Any], dict[str, Any]]], *, modes: bool
    ) -> None:
        for held, before in states:
            for name in [name for name in held if name not in before]:
                del held[name]
            for name, value in before.items():
                if held.get(name, self) is not value and (modes or name != _TRAINING):
                    held[name] = value
        for container, contents in self._containers:
            if (container or contents) and not _same(_contents(container), contents):
                container.clear()
                (container.extend if isinstance(container, list | deque) else container.update)(
                    contents
                )


def _contents(container: Any) -> Any:
    return dict(container) if isinstance(container, dict) else list(container)


def _same(one: Any, other: Any) -> bool:
    """Tell whether two containers hold the very same objects."""
    if isinstance(one, dict):
        return list(one) == list(other) and _same(list(one.values()), list(other.values()))
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


class Generators:
    """The random generators that stand in attributes.

    Args:
        holders: Attributes by name.
    """

    def __init__(self, holders: Iterable[dict[str, Any]]) -> None:
        found = [v for held in holders for v in held.values() if isinstance(v, _GENERATORS)]
        self._states = [(generator, _state(generator)) for generator in found]

    def put_back(self) -> None:
        """Put their states back."""
        for generator, state in self._states:
            _set_state(generator, state)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Put back the random states of Python, NumPy, PyTorch and its accelerators."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what loops draw from
    cpu = torch.get_rng_state()
    devices = _accelerators()
    states = [
        (device, index, device.get_rng_state(index))
        for device in devices
        for index in range(device.device_count())
    ]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        for device, index, state in states:
            device.set_rng_state(state, index)


def seed_all(seed: int) -> None:
    """Seed Python, NumPy, PyTorch's CPU and the accelerators that are in use.

    ``torch.manual_seed`` isn't used: it would also seed an accelerator that a program only
    begins to use later.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    for device in _accelerators():
        device.manual_seed_all(seed)


def moved_from(seed: int) -> bool:
    """Tell whether something drew from the shared random states since :func:`seed_all`."""
    now = [_fingerprint(state) for state in _shared_states()]
    with random_states_kept():
        seed_all(seed)
        return now != [_fingerprint(state) for state in _shared_states()]


def _shared_states() -> list[Any]:
    states: list[Any] = [random.getstate(), np.random.get_state()]  # noqa: NPY002
    states.append(torch.get_rng_state())
    for device in _accelerators():
        states += [device.get_rng_state(index) for index in range(device.device_count())]
    return states


def _fingerprint(state: Any) -> bytes:
    if isinstance(state, torch.Tensor):
        return bytes(state.numpy())
    return repr([x.tolist() if isinstance(x, np.ndarray) else x for x in state]).encode()


def _accelerators() -> list[Any]:
    """Return the modules of the accelerators in use; one that isn't stays as it is."""
    modules = [getattr(torch, name, None) for name in ("cuda", "xpu")]
    return [module for module in modules if module is not None and module.is_initialized()]
