"""What a run's configuration says of how its true loss was had."""

from collections.abc import Mapping
from typing import Any, Final

from lossgap.core.measurement import Measurement

CONFIG: Final = "lossgap"
"""The key in the run's configuration."""

PRECISION: Final = "precision"

_CAVEATS: Final = (
    "val_loss is what Keras reports: it includes the penalties. true_val_loss does not.",
    "drift is what the other parts leave: the average over moving weights and changing batches.",
)
_ESTIMATE: Final = "The true loss is an estimate on a sample, with a standard error."
_RANDOM: Final = "Parts of the gap that depend on random masks are estimates, with standard errors."
_RUNNING: Final = "Measured in mid-epoch: the reported loss is Keras's running mean so far."
_NO_GAP: Final = "Keras's logs held no loss, so there is no gap."


def about(options: Mapping[str, Any], measurement: Measurement) -> dict[str, Any]:
    """Describe how a training is measured, as plain values.

    Args:
        options: The settings of the measurement.
        measurement: The training's first one.
    """
    from importlib.metadata import version

    from lossgap.charts.methods import method

    return {
        "version": version("lossgap"),
        "method": method([measurement]),
        "options": dict(options),
        "n_samples": measurement.n_samples,
        "n_total": measurement.n_total,
        PRECISION: measurement.precision,
        "caveats": _caveats(options, measurement),
    }


def _caveats(options: Mapping[str, Any], measurement: Measurement) -> list[str]:
    random = any(part.standard_error is not None for part in measurement.parts.values())
    conditional = {
        _ESTIMATE: measurement.standard_error is not None,
        _RANDOM: random,
        _RUNNING: options.get("unit") == "step",
        _NO_GAP: measurement.reported_loss is None,
    }
    return [*(text for text, holds in conditional.items() if holds), *_CAVEATS]
