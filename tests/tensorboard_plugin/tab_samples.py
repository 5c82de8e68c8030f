"""One log directory with everything that the tab meets."""

import math
from dataclasses import replace

import chart_samples
import tab_logs

IMAGE = "<img src=x onerror=alert(1)>"
N_SWEEP = 30
SPIKE = 7.5


def long_training():
    """Return 1,000 epochs, one of them with a spike."""
    whole = list(chart_samples.training(1000, base=0.2))
    whole[500] = replace(whole[500], reported_loss=SPIKE)
    return tuple(whole)


def diverged():
    """Return a training whose losses become NaN."""
    *most, last = chart_samples.training(4)
    return (*most, replace(last, true_loss=math.nan, reported_loss=math.nan, parts={}))


MODELS = {
    "": chart_samples.training(8),
    "diverged": diverged(),
    "gaps": chart_samples.with_gaps(),
    IMAGE: chart_samples.with_injected_names(),
    "long": long_training(),
    "nested/deep/model": chart_samples.training(12, base=0.3, standard_error=0.004),
    "stepwise": chart_samples.training(6, base=0.15),
}
SWEEP = {
    f"sweep/run {index}": chart_samples.training(5, base=0.1 + index / 100)
    for index in range(N_SWEEP)
}


def write(folder):
    """Write all models, and a run of somebody else's."""
    for name, measurements in (MODELS | SWEEP).items():
        unit = "step" if name == "stepwise" else None
        tab_logs.write(folder / name, measurements, unit)
    tab_logs.write_scalars(folder / "foreign" / "gap", {"gap": [1.0, 2.0]})
    return folder
