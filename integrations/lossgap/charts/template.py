"""The panels without data, for tools that bring their own rows, such as W&B's custom charts."""

from collections.abc import Callable, Sequence
from typing import Final

from lossgap.charts import palette
from lossgap.charts.frames import Shape, part_column
from lossgap.charts.panels import PANELS, base, comparison, curves, gap, generalizing
from lossgap.core import keys
from lossgap.errors import InvalidArgumentError

_GAPS: Final = (keys.REGULARIZATION_GAP, palette.GENERALIZATION_GAP)


def template(
    panel: str,
    column: Callable[[str], str],
    *,
    data_name: str = "wandb",
    parts: Sequence[str] = keys.PARTS,
) -> base.Spec:
    """Return a panel that reads its rows from outside, one row per measurement.

    The rows may be of any number of runs, in wide form; those columns that aren't there are
    gaps in the lines. The specification starts by renaming the columns, so that a placeholder
    such as ``"${field:true_loss}"`` may stand for a column's name.

    Args:
        panel: ``"loss_comparison"``, ``"gap_by_cause"`` or ``"generalization"``.
        column: Returns the name that a number has in the rows: it gets ``"x"``, ``"run"``,
            ``"reported_loss"``, ``"true_loss"``, ``"val_loss"``, ``"true_val_loss"``,
            ``"regularization_gap"``, ``"generalization_gap"`` and ``"gap_<part>"``.
        data_name: Name of the data source.
        parts: Parts of the gap to draw.

    Returns:
        A Vega-Lite 5 specification without data.

    Raises:
        InvalidArgumentError: There is no such panel, or it needs more than wide rows.
    """
    gaps = tuple(part_column(name) for name in parts)
    columns = ("x", "run", *palette.LOSSES, *_GAPS, *gaps)
    shape = Shape(
        axis="epoch", columns=frozenset(columns), parts=tuple(parts), many=True, few=False
    )
    spec = base.finish(*_drawn(panel, shape), [])
    del spec["datasets"]
    spec["data"] = {"name": data_name}
    spec["transform"] = [
        {"calculate": f"datum[{base.text(column(name))}]", "as": name} for name in columns
    ]
    return spec


def _drawn(panel: str, shape: Shape) -> tuple[base.Spec, str]:
    if panel == "gap_by_cause":
        return gap.template(shape), gap.TITLE
    if panel == "loss_comparison":
        shade, title = (keys.TRUE_LOSS, palette.REPORTED_LOSS), comparison.TITLE
        return curves.template(shape, tuple(palette.LOSSES), shade, "free"), title
    if panel == "generalization":
        both = (keys.TRUE_LOSS, keys.TRUE_VAL_LOSS)
        return curves.template(shape, both, both, "free"), generalizing.TITLE
    raise InvalidArgumentError(
        f"There is no template called {panel!r}. Expected one of "
        f"{', '.join(name for name in PANELS if name != 'penalty_by_layer')}."
    )
