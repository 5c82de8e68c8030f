"""Estimates of a mean over a finite set, from a sample of it, with their standard errors."""

import math
from dataclasses import dataclass

import numpy as np

_FEWEST_FOR_A_SLOPE = 30


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated mean, and what is known of its error.

    Attributes:
        value: The estimate.
        variance: Of the estimate.
        skewness: Of the estimate's distribution: its third cumulant over the standard error
            cubed. About ``G / sqrt(n)`` for a mean of ``n`` values of skewness ``G``.
        freedom: Degrees of freedom of the variance, fewer for heavy tails.
        n_samples: Samples that were looked at.
        n_limit: Samples of which they are a part: with all of them the variance is ``floor``.
        floor: The variance that more samples of these don't lower.
    """

    value: float
    variance: float
    skewness: float
    freedom: float
    n_samples: int
    n_limit: int
    floor: float = 0.0

    @property
    def standard_error(self) -> float | None:
        """One standard deviation; ``None`` where it can't be had."""
        return math.sqrt(self.variance) if math.isfinite(self.variance) else None

    def samples_for(self, variance: float) -> float:
        r"""Return how many samples make the variance this small.

        From :math:`V(n) = V_0 + \sigma^2 (1/n - 1/N)`. Infinite where all are too few.
        """
        spread = 1 / self.n_samples - 1 / self.n_limit
        if spread <= 0 or not self.variance > self.floor:
            return float(self.n_samples)
        unit = (self.variance - self.floor) / spread
        if variance < self.floor:
            return math.inf
        return 1 / ((variance - self.floor) / unit + 1 / self.n_limit)


@dataclass(frozen=True, slots=True)
class Moments:
    """Counts, means and central moments of values by stratum, each of shape ``(n_strata,)``."""

    counts: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    thirds: np.ndarray
    kurtoses: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, strata: np.ndarray, n_strata: int) -> "Moments":
        """Compute them."""

        def total(numbers: np.ndarray) -> np.ndarray:
            return np.bincount(strata, numbers, n_strata)

        n = np.bincount(strata, minlength=n_strata).astype(float)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            means = total(values) / n
            deviations = values - means[strata]
            squares = deviations * deviations  # powers take ten times as long
            variances = total(squares) / np.maximum(n - 1, 1)
            thirds = np.where(n > 2, total(squares * deviations) * n / ((n - 1) * (n - 2)), 0.0)  # noqa: PLR2004
            fourths = total(squares * squares) / n
            kurtoses = np.where(variances > 0, fourths / variances**2 - 3, 0.0)
        return cls(n, means, variances, thirds, kurtoses)

    @property
    def doubts(self) -> np.ndarray:
        """Relative variance of each variance: ``2 / (n - 1)``, and the excess kurtosis over n."""
        tails = np.maximum(self.kurtoses, 0) / self.counts
        return np.asarray(2 / np.maximum(self.counts - 1, 1) + tails)


def stratified_mean(
    values: np.ndarray, strata: np.ndarray, sizes: np.ndarray, *, n_total: int | None = None
) -> Estimate:
    r"""Estimate a mean from samples drawn without replacement in each stratum.

    With :math:`n_h` of :math:`N_h` values, :math:`W_h = N_h / N`, and the variance
    :math:`s_h^2` of the values in stratum :math:`h`,

    .. math:: \hat Y = \sum_h W_h \bar y_h, \qquad
              \hat V = \sum_h W_h^2 s_h^2 \left(\frac{1}{n_h} - \frac{1}{N_h}\right)

    The estimate is unbiased, and so is its variance. One stratum is simple random sampling.

    Args:
        values: Shape ``(n,)``. NaN and infinity pass into the result.
        strata: Stratum of each value, shape ``(n,)``.
        sizes: :math:`N_h`, shape ``(n_strata,)``. Each stratum needs a value.
        n_total: Where the strata are themselves a random part of this many samples, their
            error is added; ``None`` where they are all.

    References:
        W. G. Cochran, "Sampling Techniques", 3rd edition, 1977, sections 5.3 and 5.4.
    """
    found = Moments.of(values, strata, len(sizes))
    weights = sizes / sizes.sum()
    fractions = 1 / found.counts - 1 / sizes
    floor = _beyond(found, weights, sizes, n_total)
    return _estimate(
        value=float(weights @ found.means),
        terms=weights**2 * found.variances * fractions,
        cubes=weights**3 * found.thirds * fractions * (1 / found.counts - 2 / sizes),
        moments=found,
        floor=floor,
        n_limit=int(sizes.sum()),
    )


