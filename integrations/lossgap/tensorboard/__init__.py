"""TensorBoard: event files beside Keras's own, the tab, autologging of every fit."""

from lossgap.tensorboard.autolog import autolog as autolog
from lossgap.tensorboard.tracker import TensorBoardTracker as TensorBoardTracker

__all__ = ["TensorBoardTracker", "autolog"]
