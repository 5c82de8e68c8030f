"""The time that measuring may take, counted while a training runs."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LEAST_SHARE = 0.3  # of what a measurement has without debts
_FIRST_SHARE = 0.5  # of the same, for the first of several: the rest is still to be compiled


class Purse:
    """The time that measuring may take: a fraction of the training's, counted while it runs.

    What a measurement may spend is what is left, shared out over those that follow: where
    their number is known, over the time that the training will probably have taken at its
    end; else over the time so far. Compiling is paid from the same purse; but a debt never
    leaves less than 30 % of what a measurement would have had without it, so that a short
    training, which can't pay for the compilation, is still measured.
    """

    def __init__(
        self,
        fraction: float,
        n_planned: int | None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start the clock.

        Args:
            fraction: Time for measuring, over the time for training.
            n_planned: Measurements of the training; ``None`` where unknown.
            clock: Returns the time in seconds.
        """
        self._fraction = fraction
        self._n_planned = n_planned
        self._clock = clock
        self._began = clock()
        self._spent = 0.0
        self._n_begun = 0
        self._paused_at: float | None = None

    @property
    def training_seconds(self) -> float:
        """Time since the start, less what was spent on measuring."""
        now = self._clock() if self._paused_at is None else self._paused_at
        return max(now - self._began - self._spent, 0.0)

    @property
    def overhead(self) -> float:
        """Time spent on measuring, as a fraction of that of the training so far."""
        training = self.training_seconds
        return self._spent / training if training > 0 else math.inf

    @property
    def n_left(self) -> int | None:
        """Measurements that follow on the one that was begun last."""
        return None if self._n_planned is None else max(self._n_planned - self._n_begun, 0)

    @contextmanager
    def measuring(self, *, counted: bool = True) -> Iterator[None]:
        """Pay for what happens meanwhile; it is a measurement where it is ``counted``."""
        self._paused_at = self._clock()
        self._n_begun += counted
        try:
            yield
        finally:
            self._spent += self._clock() - self._paused_at
            self._paused_at = None

    def settle(self) -> None:
        """Pay for the measurement so far, so that what follows is compared with its share alone."""
        if self._paused_at is not None:
            now = self._clock()
            self._spent += now - self._paused_at
            self._paused_at = now

    def left(self) -> float:
        """Return what is left of the whole training's time for measuring, in seconds."""
        done = max(self._n_begun, 1)
        expected = self.training_seconds * max(self._n_planned or done, done) / done
        running = 0.0 if self._paused_at is None else self._clock() - self._paused_at
        return self._fraction * expected - self._spent - running

    def share(self) -> float:
        """Return what the measurement that was begun may still take, in seconds.

        The first of several takes half of what is fair: what it will have cost to compile
        the rest isn't known yet.
        """
        fair = self._fraction * self.training_seconds / max(self._n_begun, 1)
        running = 0.0 if self._paused_at is None else self._clock() - self._paused_at
        if self._n_begun == 1 and self.n_left:
            return max(_FIRST_SHARE * fair - running, 0.0)
        least = max(_LEAST_SHARE * fair - running, 0.0)
        return max(self.left() / (1 + (self.n_left or 0)), least)
