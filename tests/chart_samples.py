"""Measurements for tests of charts: made by formulas, so that every number is known."""

import math
from dataclasses import replace

from lossgap.core.measurement import Measurement, MetricValues, Part, Penalty

INJECTION = "</script><script>alert(1)</script>"


def measurement(index, n=8, base=0.1, standard_error=None):
    """Return the measurement of one epoch, with parts of both signs that add up to the gap."""
    true = base + 0.25 * math.exp(-3 * index / n)
    parts = {
        "penalty": Part(0.02 * (1 + index / n)),
        "dropout": Part(0.25 * true, 0.002),
        "batch_norm": Part(-0.012, 0.001),
        "drift": Part(0.03 * math.exp(-index / 2), 0.002),
    }
    penalty = parts["penalty"].value
    true_val = 1.1 * true + 0.01 * index / n
    return Measurement(
        true_loss=true,
        epoch=index,
        step=100 * (index + 1),
        reported_loss=true + math.fsum(part.value for part in parts.values()),
        val_loss=true_val + penalty,
        true_val_loss=true_val,
        parts=parts,
        penalties=(
            Penalty("dense", "l2", 0.7 * penalty),
            Penalty("dense_1", "l2", 0.2 * penalty),
            Penalty("dense_1", "l1", 0.1 * penalty),
        ),
        metrics={"accuracy": MetricValues(true=0.9, reported=0.85, val=0.88)},
        n_samples=1000 if standard_error else 60_000,
        n_total=60_000,
        standard_error=standard_error,
        seconds=0.03,
    )


def training(n=8, **options):
    """Return the measurements of ``n`` epochs."""
    return tuple(measurement(index, n, **options) for index in range(n))


def with_gaps():
    """Return a training with NaN, infinity, and parts and losses that weren't measured."""
    whole = list(training(8))
    whole[2] = replace(whole[2], reported_loss=math.nan)
    whole[4] = replace(whole[4], val_loss=None, true_val_loss=None, parts={"dropout": Part(0.05)})
    whole[6] = replace(whole[6], true_loss=math.inf)
    return tuple(whole)


def with_injected_names(*, parts=False):
    """Return a training whose layers and metrics, and parts if asked, are named by an attacker."""
    return tuple(
        replace(
            m,
            parts=m.parts | ({INJECTION: Part(0.001)} if parts else {}),
            penalties=(
                Penalty(INJECTION, "l2", 0.02),
                Penalty("<img src=x onerror=a>'\"\\", "l1", 0.01),
            ),
            metrics={INJECTION: MetricValues(true=0.5)},
        )
        for m in training(3)
    )
