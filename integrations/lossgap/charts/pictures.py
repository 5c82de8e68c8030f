"""The panels of runs as picture files in a directory."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from lossgap.charts import render
from lossgap.charts.frames import Run, as_runs, frame
from lossgap.charts.panels import panels_of
from lossgap.charts.panels.base import Spec
from lossgap.charts.thin import thinned

MOST_ROWS: Final = 2_000
"""Points of a curve in a picture; longer curves are thinned, their extremes kept."""

LONGEST_NAME: Final = 60


def write_png(
    directory: str | os.PathLike[str],
    source: Sequence[Run],
    *,
    dpi: float = 144,
    theme: render.Theme = "light",
) -> list[Path]:
    """Write each panel of each run as a PNG picture.

    Args:
        directory: Made if it isn't there; pictures of the same names are replaced.
        source: The runs. Several get a directory each.
        dpi: Dots per inch: 144 for screens, 300 for print.
        theme: Colours of text and background.

    Returns:
        The paths of the pictures.
    """
    return _write(directory, source, "png", lambda spec: render.to_png(spec, dpi=dpi, theme=theme))


def write_svg(
    directory: str | os.PathLike[str], source: Sequence[Run], *, theme: render.Theme | None = None
) -> list[Path]:
    """Write each panel of each run as an SVG picture with a transparent background.

    Args:
        directory: Made if it isn't there; pictures of the same names are replaced.
        source: The runs. Several get a directory each.
        theme: Colours of text; by default a grey for light and dark pages.

    Returns:
        The paths of the pictures.
    """
    return _write(directory, source, "svg", lambda spec: render.to_svg(spec, theme=theme).encode())


def _write(
    directory: str | os.PathLike[str],
    source: Sequence[Run],
    ending: str,
    draw: Callable[[Spec], bytes],
) -> list[Path]:
    runs = as_runs(source)
    written = []
    for number, run in enumerate(runs, start=1):
        folder = Path(directory)
        if len(runs) > 1:
            folder /= f"{number:03d}-{_file_name(run.name)}"
        folder.mkdir(parents=True, exist_ok=True)
        data = frame(thinned(run, MOST_ROWS))
        for name, spec in panels_of(data, run.measurements).items():
            path = folder / f"{name}.{ending}"
            path.write_bytes(draw(spec))
            written.append(path)
    return written


def _file_name(name: str) -> str:
    """Return what is harmless in a file's name: letters, digits, ``_``, ``.`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:LONGEST_NAME] or "run"
