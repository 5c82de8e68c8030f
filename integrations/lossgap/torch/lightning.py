"""A callback for Lightning that logs the true loss through whatever loggers the trainer has."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from lossgap.core import keys
from lossgap.core.measurement import Measurement  # noqa: TC001 - Lightning reads annotations
from lossgap.errors import InvalidArgumentError
from lossgap.extras import require
from lossgap.torch.loading import batches
from lossgap.torch.measuring import measure
from lossgap.torch.passes import Forward

_lightning: Any = require("lightning.pytorch", extra="lightning")
_OWN = "lossgap_loss"


class LightningTrueLoss(_lightning.Callback):  # type: ignore[misc]  # untyped
    """Measures at the end of training epochs, and logs ``true_loss`` and ``regularization_gap``.

    They go out by ``log_dict``, so that every logger of the trainer gets them, and callbacks such
    as ``EarlyStopping`` can monitor them. With several devices each measures its share of the
    data, and the mean is logged.

    The batches are those of ``trainer.train_dataloader``, moved to the device. The module's hooks
    for transferring batches aren't called.

    Args:
        loss_fn: From ``(outputs, targets)`` to the loss, for batches ``(inputs, targets)`` and
            ``module(inputs)``. Without one, the module's method ``lossgap_loss(batch)``, which
            returns the mean loss of a batch on the data alone, and logs nothing.
        forward: For batches of another form; see :func:`lossgap.torch.measure`.
        reported: Name under which the module logs its training loss per epoch. With it there is
            a gap, once the module has logged it.
        every: Measure every so many epochs.
        parts: Whether to find the causes of the gap, which are logged as ``gap_<part>``.
        options: Further arguments of :func:`lossgap.torch.measure`: ``penalty``, ``l1``, ``l2``,
            ``metrics``, ``reduction``, ``seed``.

    Raises:
        MissingDependencyError: Lightning isn't installed.
        InvalidArgumentError: ``every`` isn't a positive number of epochs.

    Example:
        ``Trainer(callbacks=[LightningTrueLoss(torch.nn.CrossEntropyLoss())])``
    """

    def __init__(
        self,
        loss_fn: Callable[..., Any] | None = None,
        *,
        forward: Forward | None = None,
        reported: str = "train_loss",
        every: int = 1,
        parts: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(every, int) or every < 1:
            raise InvalidArgumentError(
                f"Expected `every` to be a number of epochs, 1 or more. Received: {every!r}."
            )
        self._loss_fn = loss_fn
        self._forward = forward
        self._reported = reported
        self._every = every
        self._options = {"parts": parts, **(options or {})}
        self.measurements: list[Measurement] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Check before the training that there is a loss.

        Raises:
            InvalidArgumentError: There is none.
        """
        del trainer
        if self._loss_fn is None and not callable(getattr(pl_module, _OWN, None)):
            raise InvalidArgumentError(
                f"Expected LightningTrueLoss(loss_fn), or a method {_OWN}(batch) of "
                f"{type(pl_module).__name__} that returns the loss on the data. There is neither."
            )

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure, and log."""
        if (trainer.current_epoch + 1) % self._every:
            return
        reported = trainer.callback_metrics.get(self._reported)
        with trainer.precision_plugin.forward_context():
            measured = measure(
                pl_module,
                _Limited(trainer.train_dataloader, trainer.num_training_batches),
                self._loss_fn or (lambda loss, _: loss),
                forward=self._forward if self._loss_fn else _own_loss,
                reported_loss=None if reported is None else float(reported),
                device=pl_module.device,
                epoch=trainer.current_epoch,
                step=trainer.global_step,
                **self._options,
            )
        self.measurements.append(measured)
        values = measured.logs()
        values |= {keys.part(name): part.value for name, part in measured.parts.items()}
        pl_module.log_dict(values, sync_dist=trainer.world_size > 1)


def _own_loss(pl_module: Any, batch: Any) -> tuple[Any, Any]:
    return getattr(pl_module, _OWN)(batch), batch


class _Limited:
    """The batches that the trainer takes of a loader: ``limit_train_batches``."""

    def __init__(self, loader: Any, n_batches: float) -> None:
        self.dataset = loader  # where the random states are looked for
        self._n_batches = n_batches

    def __iter__(self) -> Iterator[Any]:
        limit = None if self._n_batches == float("inf") else int(self._n_batches)
        return islice(batches(self.dataset), limit)
