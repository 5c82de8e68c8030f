"""What a running ``fit`` was called with, for a callback that isn't told by Keras.

Keras hands callbacks neither the training data nor the class weights. They stand in the
local variables of the running ``fit``, after its own ``validation_split``: the very
samples that are trained on. They are read from there, and never changed.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keras.src.trainers.epoch_iterator import EpochIterator

from lossgap.core import backends

if TYPE_CHECKING:
    from types import FrameType

# `fit` calls its callbacks through a callback list: a few frames, never this many.
_MAX_DEPTH = 40


@dataclass(frozen=True, slots=True)
class FitCall:
    """The arguments of a running ``fit``, after ``validation_split``.

    Attributes:
        x: Training inputs.
        y: Training targets.
        sample_weight: Weights of the training samples.
        class_weight: Weights of the classes.
        batch_size: Batch size of the training; ``None`` where the data come in batches.
        steps_per_epoch: Batches in an epoch, where ``fit`` was told.
        epoch_iterator: Keras's iterator over the training data.
        validation_batch_size: Batch size of the validation; ``None`` for the training's.
        shuffle: Whether batches are drawn at random.
        validation: ``(x, y, sample_weight)``, or ``None`` without validation.
        validation_steps: Batches in a validation, where ``fit`` was told.
        validation_split: The fraction that was cut off for validation.
        callbacks: All callbacks of the fit, in the order in which Keras calls them.
        n_replicas: Devices that each batch is split among.
    """

    x: Any = None
    y: Any = None
    sample_weight: Any = None
    class_weight: Any = None
    batch_size: int | None = None
    steps_per_epoch: int | None = None
    epoch_iterator: Any = None
    validation_batch_size: int | None = None
    shuffle: bool = True
    validation: tuple[Any, Any, Any] | None = None
    validation_steps: int | None = None
    validation_split: float = 0.0
    callbacks: tuple[Any, ...] = ()
    n_replicas: int = 1

    @property
    def covers_arrays(self) -> bool:
        """Whether an epoch goes over all samples of the arrays, and once."""
        adapter = self.epoch_iterator.data_adapter
        return self.steps_per_epoch in (None, adapter.num_batches)

    @classmethod
    def running(cls, model: Any) -> "FitCall | None":
        """Return the call of ``model.fit`` that is running now, or ``None``."""
        frame: FrameType | None = sys._getframe(1)
        for _ in range(_MAX_DEPTH):
            if frame is None:
                return None
            names = frame.f_locals if frame.f_code.co_name == "fit" else {}
            if names.get("self") is model and isinstance(
                names.get("epoch_iterator"), EpochIterator
            ):
                return cls._from_locals(names)
            frame = frame.f_back
        return None

    @classmethod
    def _from_locals(cls, names: Any) -> "FitCall":
        validation = None
        if names.get("validation_data") is not None:
            validation = (names["val_x"], names["val_y"], names["val_sample_weight"])
        return cls(
            x=names["x"],
            y=names["y"],
            sample_weight=names["sample_weight"],
            class_weight=names["class_weight"],
            batch_size=names["epoch_iterator"].data_adapter.batch_size,
            steps_per_epoch=names["steps_per_epoch"],
            epoch_iterator=names["epoch_iterator"],
            validation_batch_size=names["validation_batch_size"],
            shuffle=bool(names["shuffle"]),
            validation=validation,
            validation_steps=names["validation_steps"],
            validation_split=float(names["validation_split"] or 0.0),
            callbacks=tuple(names["callbacks"].callbacks),
            n_replicas=backends.active().n_replicas(names["self"]),
        )
