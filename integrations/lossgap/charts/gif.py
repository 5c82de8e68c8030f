"""The standard plot turning into the true-loss plot, as an animated GIF."""

import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lossgap.charts import palette, render
from lossgap.charts.frames import Frame, Row, Run, as_runs, frame
from lossgap.charts.panels import base, curves
from lossgap.core import keys
from lossgap.core.measurement import Measurement
from lossgap.errors import DataError
from lossgap.extras import require

BEFORE: Final = "The standard plot: loss and val_loss, as Keras prints them"
AFTER: Final = "What the losses really are"
STEPS: Final = 18
STEP_MS: Final = 70
FIRST_MS: Final = 1800
LAST_MS: Final = 3500
COLOURS: Final = 128

_BECOMES: Final = {keys.TRUE_LOSS: palette.REPORTED_LOSS, keys.TRUE_VAL_LOSS: keys.VAL_LOSS}
"""Out of which printed curve each true one grows."""


def write_gif(
    path: str | os.PathLike[str],
    source: Run | Sequence[Measurement],
    *,
    scale: float = 1.5,
    theme: render.Theme = "light",
) -> Path:
    """Write the animation: the true curves grow out of the ones that Keras prints.

    Between the two plots the true curves are on their way and have no values; the first
    and the last picture show measured numbers only.

    Args:
        path: The file, which is replaced.
        source: One run.
        scale: Pixels per unit.
        theme: Colours of text and background.

    Returns:
        The path of the picture.

    Raises:
        DataError: The run has no finite reported loss.
        MissingDependencyError: The extra ``charts`` isn't installed.
    """
    image = require("PIL.Image", extra="charts")
    run, *others = as_runs(source)
    if others:
        raise DataError(f"An animation shows one run, got {len(others) + 1}. Choose one.")
    pictures = [
        image.open(io.BytesIO(render.to_png(spec, scale=scale, theme=theme))).convert("RGB")
        for spec in stills(frame(run))
    ]
    size = max(p.width for p in pictures), max(p.height for p in pictures)
    drawn = [_on_canvas(image, picture, size, palette.PAGES[theme]) for picture in pictures]
    colours = drawn[-1].quantize(COLOURS)
    first, *rest = [picture.quantize(palette=colours, dither=0) for picture in drawn]
    times = [FIRST_MS, *[STEP_MS] * (len(rest) - 1), LAST_MS]
    target = Path(path)
    first.save(target, format="GIF", save_all=True, append_images=rest, duration=times, loop=0)
    return target


def _on_canvas(image: Any, picture: Any, size: tuple[int, int], colour: str) -> Any:
    canvas = image.new("RGB", size, colour)
    canvas.paste(picture, (0, 0))
    return canvas


def stills(data: Frame) -> list[base.Spec]:
    """Return the pictures of the animation, in order.

    Raises:
        DataError: The run has no finite reported loss.
    """
    if palette.REPORTED_LOSS not in data.shape.columns:
        raise DataError("The animation starts from the reported loss, and this run has none.")
    scale, domain = _scale(data)
    specs = []
    for step in range(STEPS + 1):
        share = step / STEPS
        spec = curves.draw(_at(data, share), *_drawn(data, share), BEFORE if not step else AFTER)
        for layer in spec["layer"]:
            if layer["name"] == "lines":
                layer["encoding"]["y"]["scale"] = {"type": scale, "domain": domain}
                layer["encoding"]["color"]["legend"] = None
        if 0 < step < STEPS:
            spec["layer"] = [x for x in spec["layer"] if not x["name"].startswith("label_true")]
        specs.append(spec)
    return specs


def _drawn(data: Frame, share: float) -> tuple[tuple[str, ...], tuple[str, str]]:
    """Return the curves of one picture, and the edges of its gap."""
    shown = data.shape.losses()
    if not share:
        shown = tuple(name for name in shown if name not in _BECOMES)
    return shown, (keys.TRUE_LOSS, palette.REPORTED_LOSS)


def _scale(data: Frame) -> tuple[str, list[float]]:
    values = data.values(palette.LOSSES)
    kind = base.scale_of(values)
    low = 0.0 if kind == "zero" else min(values)
    return ("log" if kind == "log" else "linear"), [low, max(values)]


def _at(data: Frame, share: float) -> Frame:
    """Return the rows with the true curves ``share`` of the way to their places."""
    rows = tuple(row | _moved(row, share) for row in data.rows) if share < 1 else data.rows
    hidden = {"true_low", "true_high"}
    columns = data.shape.columns - hidden if share < 1 else data.shape.columns
    return replace(data, rows=rows, shape=replace(data.shape, columns=columns))


def _moved(row: Row, share: float) -> Row:
    moved: Row = {}
    for true, printed in _BECOMES.items():
        start, end = row.get(printed), row.get(true)
        if start is not None and end is not None:
            moved[true] = start + share * (end - start)
    return moved
