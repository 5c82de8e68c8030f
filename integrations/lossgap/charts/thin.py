"""Fewer points for long curves, without hiding what happened.

The curve is cut into stretches of equal length. Of each stretch the first point stays, and
for every curve its lowest and its highest point and the first point that is missing, so
that no spike, no dip and no gap in a line disappears. Numbers are picked, never averaged.
"""

from collections.abc import Sequence

import numpy as np

from lossgap.charts.frames import Run, numbers


def thinned(run: Run, limit: int) -> Run:
    """Return ``run`` with at most about ``limit`` measurements, extremes kept.

    Every curve keeps its extremes: the four losses, both gaps and each part.
    The limit is exceeded only where the extremes alone are more.

    Args:
        run: The run, of any length.
        limit: How many measurements to aim for, at least 2.
    """
    total = len(run.measurements)
    if total <= limit:
        return run
    columns = _columns(run)
    kept = _keep(columns, 1)
    stretches = 2
    while stretches <= total:
        more = _keep(columns, stretches)
        if len(more) > limit:
            break
        kept, stretches = more, stretches * 5 // 4 + 1
    return Run(run.name, tuple(run.measurements[index] for index in kept))


def _columns(run: Run) -> np.ndarray:
    records = [numbers(m) for m in run.measurements]
    names: dict[str, None] = {}
    for record in records:
        names.update(dict.fromkeys(name for name in record if not name.endswith("_stderr")))
    table = [[_number(record.get(name)) for name in names] for record in records]
    return np.asarray(table, dtype=np.float64)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _keep(columns: np.ndarray, stretches: int) -> Sequence[int]:
    total, width = columns.shape
    size = -(-total // stretches)
    padded = np.full((-(-total // size) * size, width), np.nan)
    padded[:total] = columns
    blocks = padded.reshape(-1, size, width)
    starts = np.arange(len(blocks))[:, None] * size
    missing = ~np.isfinite(blocks)
    # A column that is never measured would keep nothing but noise; its gap is everywhere.
    missing_somewhere = missing & np.isfinite(columns).any(axis=0)
    picked = [
        starts,
        starts + np.where(missing, np.inf, blocks).argmin(axis=1),
        starts + np.where(missing, -np.inf, blocks).argmax(axis=1),
        starts + missing_somewhere.argmax(axis=1),
        np.asarray([[total - 1]]),
    ]
    indices = np.unique(np.concatenate([part.ravel() for part in picked]))
    return [int(index) for index in indices if index < total]
