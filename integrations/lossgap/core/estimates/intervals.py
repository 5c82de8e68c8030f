"""Intervals from estimates, and whether they can be trusted."""

import math
from statistics import NormalDist

from lossgap.core.estimates.means import Estimate

LEVEL = 0.95
"""How often an interval is to hold the true mean."""

_MOST_SKEWED = 0.35  # of the estimate's distribution
_LEAST_FREEDOM = 25.0


def interval(estimate: Estimate, level: float = LEVEL) -> tuple[float, float] | None:
    r"""Return an interval for the mean, from the normal distribution and what departs from it.

    With :math:`T = (\hat Y - Y) / \hat\sigma`, the skewness :math:`a` of the estimate and the
    quantile :math:`t` of Student's distribution, it holds the :math:`Y` with
    :math:`|g(T)| \le t`, where

    .. math:: g(T) = T + \frac{a}{3} T^2 + \frac{a^2}{27} T^3 + \frac{a}{6}

    is Hall's transformation, which rises everywhere and removes the skewness to the order of
    :math:`1/\sqrt n`. For :math:`a = 0` this is :math:`\hat Y \pm t \hat\sigma`; for the
    losses of a classifier, which have a long upper tail, it reaches further up than down.

    Args:
        estimate: The estimate.
        level: Probability that the interval holds the mean.

    Returns:
        Its ends; ``None`` where the variance isn't finite.

    References:
        P. Hall, "On the removal of skewness by transformation", Journal of the Royal
        Statistical Society B 54(1), 1992.
    """
    error = estimate.standard_error
    if error is None or not math.isfinite(estimate.value):
        return None
    t = student_quantile((1 + level) / 2, estimate.freedom)
    high, low = (_inverse(side * t, estimate.skewness) for side in (-1, 1))
    return estimate.value - error * low, estimate.value - error * high


def half_width(estimate: Estimate, level: float = LEVEL) -> float | None:
    """Return half the length of the interval; ``None`` without one."""
    ends = interval(estimate, level)
    return None if ends is None else (ends[1] - ends[0]) / 2


def caveat(estimate: Estimate, unit: str = "samples") -> str | None:
    """Say why the interval may not hold the mean as often as it should, or ``None``.

    Judged by the skewness of the estimate (Cochran's rule ``n > 25 G^2`` asks for one below
    0.2; the transformation of :func:`interval` can do with more) and by the degrees of
    freedom that the tails leave to its variance. A sample can't tell of tails
    that it hasn't seen.

    Args:
        estimate: The estimate.
        unit: What was drawn: ``"samples"`` or ``"batches"``.

    References:
        W. G. Cochran, "Sampling Techniques", 3rd edition, 1977, section 2.15.
    """
    if estimate.standard_error is None:
        return "the losses aren't all finite, so there is no interval"
    if estimate.variance <= 0:
        return None
    least = min(_LEAST_FREEDOM, (estimate.n_samples - 1) / 2)  # a few values alone are no tails
    if abs(estimate.skewness) > _MOST_SKEWED or estimate.freedom < least:
        return (
            f"a few {unit} make up most of the error, so the interval may be too short: "
            f"{estimate.n_samples:,} {unit} are few for losses that spread like these"
        )
    return None


def student_quantile(probability: float, freedom: float) -> float:
    r"""Return a quantile of Student's distribution, to three digits from 5 degrees on.

    .. math:: t = z + \frac{z^3 + z}{4\nu} + \frac{5z^5 + 16z^3 + 3z}{96\nu^2}
              + \frac{3z^7 + 19z^5 + 17z^3 - 15z}{384\nu^3} + \dots

    References:
        M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    if not math.isfinite(freedom):
        return z
    v = max(freedom, 2.0)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def _inverse(y: float, skewness: float) -> float:
    """Return the ``T`` whose transformation is ``y``."""
    if abs(skewness) < 1e-6:  # noqa: PLR2004 - where the formula loses its digits
        return y
    return 3 / skewness * (math.cbrt(1 + skewness * (y - skewness / 6)) - 1)
