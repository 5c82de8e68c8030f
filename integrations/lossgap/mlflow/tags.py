"""What is said about a run beside its numbers: tags, which a second fit may write again."""

from collections.abc import Mapping
from typing import Any, Final

from lossgap import __version__
from lossgap.core.measurement import Measurement
from lossgap.core.summary import Summary

NOTE: Final = "mlflow.note.content"
"""The run's description."""

VERDICT: Final = "lossgap.verdict"
_LONGEST: Final = 4_500
"""Characters of a tag: the limit of the older versions of MLflow."""


def method(measurement: Measurement, settings: Mapping[str, Any]) -> dict[str, str]:
    """Say how a measurement was made."""
    exact = measurement.standard_error is None
    n, total = f"{measurement.n_samples:,}", f"{measurement.n_total:,}"
    found = {
        "lossgap.version": __version__,
        "lossgap.method": f"exact pass over {n} samples" if exact else f"sample of {n} of {total}",
        "lossgap.every": f"{settings.get('every', 1)} {settings.get('unit', 'epoch')}",
        "lossgap.seed": str(settings.get("seed", 0)),
        "lossgap.precision": measurement.precision,
    }
    if measurement.parts:
        found["lossgap.parts"] = ", ".join(measurement.parts)
    return {name: text[:_LONGEST] for name, text in found.items()}


def verdict(summary: Summary, present: Mapping[str, str], *, note: bool) -> dict[str, str]:
    """Return the verdict as a tag, and as the description where there is none of the user's.

    Args:
        summary: The training.
        present: The tags that the run has.
        note: Whether to write a description at all.
    """
    words = summary.verdict[:_LONGEST]
    described = present.get(NOTE, "").strip()
    ours = described in ("", present.get(VERDICT, ""))
    return {VERDICT: words} | ({NOTE: words} if note and ours else {})
