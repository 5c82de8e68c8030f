"""Intervals that hold at every sample size at once: for those who watch and stop."""

import math
from dataclasses import dataclass, field

import numpy as np

from lossgap.core.estimates.intervals import LEVEL

_MOST_BOLD = 0.5  # the largest bet
_PRIOR_MEAN, _PRIOR_VARIANCE = 0.5, 0.25  # before the first value, in units of the range


@dataclass(slots=True)
class ConfidenceSequence:
    r"""An empirical-Bernstein confidence sequence for a mean, sampling without replacement.

    Of :math:`N` numbers in :math:`[0, 1]` with the mean :math:`\mu`, the first :math:`t` in
    random order are known, with the sums :math:`S_i`. For bets :math:`\lambda_i` and guesses
    :math:`\hat\mu_{i-1}` that depend on what came before them alone,

    .. math:: \frac{\sum_{i \le t} \lambda_i \left(x_i + \frac{S_{i-1}}{N-i+1}\right)}
                   {\sum_{i \le t} \lambda_i \frac{N}{N-i+1}} \pm
              \frac{\log(2/\alpha) + \sum_{i \le t} (x_i - \hat\mu_{i-1})^2
                    \left(-\log(1-\lambda_i) - \lambda_i\right)}
                   {\sum_{i \le t} \lambda_i \frac{N}{N-i+1}}

    holds :math:`\mu` for all :math:`t` at once with probability :math:`1 - \alpha`, whatever the
    numbers are. So does the intersection of all that came so far, which is returned, cut to what
    the known numbers leave possible: :math:`[S_t, S_t + N - t] / N`. It is wider than an
    interval for one sample size, and may be looked at as often as one likes.

    Attributes:
        n_total: :math:`N`.
        low: The smallest value that a number may have.
        high: The largest.
        level: :math:`1 - \alpha`.

    References:
        I. Waudby-Smith and A. Ramdas, "Confidence sequences for sampling without
        replacement", Advances in Neural Information Processing Systems 33, 2020, section 3.
    """

    n_total: int
    low: float
    high: float
    level: float = LEVEL
    _n: int = 0
    _sum: float = 0.0
    _squares: float = 0.0
    _weighted: float = 0.0
    _weights: float = 0.0
    _losses: float = 0.0
    _ends: tuple[float, float] = field(default=(0.0, 1.0))

    def add(self, values: np.ndarray) -> None:
        """Take further values, in the order in which they were drawn.

        Raises:
            ValueError: A value is outside of the range, or isn't a number.
        """
        if not len(values):
            return
        x = (np.asarray(values, np.float64) - self.low) / (self.high - self.low)
        if not ((x >= 0) & (x <= 1)).all():
            worst = values[np.nanargmax(np.abs(x - 0.5))] if not np.isnan(x).all() else math.nan
            raise ValueError(f"{worst:.6g} is outside of the range {self.low} to {self.high}")
        i = self._n + np.arange(1, len(x) + 1)
        sums = self._sum + np.concatenate([[0.0], np.cumsum(x)])
        guesses = (_PRIOR_MEAN + sums) / np.concatenate([[i[0]], i + 1])
        squares = (x - guesses[:-1]) ** 2
        spreads = self._squares + np.concatenate([[0.0], np.cumsum(squares)])
        variances = (_PRIOR_VARIANCE + spreads[:-1]) / i
        alpha = 1 - self.level
        with np.errstate(divide="ignore"):
            bets = np.sqrt(2 * math.log(2 / alpha) / (variances * i * np.log1p(i)))
        bets = np.minimum(bets, _MOST_BOLD)
        left = self.n_total - i + 1
        weighted = self._weighted + np.cumsum(bets * (x + sums[:-1] / left))
        weights = self._weights + np.cumsum(bets * self.n_total / left)
        losses = self._losses + np.cumsum(squares * (-np.log1p(-bets) - bets))
        radius = (math.log(2 / alpha) + losses) / weights
        centres = weighted / weights
        lows = np.maximum(centres - radius, sums[1:] / self.n_total)
        highs = np.minimum(centres + radius, (sums[1:] + self.n_total - i) / self.n_total)
        self._ends = max(self._ends[0], float(lows.max())), min(self._ends[1], float(highs.min()))
        self._n, self._sum, self._squares = int(i[-1]), float(sums[-1]), float(spreads[-1])
        self._weighted, self._weights = float(weighted[-1]), float(weights[-1])
        self._losses = float(losses[-1])

    @property
    def interval(self) -> tuple[float, float]:
        """The interval now, in the units of the values."""
        width = self.high - self.low
        low, high = self._ends
        if low > high:  # as improbable as the level says
            low = high = (low + high) / 2
        return self.low + width * low, self.low + width * high
