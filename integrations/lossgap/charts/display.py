"""What a notebook shows of a summary: the verdict, the tiles' numbers, and the panels.

Pictures are static SVG inside images: no script runs in the notebook, nothing is loaded, and
text in them can't break out. The interactive page is the report.
"""

import base64
from collections.abc import Sequence
from html import escape
from typing import Final

from lossgap.charts import render
from lossgap.charts.frames import Run, frame
from lossgap.charts.headline import headline
from lossgap.charts.panels import panels_of
from lossgap.charts.panels.steps import last_finite
from lossgap.charts.thin import thinned
from lossgap.core import verdict
from lossgap.core.measurement import Measurement

MOST_ROWS: Final = 1_000
SHOWN: Final = ("loss_comparison", "waterfall", "gap_by_cause")


def to_html(measurements: Sequence[Measurement], troubles: Sequence[str] = ()) -> str:
    """Return the panels of one training as HTML for a notebook's output.

    Args:
        measurements: In order, at least one.
        troubles: What failed, a line each.

    Raises:
        DataError: There are no measurements.
        MissingDependencyError: The extra ``charts`` isn't installed.
    """
    run = thinned(Run("run", tuple(measurements)), MOST_ROWS)
    data = frame(run)
    specs = panels_of(data, measurements)
    pictures = "".join(_image(specs[name]) for name in SHOWN if name in specs)
    tiles = "".join(
        f'<span style="margin-right:2em">{escape(tile["title"])} '
        f"<b>{escape(tile['number'])}</b></span>"
        for tile in headline(last_finite(measurements))
    )
    lines = (verdict.tell(measurements), *troubles)
    words = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f"<div><p>{tiles}</p>{words}{pictures}</div>"


def _image(spec: dict[str, object]) -> str:
    title = spec["title"]
    text = str(title["text"]) if isinstance(title, dict) else ""
    picture = base64.b64encode(render.to_svg(spec).encode()).decode()
    return f'<img alt="{escape(text)}" src="data:image/svg+xml;base64,{picture}">'
