"""The comparison panels as W&B custom charts: Vega-Lite with W&B's placeholders.

A custom chart is a preset under a name of its entity. Its content never changes: what draws
differently gets a new version in its name.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from lossgap.charts import palette
from lossgap.charts.frames import part_column
from lossgap.charts.template import template
from lossgap.core import keys
from lossgap.errors import InvalidArgumentError
from lossgap.extras import require
from lossgap.wandb import rows

Spec = dict[str, Any]

NAMES: Final = {
    "loss_comparison": "lossgap-loss-comparison-v1",
    "gap_by_cause": "lossgap-gap-by-cause-v1",
    "generalization": "lossgap-generalization-v1",
}
"""The name of each preset by its panel."""

TITLES: Final = {
    "loss_comparison": "lossgap: reported loss and true loss",
    "gap_by_cause": "lossgap: the gap by cause",
    "generalization": "lossgap: generalization",
}

AXIS_TITLE: Final = "x_title"
"""The placeholder for the title of the horizontal axis."""

_PLACEHOLDER: Final = re.compile(r"\$\{(field|string):(\w+)(?::([^}]*))?\}")
_PARTS: Final = tuple(part_column(name) for name in keys.PARTS)
_COLUMNS: Final = {
    "loss_comparison": tuple(palette.LOSSES),
    "gap_by_cause": (keys.REGULARIZATION_GAP, *_PARTS),
    "generalization": (keys.TRUE_LOSS, keys.TRUE_VAL_LOSS, palette.GENERALIZATION_GAP),
}


def spec(panel: str) -> Spec:
    """Return the specification of the preset for ``panel``, checked.

    Raises:
        InvalidArgumentError: There is no such panel, or its specification isn't valid.
        MissingDependencyError: altair or vl-convert-python isn't installed.
    """
    drawn = template(panel, lambda name: f"${{field:{name}}}")
    text = json.dumps(drawn)
    titled: Spec = json.loads(
        text.replace('"title": "epoch"', f'"title": "${{string:{AXIS_TITLE}:epoch}}"')
    )
    check(titled)
    return titled


def fields(panel: str, unit: str) -> dict[str, str]:
    """Return which column of a run's history stands for each placeholder of a preset."""
    columns = {name: keys.tracked(name) for name in _COLUMNS[panel]}
    return {"x": rows.STEP if unit == "step" else rows.EPOCH, "run": "name"} | columns


def substitute(spec: Spec, fields: Mapping[str, str], strings: Mapping[str, str]) -> Spec:
    """Fill the placeholders in, as W&B documents it.

    ``${field:name}`` becomes the column chosen for ``name``, and ``${string:name:default}`` the
    text, or its default. What isn't chosen stays.
    """

    def replace(match: re.Match[str]) -> str:
        kind, name, default = match.groups()
        found = fields.get(name) if kind == "field" else strings.get(name, default)
        return match[0] if found is None else json.dumps(found)[1:-1]

    filled: Spec = json.loads(_PLACEHOLDER.sub(replace, json.dumps(spec)))
    return filled


def check(spec: Spec) -> None:
    """See that W&B can draw a specification: it takes anything, and then shows nothing.

    Raises:
        InvalidArgumentError: It isn't one layered view of Vega-Lite 5 on W&B's data, or it
            doesn't compile.
        MissingDependencyError: altair or vl-convert-python isn't installed.
    """
    if "layer" not in spec or spec.get("data") != {"name": "wandb"} or "datasets" in spec:
        raise InvalidArgumentError(
            "Expected a layered view on the data called 'wandb', which is what W&B draws. "
            f"Received one with {', '.join(sorted(spec))}."
        )
    altair = require("altair", extra="charts")
    convert = require("vl_convert", extra="charts")
    invalid = require("jsonschema", extra="charts").ValidationError
    try:
        altair.LayerChart.from_dict(spec, validate=True)
        convert.vegalite_to_vega(json.dumps(substitute(spec, {}, {})), vl_version="5.8")
    except (ValueError, TypeError, invalid) as error:
        raise InvalidArgumentError(
            f"The specification of a chart isn't valid Vega-Lite: {error}"
        ) from error
