"""What can go wrong, as exceptions and warnings.

Every exception is a :class:`LossgapError` and also the standard type that a
caller would expect, so that both ``except LossgapError`` and ``except ValueError``
work.
"""

from lossgap.redaction import shown


class LossgapError(Exception):
    """Root of all errors that lossgap raises."""


class InvalidArgumentError(LossgapError, ValueError):
    """An argument has a value that lossgap can't work with."""


class DataError(LossgapError, ValueError):
    """The data handed to lossgap can't be measured: lengths, structure or kind."""


class UnsupportedModelError(LossgapError, TypeError):
    """The model has no loss on the data that lossgap can compute correctly."""


class UnsupportedBackendError(LossgapError, NotImplementedError):
    """The active Keras backend is one that lossgap doesn't measure on."""


class MissingDependencyError(LossgapError, ImportError):
    """An optional package is needed and isn't installed."""


class TrackerError(LossgapError, RuntimeError):
    """A tracker failed in a training that was asked to be strict; its traceback is a note."""


class LossgapWarning(UserWarning):
    """A number is absent or needs care; training goes on."""


def first_line(error: BaseException) -> str:
    """Return what may be shown of the first line of an error's text.

    Errors of clients hold addresses, and these hold passwords; see :func:`~.redaction.shown`.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - what can't even say what it is must not fail once more
        text = ""
    lines = [line for line in shown(text).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
