"""Autologging: every ``fit`` of Keras is measured and logged, without a word in the user's code.

Several trackers may be switched on. Those that ask for the same settings share one
measurement.
"""

import functools
import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from lossgap.core.observers import Observer
from lossgap.core.settings import Settings
from lossgap.errors import LossgapError, LossgapWarning, first_line
from lossgap.redaction import shown
from lossgap.trackers.delivery import Delivery
from lossgap.trackers.protocol import Tracker


def _as_it_is(callbacks: list[Any]) -> list[Any]:
    return callbacks


@dataclass(frozen=True, slots=True)
class Autolog:
    """What one tracker asks of autologging.

    Attributes:
        name: The tracker's name; one of each name is switched on.
        settings: How to measure.
        tracker: Called at the beginning of a ``fit`` with its callbacks. Returns the tracker
            to log to, or ``None`` to leave this fit alone.
        arrange: Has the last word on the order of the callbacks of a ``fit``.
        silent: Whether to print nothing and warn of nothing.
    """

    name: str
    settings: Settings
    tracker: Callable[[list[Any]], Tracker | None]
    arrange: Callable[[list[Any]], list[Any]] = _as_it_is
    silent: bool = False


_OURS: Final = ("lossgap", "keras", "wrapt", "importlib")
_active: dict[str, Autolog] = {}
_inside = threading.local()


def enable(autolog: Autolog) -> None:
    """Switch autologging on for a tracker, now or as soon as Keras is imported."""
    from wrapt import when_imported

    _active[autolog.name] = autolog
    when_imported("keras")(_install)


def disable(name: str) -> None:
    """Switch autologging off for a tracker; without any, Keras is as it was."""
    if _active.pop(name, None) is not None and not _active and "keras" in sys.modules:
        from lossgap.core import every_fit

        every_fit.remove()


def _install(_keras: Any) -> None:
    if not _active:
        return
    try:
        from lossgap.core import every_fit

        every_fit.install(_around)
    except Exception as error:  # noqa: BLE001 - the user's `import keras` must not fail
        _warn(f"autologging could not be switched on. {_reason(error)}")


def _around(fit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``fit`` with measurements among its callbacks; a fit inside a fit is left alone."""
    if getattr(_inside, "a_fit", False):
        return fit(*args, **kwargs)
    _inside.a_fit = True
    try:
        return _measured(fit, *args, **kwargs)
    finally:
        _inside.a_fit = False


def _measured(fit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with ExitStack() as stack:
        bound = _bound(fit, *args, **kwargs)
        if bound is not None and _enter(stack, bound.arguments):
            args, kwargs = bound.args, bound.kwargs
        return fit(*args, **kwargs)


def _bound(fit: Callable[..., Any], *args: Any, **kwargs: Any) -> inspect.BoundArguments | None:
    """Name the arguments; ``None`` for wrong ones, of which ``fit`` itself will tell."""
    with suppress(TypeError, ValueError):
        return inspect.signature(fit).bind(*args, **kwargs)
    return None


def _enter(stack: ExitStack, arguments: dict[str, Any]) -> bool:
    """Put measurements among the callbacks in ``arguments`` until the stack is left.

    Returns:
        Whether they are there. What goes wrong is told, and must not end a training whose user
        didn't ask for us.
    """
    from lossgap.core.fit import put_first

    try:
        wanted = _wanted(arguments)
        if not wanted:
            return False
        measuring = _measuring(wanted, arguments)
        arrange = functools.partial(_arranged, [autolog for autolog, _ in wanted])
        stack.enter_context(_observed(measuring))
        stack.enter_context(put_first([*measuring], arguments, arrange))
    except Exception as error:  # noqa: BLE001 - whatever it is
        stack.close()
        _tell(list(_active.values()), error)
        return False
    return True


def _arranged(autologs: list[Autolog], callbacks: list[Any]) -> list[Any]:
    for autolog in autologs:
        callbacks = autolog.arrange(callbacks)
    return callbacks


def _wanted(arguments: dict[str, Any]) -> list[tuple[Autolog, Tracker]]:
    """Ask who wants to log the fit with these arguments, and where."""
    from lossgap.core.fit import listed

    callbacks = listed(arguments.get("callbacks"))
    wanted = []
    for autolog in list(_active.values()):
        try:
            tracker = autolog.tracker(callbacks)
        except Exception as error:  # noqa: BLE001 - the others are not worse for it
            _tell([autolog], error)
            continue
        if tracker is not None:
            wanted.append((autolog, tracker))
    return wanted


def _tell(asking: list[Autolog], error: Exception) -> None:
    """Warn of what went wrong before a training, or raise it where somebody is strict."""
    if any(autolog.settings.strict for autolog in asking):
        raise error
    if not all(autolog.silent for autolog in asking):
        names = ", ".join(autolog.name for autolog in asking)
        _warn(f"this training goes on without the true loss in {names}. {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, LossgapError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"


def _warn(text: str) -> None:
    """Warn at the line of the user's that called Keras, or us."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] in _OURS:
        level, frame = level + 1, frame.f_back
    warnings.warn(shown(f"lossgap: {text}"), LossgapWarning, stacklevel=level)


def _measuring(
    wanted: list[tuple[Autolog, Tracker]], arguments: dict[str, Any]
) -> dict[Any, Observer | None]:
    """Return the callbacks that measure, and who observes each of them in this fit.

    A TrueLoss of the user's own measures for autologging, too.
    """
    from lossgap.core.callback import TrueLoss
    from lossgap.core.fit import listed

    for callback in listed(arguments.get("callbacks")):
        if isinstance(callback, TrueLoss):
            return {callback: _with(callback.observer, [tracker for _, tracker in wanted])}
    return {callback: callback.observer for callback in _new(wanted)}


@contextmanager
def _observed(measuring: dict[Any, Observer | None]) -> Iterator[None]:
    before = [(callback, callback.observer) for callback in measuring]
    for callback, observer in measuring.items():
        callback.observer = observer
    try:
        yield
    finally:
        for callback, observer in before:
            callback.observer = observer


def _with(observer: Any, trackers: list[Tracker]) -> Delivery:
    """Add trackers to those of the user, who may log to one of the same name already."""
    own = list(getattr(observer, "trackers", ()))
    taken = {tracker.name for tracker in own}
    return Delivery([*own, *(tracker for tracker in trackers if tracker.name not in taken)])


def _new(wanted: list[tuple[Autolog, Tracker]]) -> list[Any]:
    """Return a measurement for each of the settings that are asked for."""
    from lossgap.core.callback import TrueLoss

    groups: dict[Settings, list[tuple[Autolog, Tracker]]] = {}
    for autolog, tracker in wanted:
        groups.setdefault(autolog.settings, []).append((autolog, tracker))
    made = []
    for settings, members in groups.items():
        callback = TrueLoss(**asdict(settings), trackers=[tracker for _, tracker in members])
        callback.lenient = True
        callback.silent = all(autolog.silent for autolog, _ in members)
        made.append(callback)
    return made
