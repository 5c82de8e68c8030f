"""Functions that are named on the command line, and the data that they return."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from lossgap.errors import DataError, InvalidArgumentError, first_line

_KEYS = {"train", "validation"}
_CONTRACT = (
    "(x, y), (x, y, sample_weight), a dataset that can be read again, or "
    '{"train": ..., "validation": ...} of these'
)


@dataclass(frozen=True, slots=True)
class Data:
    """What is measured on.

    Attributes:
        train: Arguments of ``lossgap.measure``: ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.
        validation: Likewise; ``None`` without validation data.
    """

    train: tuple[Any, ...]
    validation: tuple[Any, ...] | None = None


def load_data(name: str, folder: Path) -> Data:
    """Import ``module:function`` from a folder, call it, and check what it returns.

    Raises:
        InvalidArgumentError: There is no such function.
        DataError: It fails, or returns something else than data.
    """
    found = called(name, folder, option="--data")
    if isinstance(found, Mapping):
        if "train" not in found or not set(found) <= _KEYS:
            raise DataError(
                f"Expected {name} to return {_CONTRACT}. Received a dict with the keys "
                f"{', '.join(map(repr, found)) or 'none'}. Inputs by name are x: (x, y)."
            )
        validation = found.get("validation")
        return Data(
            _data(name, found["train"]), None if validation is None else _data(name, validation)
        )
    return Data(_data(name, found))


def _data(name: str, found: Any) -> tuple[Any, ...]:
    if found is None:
        raise DataError(f"Expected {name} to return {_CONTRACT}. Received: None.")
    if not isinstance(found, tuple | list):
        return (found,)
    if len(found) not in (1, 2, 3):
        raise DataError(f"Expected {name} to return {_CONTRACT}. Received {len(found)} values.")
    return tuple(found)


def called(name: str, folder: Path, *, option: str) -> Any:
    """Import ``module:function`` from a folder, and nowhere else, and return what it returns.

    Raises:
        InvalidArgumentError: There is no such function in the folder.
        DataError: The module or the function raises.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise InvalidArgumentError(
            f"Expected {option} to be module:function, such as my_data:training. Received: "
            f"{name!r}."
        )
    function = getattr(_module(module_name, folder, option), function_name, None)
    if not callable(function):
        raise InvalidArgumentError(
            f"The module {module_name} in {folder} has no function {function_name!r}, which "
            f"{option} names."
        )
    try:
        return function()
    except Exception as error:
        raise DataError(f"{name} fails: {type(error).__name__}: {first_line(error)}") from error


def _module(name: str, folder: Path, option: str) -> Any:
    top = name.partition(".")[0]
    place = str(folder.resolve())
    spec = PathFinder.find_spec(top, [place])
    if spec is None:
        raise InvalidArgumentError(
            f"There is no module {top!r} in {folder}. {option} is imported from the current "
            "folder, or from the one that --path names, and from nowhere else."
        )
    known = sys.modules.get(top)
    if known is not None and getattr(known, "__file__", None) != spec.origin:
        raise InvalidArgumentError(
            f"The module {top!r} in {folder} has the name of one that is imported already. Give "
            "the file another name."
        )
    if place not in sys.path:
        sys.path.insert(0, place)  # for what it imports itself
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise DataError(
            f"The module {name} can't be imported: {type(error).__name__}: {first_line(error)}"
        ) from error
