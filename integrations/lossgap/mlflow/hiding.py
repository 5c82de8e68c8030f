"""MLflow's own callbacks see the logs of a training as they are without lossgap.

Its autologging logs all that stands in the logs, and writes it to event files. Our numbers
reach the run by our own way, under names of their own.
"""

from itertools import groupby
from typing import Any

import keras

from lossgap.core.callback import TrueLoss


def hide(callbacks: list[Any]) -> list[Any]:
    """Take our numbers out of the logs in front of MLflow's callbacks, and put them back behind.

    Args:
        callbacks: Of a fit that is about to begin.
    """
    measuring = [callback for callback in callbacks if isinstance(callback, TrueLoss)]
    restores = any(getattr(callback, "restore_best_weights", False) for callback in callbacks)
    arranged: list[Any] = []
    for of_mlflow, group in groupby(callbacks, _is_of_mlflow):
        if of_mlflow:
            taking = _Take(measuring)
            arranged += [taking, *group, _PutBack(taking, restores=restores)]
        else:
            arranged += group
    return arranged


def _is_of_mlflow(callback: Any) -> bool:
    return any(owner.__module__.startswith("mlflow.") for owner in type(callback).__mro__)


class _Take(keras.callbacks.Callback):
    def __init__(self, measuring: list[TrueLoss]) -> None:
        super().__init__()
        self._measuring = measuring
        self.taken: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del epoch
        ours = {name for one in self._measuring for m in one.measurements[-1:] for name in m.logs()}
        logs = {} if logs is None else logs
        self.taken = {name: logs.pop(name) for name in list(logs) if name in ours}


class _PutBack(keras.callbacks.Callback):
    def __init__(self, taking: _Take, *, restores: bool) -> None:
        super().__init__()
        self._taking = taking
        self._restores = restores

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del epoch
        if logs is not None:
            logs.update(self._taking.taken)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Take our numbers out of a history that MLflow is about to log as a whole.

        It does so after an early stop that put the best weights back.
        """
        del logs
        if self.model.stop_training and self._restores:
            history = getattr(getattr(self.model, "history", None), "history", {})
            for name in self._taking.taken:
                history.pop(name, None)