def regression_mean(
    values: np.ndarray,
    before: np.ndarray,
    strata: np.ndarray,
    sizes: np.ndarray,
    *,
    reference: Moments,
    n_total: int | None = None,
) -> Estimate | None:
    r"""Estimate a mean with the help of a variable whose mean is known better.

    The values :math:`y` are the losses of a small sample, :math:`x` the losses of the same
    samples at an earlier time, when :math:`m_h \ge n_h` samples of each stratum were measured,
    of which the small sample is a random part. The regression estimator

    .. math:: \hat Y = \sum_h W_h \left(\bar y_h + b\,(\bar x_h^{(m)} - \bar x_h)\right)

    has, with the residuals :math:`e = y - b x`, the variance

    .. math:: \hat V = \sum_h W_h^2 \left[ s_{e,h}^2 \left(\frac{1}{n_h} - \frac{1}{m_h}\right)
              + s_{y,h}^2 \left(\frac{1}{m_h} - \frac{1}{N_h}\right) \right]

    where the second term is 0 after a full pass, and :math:`s_y^2 = s_e^2 + b^2 s_x^2` is known
    best with the :math:`s_x^2` of the reference. The slope :math:`b` is that of least squares
    within the strata. Since it is estimated, the estimate has a bias of the order
    :math:`1/n`, against a standard error of the order :math:`1/\sqrt n`.

    Args:
        values: :math:`y`, shape ``(n,)``.
        before: :math:`x`, shape ``(n,)``.
        strata: Stratum of each value, shape ``(n,)``.
        sizes: :math:`N_h`, shape ``(n_strata,)``.
        reference: Moments of all :math:`m_h` losses of the earlier time, by stratum.
        n_total: As in :func:`stratified_mean`.

    Returns:
        The estimate; ``None`` where there are too few values to find a slope, where ``before``
        is constant, and where something isn't finite.

    References:
        W. G. Cochran, "Sampling Techniques", 3rd edition, 1977, sections 7.10 and 12.6.
    """
    n_strata = len(sizes)
    y, x = (Moments.of(each, strata, n_strata) for each in (values, before))
    if len(values) < _FEWEST_FOR_A_SLOPE + 2 * n_strata:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        dx, dy = before - x.means[strata], values - y.means[strata]
        slope = dx @ dy / (dx @ dx) if dx @ dx > 0 else math.nan
    if not math.isfinite(slope):
        return None
    weights = sizes / sizes.sum()
    shift = float(weights @ (reference.means - x.means)) * len(values)
    rest = Moments.of(_residuals(dx, dy, slope, shift), strata, n_strata)
    m = reference.counts
    inner, outer = 1 / y.counts - 1 / m, 1 / m - 1 / sizes
    spreads = rest.variances + slope**2 * reference.variances
    thirds = rest.thirds + slope**3 * reference.thirds
    floors = weights**2 * spreads * outer
    return _estimate(
        value=float(weights @ (y.means + slope * (reference.means - x.means))),
        terms=weights**2 * rest.variances * inner,
        cubes=weights**3
        * (rest.thirds * inner * (1 / y.counts - 2 / m) + thirds * outer * (1 / m - 2 / sizes)),
        moments=rest,
        floor=float(floors.sum()) + _beyond(y, weights, sizes, n_total),
        n_limit=int(m.sum()),
        more_doubt=float(floors**2 @ reference.doubts),
    )


def _residuals(dx: np.ndarray, dy: np.ndarray, slope: float, shift: float) -> np.ndarray:
    r"""Return residuals whose spread is that of the estimate.

    Each is divided by one less its leverage, as a jackknife would do, since a sample with a
    large loss pulls the slope towards itself; and multiplied by what the sample counts for in
    the estimate, :math:`1 + (\bar x^{(m)} - \bar x)\, dx_i / s_x^2`.
    """
    squares = dx @ dx
    leverage = np.minimum(dx**2 / squares, 0.9)
    return np.asarray((dy - slope * dx) / (1 - leverage) * (1 + shift * dx / squares))


def ratio_mean(values: np.ndarray, counts: np.ndarray, n_batches: int) -> Estimate:
    r"""Estimate a mean from whole batches drawn without replacement.

    The mean :math:`\hat L = \sum n_b L_b / \sum n_b` over :math:`m` of :math:`M` batches is a
    ratio estimator, with a bias of the order :math:`1/m` where the batches differ in size,
    and the variance

    .. math:: \left(1 - \frac{m}{M}\right) \frac{m}{m - 1}
              \frac{\sum_b n_b^2 (L_b - \hat L)^2}{(\sum_b n_b)^2}

    Args:
        values: Mean of each batch, shape ``(m,)``, with at least two batches.
        counts: Samples in each batch, shape ``(m,)``.
        n_batches: The number :math:`M`.

    References:
        W. G. Cochran, "Sampling Techniques", 3rd edition, 1977, sections 2.6 and 6.4.
    """
    m = len(values)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = float(counts @ values / counts.sum())
        scaled = counts * (values - mean) * m / counts.sum()
    found = Moments.of(scaled, np.zeros(m, np.int64), 1)
    fractions = 1 / found.counts - 1 / n_batches
    return _estimate(
        value=mean,
        terms=found.variances * fractions,
        cubes=found.thirds * fractions * (1 / found.counts - 2 / n_batches),
        moments=found,
        floor=0.0,
        n_limit=n_batches,
    )


def _beyond(found: Moments, weights: np.ndarray, sizes: np.ndarray, n_total: int | None) -> float:
    """Return the variance of the frame's own mean, where it is a random part of a larger set."""
    n_frame = sizes.sum()
    if n_total is None or n_total <= n_frame:
        return 0.0
    mean = weights @ found.means
    spread = float(weights @ (found.variances + (found.means - mean) ** 2))
    return float(spread * (1 / n_frame - 1 / n_total))


def _estimate(
    *,
    value: float,
    terms: np.ndarray,
    cubes: np.ndarray,
    moments: Moments,
    floor: float,
    n_limit: int,
    more_doubt: float = 0.0,
) -> Estimate:
    """Put an estimate together from what each stratum adds to its cumulants."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        variance = float(terms.sum()) + floor
        skewness = float(cubes.sum()) / variance**1.5 if variance > 0 else 0.0
        doubt = float(terms**2 @ moments.doubts) + more_doubt
        freedom = 2 * variance**2 / doubt if doubt > 0 else math.inf
    return Estimate(value, variance, skewness, freedom, int(moments.counts.sum()), n_limit, floor)
