"""How a model gets to the workers."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from lossgap.errors import LossgapError, UnsupportedModelError, first_line

_WAY_OUT = (
    "Pass a function that returns the compiled model with its weights, "
    "measure(lambda: load(...), ...): each worker calls it, and imports what it needs."
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a worker makes the model from: the bytes of a file, or a function of the user's."""

    saved: bytes | None
    make: Callable[[], Any] | None

    @classmethod
    def of(cls, model: Any) -> "Recipe":
        """Take a model, the path of a ``.keras`` file, or a function that returns a model.

        Raises:
            UnsupportedModelError: It is something else, or it can't be saved.
        """
        if isinstance(model, str | os.PathLike):
            path = Path(model)
            if not path.is_file():
                raise UnsupportedModelError(
                    f"There is no model file {str(path)!r}. Pass the path of a .keras file that "
                    "model.save(...) wrote."
                )
            return cls(path.read_bytes(), None)
        if isinstance(model, keras.Model):
            return cls(_saved(model), None)
        if callable(model):
            return cls(None, model)
        raise UnsupportedModelError(
            "Expected a compiled keras.Model, the path of a .keras file, or a function that "
            f"returns a model. Received: {type(model).__name__}."
        )

    def model(self) -> Any:
        """Make the model.

        Raises:
            UnsupportedModelError: The file can't be loaded.
        """
        if self.make is not None:
            return self.make()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            path.write_bytes(self.saved or b"")
            try:
                return keras.models.load_model(path)
            except (TypeError, ValueError) as error:
                raise UnsupportedModelError(
                    f"The saved model can't be loaded on a worker ({first_line(error)}). {_WAY_OUT}"
                ) from error


def _saved(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        try:
            model.save(path)
        except LossgapError:
            raise
        except Exception as error:
            raise UnsupportedModelError(
                f"The model {model.name!r} can't be saved for the workers "
                f"({type(error).__name__}: {first_line(error)}). {_WAY_OUT}"
            ) from error
        return path.read_bytes()
