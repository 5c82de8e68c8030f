"""What is done last when the process ends, after other packages have done their part.

Functions of :mod:`atexit` run in the reverse order of their registration. This module is
imported with lossgap itself, so usually before a tracker's client registers its own.
"""

import atexit
from collections.abc import Callable
from contextlib import suppress

_last: list[Callable[[], None]] = []


def at_the_very_end(work: Callable[[], None]) -> None:
    """Call ``work`` when the process ends; what it raises doesn't matter any more."""
    _last.append(work)


def _run() -> None:
    for work in _last:
        with suppress(Exception):
            work()


atexit.register(_run)
