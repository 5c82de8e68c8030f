"""How the numbers of a report were had, in words."""

from collections.abc import Sequence
from typing import Final

from lossgap.charts import palette
from lossgap.charts.signs import MINUS
from lossgap.core import keys
from lossgap.core.measurement import Measurement

LOSSES: Final = (
    (
        "reported loss",
        (
            "What Keras prints as `loss`: in training mode, with penalties and class weights, "
            "averaged over the epoch's batches while the weights move."
        ),
    ),
    (
        "true loss",
        (
            "The loss on the training data alone: evaluation mode, no penalties, no class weights, "
            "the weights as they are when it is measured."
        ),
    ),
    ("gap", f"Reported loss {MINUS} true loss. The parts add up to it."),
    (
        "val loss",
        "What Keras prints as `val_loss`: evaluation mode, but with the penalties.",
    ),
    ("true val loss", "`val_loss` without the penalties: comparable with the true loss."),
    ("generalization gap", f"True val loss {MINUS} true loss: both sides measured alike."),
)
"""Terms of the report and what they mean."""

_SWITCHED: Final = (
    "change of the loss at fixed weights when only these layers run in training mode; where "
    "several mechanisms interact, the average over all orders of switching them on (Shapley value)."
)
PARTS: Final = {
    keys.PENALTY: "weight and activity regularizers and `add_loss`, added up over the model.",
    keys.CLASS_WEIGHT: "the loss with class weights less the loss without.",
    **dict.fromkeys(keys.MECHANISMS, _SWITCHED),
    keys.PIPELINE: "the loss on the data as fed, augmented, less the loss on the clean data.",
    keys.DRIFT: "the rest: the epoch's average over moving weights and changing batches, less the "
    "loss at its last weights.",
}
"""What each part of the gap is."""


def terms(parts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the terms of a report whose gaps have these ``parts``, and what they mean."""
    unknown = "a part that this version of lossgap doesn't know."
    told = [(palette.part_look(name).label, PARTS.get(name, unknown)) for name in parts]
    return [*LOSSES, *told]


def method(measurements: Sequence[Measurement]) -> str:
    """Say of one run whether its true loss is exact or an estimate, and what ± means."""
    sizes = {(m.n_samples, m.n_total) for m in measurements}
    low, high = min(m.n_samples for m in measurements), max(m.n_samples for m in measurements)
    count = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    if any(m.standard_error is not None for m in measurements):
        total = max(m.n_total for m in measurements)
        of = f" of {total:,}" if total else ""
        how = f"The true loss is an estimate on {count}{of} samples; its band is the 95 % interval."
    elif all(n and n == total for n, total in sizes):
        how = f"The true loss is exact: computed on all {count} training samples."
    else:
        how = "How many samples the true loss was computed on wasn't recorded."
    precisions = ", ".join(sorted({m.precision for m in measurements}))
    errors = any(p.standard_error is not None for m in measurements for p in m.parts.values())
    plus_minus = " A cause's ± is one standard error." if errors else ""
    return f"{how} The forward pass ran in {precisions}.{plus_minus}"
