"""One batch and one loss function: from a loader's batch to a loss for each sample."""

import copy
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import torch
from torch import nn

from lossgap.errors import DataError, InvalidArgumentError
from lossgap.torch.loading import moved, tensors

Reduction = Literal["mean", "sum", "none"]
Forward = Callable[[Any, Any], tuple[Any, ...]]

REDUCTIONS: Final = ("mean", "sum", "none")
_INPUTS_AND_TARGETS: Final = 2


@dataclass(frozen=True, slots=True)
class Result:
    """One batch, run through the model.

    Attributes:
        n_samples: Samples in it.
        loss: Mean loss of a sample, a scalar on the model's device.
        outputs: What the model returned.
        targets: The targets.
    """

    n_samples: int
    loss: torch.Tensor
    outputs: Any
    targets: Any


@dataclass(frozen=True, slots=True)
class Runner:
    """Computes the loss of batches.

    Attributes:
        model: The module.
        loss_fn: From outputs and targets to a loss.
        reduction: What the loss is over a batch.
        forward: From model and batch to outputs and targets; ``None`` for ``model(*inputs)``.
        device: Where the batches go.
    """

    model: Any
    loss_fn: Callable[..., Any]
    reduction: Reduction
    forward: Forward | None
    device: torch.device

    def run(self, batch: Any) -> Result:
        """Compute the loss of a batch, in the modes that the modules are in.

        Raises:
            DataError: The batch has another form, or the loss isn't what its reduction says.
        """
        batch = moved(batch, self.device)
        outputs, targets, n = self._forwarded(batch)
        if n is None:
            first = next((t for t in tensors(targets) if t.ndim), None)
            if first is None:
                raise DataError(
                    "The number of samples in a batch is the first dimension of its targets, and "
                    f"these have none ({type(targets).__name__}). Return it as the third value of "
                    "`forward`."
                )
            n = len(first)
        return Result(int(n), self._per_sample(self.loss_fn(outputs, targets), n), outputs, targets)

    def _forwarded(self, batch: Any) -> tuple[Any, Any, int | None]:
        if self.forward is not None:
            found = self.forward(self.model, batch)
            if not isinstance(found, tuple | list) or len(found) not in (2, 3):
                raise DataError(
                    "Expected `forward` to return (outputs, targets) or (outputs, targets, "
                    f"n_samples). Received: {type(found).__name__}."
                )
            return found[0], found[1], found[2] if len(found) > _INPUTS_AND_TARGETS else None
        if not isinstance(batch, tuple | list) or len(batch) < _INPUTS_AND_TARGETS:
            raise DataError(
                "Expected batches (inputs, targets), or (input_1, input_2, ..., targets) for a "
                f"model of several inputs. Received: {type(batch).__name__}. For any other form "
                "pass forward=lambda model, batch: (outputs, targets)."
            )
        *inputs, targets = batch
        return self.model(*inputs), targets, None

    def _per_sample(self, loss: Any, n_samples: int) -> torch.Tensor:
        loss = torch.as_tensor(loss, device=self.device).detach()
        if self.reduction == "none" or (self.reduction == "mean" and loss.ndim):
            return loss.mean()
        if loss.numel() != 1:
            raise DataError(
                'Expected one number from `loss_fn` with reduction="sum". Received a tensor of '
                f"shape {tuple(loss.shape)}."
            )
        loss = loss.reshape(())
        return loss / n_samples if self.reduction == "sum" else loss


def reduction_of(loss_fn: Any, given: str | None) -> Reduction:
    """Return what a loss function does over a batch: as given, as it says itself, or the mean.

    Raises:
        InvalidArgumentError: There is no such reduction.
    """
    found = given
    if found is None:
        keywords = loss_fn.keywords if isinstance(loss_fn, functools.partial) else {}
        found = keywords.get("reduction", getattr(loss_fn, "reduction", "mean"))
        found = found if found in REDUCTIONS else "mean"
    if found in REDUCTIONS:
        return cast("Reduction", found)
    raise InvalidArgumentError(
        f"Expected `reduction` to be one of {', '.join(map(repr, REDUCTIONS))}, or None to ask the "
        f"loss function. Received: {given!r}."
    )


class Metrics:
    """Means of functions over samples, and metrics that count for themselves.

    Args:
        metrics: By name: functions of outputs and targets that return a mean over the batch, or
            objects with ``reset``, ``update`` and ``compute``, such as those of torchmetrics, of
            which copies are used.
    """

    def __init__(self, metrics: Mapping[str, Any] | None) -> None:
        self._means: dict[str, Any] = {}
        self._counting: dict[str, Any] = {}
        self._rows: dict[str, list[tuple[int, Any]]] = {}
        for name, metric in (metrics or {}).items():
            if all(hasattr(metric, verb) for verb in ("reset", "update", "compute")):
                self._counting[name] = copy.deepcopy(metric)
                self._counting[name].reset()
            elif callable(metric):
                self._means[name] = metric
                self._rows[name] = []
            else:
                raise InvalidArgumentError(
                    "Expected `metrics` to have functions of (outputs, targets) by name, or "
                    f"metrics of torchmetrics. Received for {name!r}: {type(metric).__name__}."
                )

    def add(self, result: Result) -> None:
        """Take the outputs of a batch."""
        for metric in self._counting.values():
            metric.update(result.outputs, result.targets)
        for name, metric in self._means.items():
            value = metric(result.outputs, result.targets)
            if isinstance(value, torch.Tensor):
                value = value.detach().double().mean() if value.ndim else value.detach()
            self._rows[name].append((result.n_samples, value))

    def values(self) -> dict[str, float]:
        """Return the values over all batches, those with more than one number left out."""
        found = {}
        for name, rows in self._rows.items():
            n_total = sum(n for n, _ in rows)
            found[name] = sum(n * float(value) for n, value in rows) / n_total
        for name, metric in self._counting.items():
            value = metric.compute()
            if not isinstance(value, torch.Tensor) or value.numel() == 1:
                found[name] = float(value)
        return found


@contextmanager
def undisturbed() -> Iterator[None]:
    """Compute without gradients, without compiling, and without a trace in autocast's cache.

    No inference mode: what a module keeps of such a pass couldn't be used in training.
    """
    # Without its compiler, which takes seconds to import, nothing can be compiled.
    is_compiling = "torch._dynamo" in sys.modules
    eager = torch.compiler.set_stance("force_eager") if is_compiling else nullcontext()
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.no_grad(), eager:
            yield
    finally:
        torch.set_autocast_cache_enabled(cached)


def unwrapped(model: Any) -> Any:
    """Return the module inside of wrappers that would talk to other processes or devices."""
    while isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        model = model.module
    return model
