"""Measurements with any numbers and names, for Hypothesis."""

from hypothesis import strategies as st

from lossgap import Measurement, MetricValues, Part, Penalty
from lossgap.core import keys


def measurements(number, name, *, most=10**12, seconds=None):
    """Return a strategy of measurements.

    Args:
        number: A strategy of losses.
        name: A strategy of the names of layers and metrics.
        most: The largest count.
        seconds: A strategy of durations; that of losses by default.
    """
    maybe, count = st.none() | number, st.integers(0, most)
    values = st.builds(MetricValues, number, maybe, maybe)
    parts = st.sampled_from(keys.PARTS)
    return st.builds(
        Measurement,
        true_loss=number,
        epoch=st.none() | count,
        step=st.none() | count,
        reported_loss=maybe,
        val_loss=maybe,
        true_val_loss=maybe,
        parts=st.dictionaries(parts, st.builds(Part, number, maybe), max_size=5),
        penalties=st.lists(st.builds(Penalty, name, name, number), max_size=3).map(tuple),
        metrics=st.dictionaries(name, values, max_size=3),
        n_samples=count,
        n_total=count,
        standard_error=maybe,
        seconds=number if seconds is None else seconds,
        precision=name,
    )
