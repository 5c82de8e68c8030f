"""Measure a PyTorch model in a training loop of one's own."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lossgap.core import keys
from lossgap.core.measurement import Measurement, MetricValues, Part, Penalty
from lossgap.core.shares import Shares
from lossgap.errors import DataError, InvalidArgumentError, UnsupportedModelError
from lossgap.torch import penalizing
from lossgap.torch.loading import Sample, batches, untouched
from lossgap.torch.mechanisms import Switches
from lossgap.torch.passes import Forward, Metrics, Runner, reduction_of, undisturbed, unwrapped
from lossgap.torch.states import Kept, random_states_kept, seed_all
from lossgap.torch.switching import Switching

_SAMPLE: Final = {"n_samples": 512, "n_batches": 16, "max_bytes": 64 * 2**20}


def measure(
    model: Any,
    loader: Any,
    loss_fn: Callable[..., Any],
    *,
    forward: Forward | None = None,
    reduction: str | None = None,
    penalty: Callable[[Any], Any] | float | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    metrics: Mapping[str, Any] | None = None,
    reported_loss: float | None = None,
    validation: Any = None,
    val_loss: float | None = None,
    parts: bool = True,
    device: Any = None,
    seed: int = 0,
    epoch: int | None = None,
    step: int | None = None,
) -> Measurement:
    """Measure the true loss of a PyTorch model, and what the reported loss adds to it.

    The true loss is the loss on the data alone, with every module in evaluation mode and the
    weights ``w`` as they are now: ``sum_b n_b * L(w, B_b; eval) / N`` over batches ``B_b`` of
    ``n_b`` samples, ``N`` in all. Nothing of the training changes: the mode of each module,
    buffers such as running statistics, parameters, gradients, the random states of Python, NumPy
    and PyTorch, and the generators of the loader and its data set are as before.

    Weight decay in the optimizer (``AdamW(weight_decay=...)``, and in ``SGD`` too) isn't in the
    loss: it adds nothing to the gap, and there is nothing to say of it here. What your loop adds
    to the loss itself is the ``penalty``.

    Args:
        model: The module. Call this with the modes that the training has: a module that is in
            evaluation mode while others train is frozen, and has no part in the gap. Where all
            are in evaluation mode, all are taken to train.
        loader: The ``DataLoader`` of the training, or something else that yields its batches and
            can be read again. Batches are ``(inputs, targets)``, or ``(input_1, ..., targets)``
            for ``model(input_1, ...)``.
        loss_fn: From ``(outputs, targets)`` to the loss, without penalties.
        forward: For batches of another form, or another call of the model: from
            ``(model, batch)`` to ``(outputs, targets)`` or ``(outputs, targets, n_samples)``.
        reduction: What ``loss_fn`` does over a batch. ``"mean"``: batches weigh as many samples
            as they have. ``"sum"``: the sum over all samples is divided by their number.
            ``"none"``: the values of a batch are averaged. By default ``loss_fn.reduction``, and
            ``"mean"`` without one.
        penalty: What the loop adds to the loss: a function of the model, or a number.
        l1: The loop adds ``l1 * sum(|w|)`` over all parameters.
        l2: The loop adds ``l2 * sum(w ** 2)`` over all parameters.
        metrics: By name: functions of ``(outputs, targets)`` that return a mean over the batch,
            or metrics of torchmetrics, of which copies are used.
        reported_loss: The loss that the training reported, as a mean over samples. With it the
            measurement has a gap, and its parts sum to the gap.
        validation: A loader of validation data, for ``true_val_loss``.
        val_loss: The validation loss that the loop reported.
        parts: Whether to find the causes of the gap, by switching modules on a sample of at
            least 16 batches.
        device: Where batches go. By default that of the first parameter.
        seed: Seed of the sample and the random masks that the parts are measured with.
        epoch: Index of the epoch, from 0, for charts and trackers.
        step: Optimizer steps so far, likewise.

    Returns:
        The measurement. NaN and infinity in the loss pass through as such.

    Raises:
        InvalidArgumentError: An argument isn't what is expected.
        UnsupportedModelError: The model isn't a module that can be measured.
        DataError: The loader or its batches can't be read, or are empty.
        MissingDependencyError: PyTorch isn't installed.

    Example:
        >>> import torch, lossgap.torch
        >>> model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(1, 1, bias=False))
        >>> _ = torch.nn.init.constant_(model[1].weight, 2.0)
        >>> loader = [(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [2.0]]))]
        >>> lossgap.torch.measure(model, loader, torch.nn.MSELoss()).true_loss
        2.5
    """
    model = unwrapped(model)
    _check(model, loss_fn, forward, l1, l2)
    begin = time.perf_counter()
    where = torch.device(device) if device is not None else _device(model)
    runner = Runner(model, loss_fn, reduction_of(loss_fn, reduction), forward, where)
    groups = _modules(model, loss_fn)
    switches, counted = Switches(*groups), Metrics(metrics)
    sample = Sample(**_SAMPLE, seed=seed)
    with random_states_kept(), undisturbed(), Kept([*groups[0], *groups[1]]) as kept:
        switches.set_to(frozenset())
        n_total, true_loss = _mean(runner, loader, seed, counted, sample if parts else None)
        found = penalizing.found(model, penalty, l1=l1, l2=l2)
        true_val_loss = None
        if validation is not None:
            kept.reset()
            _, true_val_loss = _mean(runner, validation, seed, None, None)
        values = counted.values()
        shares = None
        if parts:
            shares = penalizing.or_warn(Switching(runner, switches, kept, sample, seed=seed).run)
    return Measurement(
        true_loss=true_loss,
        epoch=epoch,
        step=step,
        reported_loss=_number(reported_loss),
        val_loss=_number(val_loss),
        true_val_loss=true_val_loss,
        parts={} if shares is None else _parts(_number(reported_loss), true_loss, found, shares),
        penalties=found,
        metrics={name: MetricValues(value) for name, value in values.items()},
        n_samples=n_total,
        n_total=n_total,
        seconds=time.perf_counter() - begin,
        precision=_precision(model, where),
    )


def _mean(
    runner: Runner, loader: Any, seed: int, metrics: Metrics | None, sample: Sample | None
) -> tuple[int, float]:
    """Return the number of samples of a loader, and their mean loss."""
    counts, losses = [], []
    seed_all(seed)
    with untouched(loader):
        for batch in batches(loader):
            result = runner.run(batch)
            counts.append(result.n_samples)
            losses.append(result.loss)
            if metrics is not None:
                metrics.add(result)
            if sample is not None:
                sample.offer(batch, result.n_samples)
    if not sum(counts):
        raise DataError(
            f"The loader ({type(loader).__name__}) gave no samples. Is its data set empty, or "
            "smaller than a batch with drop_last=True? Something that can be read only once has to "
            "be a list or a DataLoader."
        )
    weights = torch.tensor(counts, dtype=torch.float64)
    values = torch.stack(losses).cpu().double()
    return int(weights.sum()), float(weights @ values / weights.sum())


def _check(model: Any, loss_fn: Any, forward: Any, *strengths: float) -> None:
    if not isinstance(model, nn.Module):
        raise UnsupportedModelError(
            f"Expected `model` to be a torch.nn.Module. Received: {type(model).__name__}. For a "
            "Keras model: lossgap.measure(model, x, y)."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise UnsupportedModelError(
            "A ScriptModule can't be measured: its modules can't be switched one by one. Pass the "
            "module that it was made of."
        )
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise UnsupportedModelError(
            "The model has parameters without a shape yet (lazy modules). Run a batch through it "
            "before it is measured."
        )
    if not callable(loss_fn) or isinstance(loss_fn, type):
        hint = f"{loss_fn.__name__}()" if isinstance(loss_fn, type) else "torch.nn.MSELoss()"
        raise InvalidArgumentError(
            "Expected `loss_fn` to be a function of (outputs, targets), such as "
            f"{hint}. Received: {loss_fn!r}."
        )
    if forward is not None and not callable(forward):
        raise InvalidArgumentError(
            "Expected `forward` to be a function of (model, batch) that returns (outputs, "
            f"targets). Received: {forward!r}."
        )
    for name, strength in zip(("l1", "l2"), strengths, strict=True):
        if not isinstance(strength, int | float):
            raise InvalidArgumentError(
                f"Expected `{name}` to be a number, such as 1e-4. Received: {strength!r}. Pass "
                "other penalties as penalty=lambda model: ..."
            )


def _modules(model: Any, loss_fn: Any) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return the modules of the model, and those that the loss function has beside them."""
    known = list(model.modules())
    ids = {id(module) for module in known}
    of_loss = loss_fn.modules() if isinstance(loss_fn, nn.Module) else ()
    return known, [module for module in of_loss if id(module) not in ids]


def _device(model: Any) -> torch.device:
    held = next(model.parameters(), None)
    held = next(model.buffers(), None) if held is None else held
    return torch.device("cpu") if held is None else held.device


def _precision(model: Any, device: torch.device) -> str:
    if torch.is_autocast_enabled(device.type):
        return f"mixed_{str(torch.get_autocast_dtype(device.type)).removeprefix('torch.')}"
    dtypes = [p.dtype for p in model.parameters() if p.is_floating_point()]
    return str(dtypes[0] if dtypes else torch.get_default_dtype()).removeprefix("torch.")


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _parts(
    reported: float | None, true_loss: float, penalties: tuple[Penalty, ...], shares: Shares
) -> dict[str, Part]:
    """Return the parts in order. ``drift`` is the rest, so that they sum to the gap."""
    found = {}
    if penalties:
        found[keys.PENALTY] = Part(sum(penalty.value for penalty in penalties))
    found |= shares.parts
    if reported is not None:
        explained = sum(part.value for part in found.values())
        found[keys.DRIFT] = Part(reported - true_loss - explained, shares.total.standard_error)
    return found
