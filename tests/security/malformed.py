"""Feeds damaged inputs to the readers, and counts what comes of them.

A reader may read an input, or refuse it with a ``LossgapError``. Anything else is a fault: another
exception, an input on which it hangs, or a result that can't be drawn. What is read is drawn as
``lossgap report`` draws it, since odd numbers break a page, not a parser.

An input is told by its reader, the seed and its number: that is all it takes to make it again.
"""

import random
import signal
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

from lossgap.charts import report
from lossgap.errors import LossgapError

HANGING = 60
"""Seconds after which an input counts as one on which a reader hangs."""


@dataclass(slots=True)
class Figures:
    """What became of the inputs of one reader."""

    reader: str
    n_read: int = 0
    n_refused: int = 0
    faults: list = field(default_factory=list)
    refusals: Counter = field(default_factory=Counter)

    @property
    def n_tried(self):
        """How many inputs there were."""
        return self.n_read + self.n_refused + len(self.faults)

    def __str__(self):
        return (
            f"{self.reader:<34} {self.n_tried:>7,} tried {self.n_read:>7,} read "
            f"{self.n_refused:>7,} refused {len(self.faults):>4,} faults"
        )


def choosing(target, seed, number):
    """Return what decides about one input."""
    return random.Random(f"{seed} {target.name} {number}")


def attack(target, n, *, seed=0, numbers=None):
    """Feed ``n`` inputs to a reader.

    Args:
        target: One of :mod:`targets`, in a folder of its own.
        n: How many; the first quarter are cuts, spread evenly over the whole of the input.
        seed: Of the damage.
        numbers: Which of them; all by default.

    Returns:
        The figures. A fault is a pair: the number of the input, and a traceback.
    """
    figures = Figures(target.name)
    for number in range(n) if numbers is None else numbers:
        choose = choosing(target, seed, number)
        n_cuts = n // 4
        cut = number / n_cuts if number < n_cuts else None
        place = target.make(choose, cut)
        try:
            with _no_longer_than(HANGING):
                result = target.read(place)
                if result:
                    figures.n_read += 1
                    target.use(result)
                else:
                    figures.n_refused += 1
        except LossgapError as error:
            figures.n_refused += 1
            figures.refusals[str(error)[-40:]] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            figures.faults.append((number, traceback.format_exc(limit=-8)))
    return figures


def draw(runs):
    """Draw runs as the page of ``lossgap report`` does."""
    page = report.to_html(runs)
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@contextmanager
def _no_longer_than(seconds):
    def give_up(*_):
        raise TimeoutError(f"no answer after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
