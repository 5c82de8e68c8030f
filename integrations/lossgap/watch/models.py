"""From a checkpoint to a model with its weights; one model serves all that are built alike."""

import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lossgap.errors import LossgapError, UnsupportedModelError, first_line
from lossgap.watch.checkpoints import MODEL, WEIGHTS
from lossgap.watch.functions import called

_IDS = "shared_object_id"  # an address in memory, another one in each process


class Models:
    """Loads checkpoints.

    Args:
        architecture: For weights without a model: ``module:function`` that returns a compiled
            model, or a ``.keras`` file.
        folder: Where the module is.
    """

    def __init__(self, architecture: str | None, folder: Path) -> None:
        self._architecture = architecture
        self._folder = folder
        self._model: Any = None
        self._config: Any = None

    def load(self, path: Path) -> Any:
        """Return a compiled model with the weights of a checkpoint.

        Nothing in the file is run: a model with code in it is refused. Classes of the user's own
        have to be registered, by the module of the data, which is imported first.

        Raises:
            LossgapError: It can't be loaded; the text says why.
        """
        if path.name.endswith(WEIGHTS):
            return self._with_weights(path)
        config = _config(path)
        if self._model is None or config != self._config:
            self._model, self._config = _loaded(path), config
        else:
            _load_weights(self._model, path)
        return self._model

    def _with_weights(self, path: Path) -> Any:
        if self._architecture is None:
            raise LossgapError(
                f"{path.name} holds weights alone. Say what model they belong to: --model "
                "module:function, which returns it compiled, or --model FILE.keras."
            )
        if self._model is None:
            if self._architecture.endswith(MODEL):
                self._model = _loaded(Path(self._architecture))
            else:
                self._model = called(self._architecture, self._folder, option="--model")
        if not hasattr(self._model, "load_weights"):
            raise UnsupportedModelError(
                f"Expected {self._architecture} to return a compiled Keras model. Received: "
                f"{type(self._model).__name__}."
            )
        _load_weights(self._model, path)
        return self._model


def _config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return _without_ids(json.loads(archive.read("config.json")))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, RecursionError) as error:
        raise LossgapError(
            f"{path.name} is no whole .keras file ({type(error).__name__}: {first_line(error)})."
        ) from error


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ids(item) for key, item in value.items() if key != _IDS}
    return [_without_ids(item) for item in value] if isinstance(value, list) else value


@contextmanager
def _optimizer_unseen() -> Iterator[None]:
    """Keep Keras from warning of an optimizer that it can't restore: none is needed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
        yield


def _loaded(path: Path) -> Any:
    import keras

    try:
        with _optimizer_unseen():
            return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:
        raise LossgapError(
            f"Keras can't load {path.name} ({type(error).__name__}: {first_line(error)}). Classes "
            "of your own have to be registered (keras.saving.register_keras_serializable) in the "
            "module that --data names. Files with code in them, such as Lambda layers, aren't "
            "loaded: save the weights alone, and name the model with --model."
        ) from error


def _load_weights(model: Any, path: Path) -> None:
    try:
        with _optimizer_unseen():
            model.load_weights(path)
    except Exception as error:
        raise LossgapError(
            f"The weights in {path.name} don't fit the model ({type(error).__name__}: "
            f"{first_line(error)})."
        ) from error
