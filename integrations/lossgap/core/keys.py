"""The names under which numbers leave lossgap, spelled here and nowhere else.

Two families. Keras logs and ``History`` get flat names beside Keras's own
(``true_loss`` next to ``loss``). Trackers get the ``lossgap/`` namespace with
one slash, which every tracker turns into one section of charts.
"""

from typing import Final

# Keras's own names.
LOSS: Final = "loss"
VAL_LOSS: Final = "val_loss"
VAL_PREFIX: Final = "val_"

# Ours, in the logs and in History.
TRUE_LOSS: Final = "true_loss"
REGULARIZATION_GAP: Final = "regularization_gap"
TRUE_VAL_LOSS: Final = "true_val_loss"
TRUE_PREFIX: Final = "true_"

# Ours, for trackers.
NAMESPACE: Final = "lossgap/"
REPORTED_LOSS: Final = "reported_loss"
GENERALIZATION_GAP: Final = "generalization_gap"
STANDARD_ERROR: Final = "true_loss_stderr"
SECONDS: Final = "seconds"
EPOCH: Final = "epoch"
STEP: Final = "step"
N_SAMPLES: Final = "n_samples"
N_TOTAL: Final = "n_total"
ERROR_SUFFIX: Final = "_stderr"

# The parts of the gap, in the order in which they are told and drawn.
PENALTY: Final = "penalty"
CLASS_WEIGHT: Final = "class_weight"
DROPOUT: Final = "dropout"
NOISE: Final = "noise"
BATCH_NORM: Final = "batch_norm"
AUGMENTATION: Final = "augmentation"
OTHER: Final = "other"
PIPELINE: Final = "pipeline"
DRIFT: Final = "drift"
PARTS: Final = (
    PENALTY,
    CLASS_WEIGHT,
    DROPOUT,
    NOISE,
    BATCH_NORM,
    AUGMENTATION,
    OTHER,
    PIPELINE,
    DRIFT,
)
# The parts that are found by switching layers between train and eval mode.
MECHANISMS: Final = (DROPOUT, NOISE, BATCH_NORM, AUGMENTATION, OTHER)


def true_metric(name: str) -> str:
    """Name the true value of the compiled metric ``name``: ``true_<name>``."""
    return f"{TRUE_PREFIX}{name}"


def val_metric(name: str) -> str:
    """Name the validation value of the compiled metric ``name``: ``val_<name>``."""
    return f"{VAL_PREFIX}{name}"


def tracked(name: str) -> str:
    """Name ``name`` for trackers: ``lossgap/<name>``."""
    return f"{NAMESPACE}{name}"


def part(name: str) -> str:
    """Name the part ``name`` of the gap: ``gap_<name>``."""
    return f"gap_{name}"


def tracked_part(name: str) -> str:
    """Name the part ``name`` of the gap for trackers: ``lossgap/gap_<name>``."""
    return tracked(part(name))


def tracked_best(name: str) -> str:
    """Name ``name`` of the measurement with the best true validation loss."""
    return tracked(f"best_{name}")


def tracked_part_error(name: str) -> str:
    """Name the standard error of a part for trackers: ``lossgap/gap_<part>_stderr``."""
    return f"{tracked_part(name)}{ERROR_SUFFIX}"
