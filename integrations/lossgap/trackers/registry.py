"""The trackers by name."""

import importlib
from collections.abc import Iterable
from typing import Any, Final

from lossgap.errors import InvalidArgumentError
from lossgap.trackers.protocol import Tracker

_CLASSES: Final[dict[str, str]] = {
    "mlflow": "lossgap.mlflow:MLflowTracker",
    "tensorboard": "lossgap.tensorboard:TensorBoardTracker",
    "wandb": "lossgap.wandb:WandbTracker",
}


def register(name: str, path: str) -> None:
    """Make a tracker class known by a name, as those of lossgap are.

    Args:
        name: What users write: ``TrueLoss(trackers="name")``.
        path: Where the class is, ``"module:Class"``. It is imported when it is first used, and
            called without arguments. Its ``name`` is this name.

    Raises:
        InvalidArgumentError: The path has another form.
    """
    module, _, attribute = path.partition(":")
    if not (module and attribute):
        raise InvalidArgumentError(
            f'Expected where the tracker\'s class is, "module:Class". Received: {path!r}.'
        )
    _CLASSES[name] = path


def names() -> list[str]:
    """Return the names of all trackers."""
    return sorted(_CLASSES)


def tracker_class(name: str) -> type[Tracker]:
    """Return the class of the tracker ``name``.

    Raises:
        InvalidArgumentError: There is no tracker of this name.
        MissingDependencyError: Its package isn't installed.
    """
    if name not in _CLASSES:
        raise InvalidArgumentError(
            f"Expected the name of a tracker: {', '.join(map(repr, names()))}. Received: {name!r}."
        )
    module, _, attribute = _CLASSES[name].partition(":")
    found: type[Tracker] = getattr(importlib.import_module(module), attribute)
    return found


def resolve(trackers: Any) -> list[Tracker]:
    """Turn what the user passed as ``trackers`` into trackers.

    Args:
        trackers: A tracker or the name of one, or several of them.

    Raises:
        InvalidArgumentError: Something is neither, or stands there twice.
        MissingDependencyError: The package of a tracker isn't installed.
    """
    several = isinstance(trackers, Iterable) and not isinstance(trackers, str | bytes | Tracker)
    given = list(trackers) if several else [trackers]
    for index, item in enumerate(given):
        if any(
            item is other or (isinstance(item, str) and item == other) for other in given[:index]
        ):
            raise InvalidArgumentError(
                f"Received a tracker twice among `trackers`: {item!r}. Pass it once."
            )
    return [_resolve(item) for item in given]


def _resolve(item: Any) -> Tracker:
    if isinstance(item, str):
        return tracker_class(item)()
    if isinstance(item, type) or not isinstance(item, Tracker):
        raise InvalidArgumentError(
            "Expected a tracker, which has name, start, log and finish, or a name: "
            f"{', '.join(map(repr, names()))}. Received: {item!r}."
        )
    return item
