"""One compiled pass in evaluation mode over any batches, and what its rows mean."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from lossgap.core import backends
from lossgap.core.backends import Loop
from lossgap.core.feeds import Chunk, Feed, splits
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.core.forward import Evaluation, compute_loss_label, looped
from lossgap.core.inspection import depends_on_batches, overrides
from lossgap.core.penalties import Label
from lossgap.errors import LossgapError, UnsupportedModelError, first_line

_ALIKE = 1e-3  # relative; what a test step reports, in whatever precision
_SAME = 1e-5  # relative; sums of float32 in another order differ by less


class Pass:
    """The compiled loop over batches of a feed.

    Attributes:
        evaluation: The step that is repeated.
    """

    def __init__(self, model: Any, feed: Feed, evaluation: Evaluation) -> None:
        """Trace and compile it for a built, compiled model."""
        self._model = model
        self._feed = feed
        self.evaluation = evaluation
        self._loop = self._looped()
        self._checked = not overrides(model, "test_step")
        self._known = not backends.active().runs_eagerly(model)

    def _looped(self) -> Loop:
        state = self.evaluation.initial_state()
        steps = [name for name in ("train_step", "test_step") if overrides(self._model, name)]
        evaluation = self.evaluation
        try:
            return looped(
                self._model,
                evaluation.step,
                self._feed.specs(),
                state,
                evaluation.reads,
                moving=evaluation.moving,
            )
        except (ValueError, TypeError) as error:
            if isinstance(error, LossgapError) or not steps:
                raise
            raise UnsupportedModelError(
                f"The loss of {type(self._model).__name__} on the data as they are fed can't be "
                f"computed ({first_line(error)}). Its {' and '.join(steps)} may make the targets "
                "or change the inputs. Do that in the model's call, in compute_loss, or in the "
                "data, where lossgap sees it too."
            ) from error

    def over(self, chunks: Iterable[Chunk], state: list[Any]) -> tuple[list[np.ndarray], list[Any]]:
        """Go over batches, and return the rows of each chunk and the state after the last."""
        parts = []
        for chunk in chunks:
            rows, state = self._loop(chunk.leaves, chunk.splits, state)
            if not self._checked and len(rows):
                self._checked = True
                leaves = [leaf[: chunk.splits[1]] for leaf in chunk.leaves]
                self._check_test_step(leaves, *self._first(rows))
            parts.append(rows)
        return parts, state

    def means(self, rows: np.ndarray) -> tuple[float, float | None, dict[Label, float]]:
        """Return data loss, data loss under class weights, and penalties, over all samples."""
        counts = rows[:, 0]
        with np.errstate(invalid="ignore"):
            means = iter((counts @ rows[:, 1:] / counts.sum()).tolist())
        data_loss = next(means)
        weighted = next(means) if self._feed.layout.has_class_weights else None
        own = next(means) - data_loss if overrides(self._model, "compute_loss") else None
        penalties = dict(zip(self.evaluation.labels, means, strict=True))
        if own is not None and not np.isclose(own, sum(penalties.values()), rtol=1e-5, atol=1e-7):
            penalties = {compute_loss_label(self._model): own} if own else {}
        return data_loss, weighted, penalties

    def penalties(self, rows: np.ndarray) -> np.ndarray:
        """Return the sum of the penalties for each batch."""
        n_losses = 3 if self._feed.layout.has_class_weights else 2
        if overrides(self._model, "compute_loss"):
            return np.asarray(rows[:, n_losses] - rows[:, 1])
        return np.asarray(rows[:, n_losses:].sum(1))

    def probe(self, leaves: list[Any], n_samples: int) -> None:
        """Run a batch where nothing is traced: what a trace tells of the model shows then."""
        if backends.active().runs_eagerly(self._model):
            self._loop(leaves, splits([n_samples]), self.evaluation.initial_state())
            self._known = True

    def mixes(self, *, metrics: bool) -> bool:
        """Tell whether the batch size may matter, by the code, by the trace and by trying.

        Half batches that give another loss than whole ones show a layer that looks at the
        whole batch.
        """
        if (
            not self._known  # nothing was traced that would tell
            or self.evaluation.mixes_batch
            or depends_on_batches(self._model, metrics=metrics)
            or not isinstance(self._feed, ArrayFeed)  # its batches are those of the training
        ):
            return True
        leaves, size = self._feed.first_batch()
        try:
            whole, halves = (
                self._loop(leaves, splits(sizes), self.evaluation.initial_state())[0]
                for sizes in ([size], [size - size // 2, size // 2])
            )
        except Exception:  # noqa: BLE001 - a model for one batch size alone
            return True
        means = [rows[:, 0] @ rows[:, 1] / size for rows in (whole, halves)]
        return not np.isclose(means[0], means[1], rtol=_SAME, atol=0.0, equal_nan=True)

    def _check_test_step(self, leaves: list[Any], data_loss: float, penalty: float) -> None:
        """Make sure that a ``test_step`` of the model's own reports the compiled loss.

        Else it changes the data or computes another loss, and the compiled loss on the data
        as they are fed means nothing.
        """
        reported = self.evaluation.test_step_loss(leaves, self.evaluation.initial_state())
        expected = data_loss + penalty
        if reported is None or np.isclose(float(reported), expected, rtol=_ALIKE, equal_nan=True):
            return
        name = type(self._model).__name__
        raise UnsupportedModelError(
            f"{name}.test_step reports a loss of {float(reported):.6g} for a batch where the "
            f"compiled loss and the penalties are {expected:.6g}: it changes the data, or computes "
            f"another loss, which lossgap can't follow. Move what it does into {name}.call or "
            f"{name}.compute_loss(x, y, y_pred, sample_weight, training), and call "
            "self.compute_loss(...) in the step."
        )

    def _first(self, rows: np.ndarray) -> tuple[float, float]:
        """Return data loss and penalty of the first batch."""
        return float(rows[0, 1]), float(self.penalties(rows[:1])[0])


def fast_batch_size(model: Any) -> int:
    """Return a batch size at which the cost of starting an operation has faded.

    The outputs of all layers together, where their shapes are known, take 64 MB at the most.
    It is a rule and not the fastest of a trial: the last digits of a loss depend on it, and two
    runs of one script are to agree in all digits.
    """
    elements = 0
    for layer in model._flatten_layers():
        shape = _output_shape(layer)
        elements += int(np.prod([size or 1 for size in shape[1:]])) if shape else 0
    size = _CACHED_ELEMENTS // max(elements, 1)
    return int(2 ** np.clip(np.log2(max(size, 1)) // 1, *np.log2(_BATCH_SIZES)))


_CACHED_ELEMENTS = 16 * 2**20
_BATCH_SIZES = (32, 8192)


def _output_shape(layer: Any) -> tuple[int | None, ...]:
    try:
        output = layer.output
    except (AttributeError, ValueError):  # not called on symbolic tensors, or more than once
        return ()
    shape = getattr(output, "shape", None)
    return tuple(shape) if shape is not None else ()
