"""One colour, one label and one place in the legend per quantity, in every tool.

The colours are an adaptation of Okabe and Ito's palette: each has a contrast of at least 3:1
against a white page and against a dark one, and those that meet in a panel stay
apart for readers with protanopia or deuteranopia. The tests compute both.

References:
    Okabe, M. and Ito, K. (2008). Color Universal Design.
    https://jfly.uni-koeln.de/color/
"""

from dataclasses import dataclass
from typing import Final

from lossgap.core import keys

REPORTED_LOSS: Final = keys.REPORTED_LOSS
GENERALIZATION_GAP: Final = "generalization_gap"


@dataclass(frozen=True, slots=True)
class Look:
    """How a quantity looks: its colour, its name in a legend and at the end of its line."""

    colour: str
    label: str
    short: str


LOSSES: Final = {
    REPORTED_LOSS: Look("#D55E00", "reported loss (what Keras prints)", "reported"),
    keys.TRUE_LOSS: Look("#0072B2", "true loss (on your data alone)", "true"),
    keys.VAL_LOSS: Look("#B0649A", "val loss (what Keras prints)", "val"),
    keys.TRUE_VAL_LOSS: Look("#009E73", "true val loss", "true val"),
}
"""The four losses, in the order in which they are told and drawn."""

PARTS: Final = {
    keys.PENALTY: Look("#BB8866", "penalties (L1, L2, add_loss)", "penalties"),
    keys.CLASS_WEIGHT: Look("#CC3333", "class weights", "class weights"),
    keys.DROPOUT: Look("#8822FF", "dropout", "dropout"),
    keys.NOISE: Look("#808080", "noise layers", "noise"),
    keys.BATCH_NORM: Look("#2299EE", "batch normalization", "batch norm"),
    keys.AUGMENTATION: Look("#EE22CC", "augmentation layers", "augmentation"),
    keys.OTHER: Look("#8855EE", "other train-mode layers", "other"),
    keys.PIPELINE: Look("#BB3355", "augmentation in the input pipeline", "pipeline"),
    keys.DRIFT: Look("#666688", "drift (weights moved during the epoch)", "drift"),
}
"""The parts of the gap. What a later version adds and this one doesn't know looks like `other`."""

LAYERS: Final = (
    "#5588FF",
    "#227722",
    "#6699AA",
    "#33AA00",
    "#6644FF",
    "#779977",
    "#5566AA",
)
"""Colours of layers, which have no fixed meaning: the largest penalty gets the first."""

REST: Final = "#808080"
"""What is left when the smaller ones are put together, or when no cause was measured."""

INK: Final = "#7A7A7A"
"""Axes and text: readable on white and on black."""

INKS: Final = {None: (INK, INK), "light": ("#33363B", "#111111"), "dark": ("#D2D5DA", "#F4F4F4")}
"""Colours of text and of lines that stand for a total, by theme."""

PAGES: Final = {"light": "#FFFFFF", "dark": "#16181D"}
"""Background by theme."""

DASHES: Final = ((1, 0), (8, 7), (1, 7), (8, 7, 1, 7), (18, 8))
"""One pattern per run, where several runs share a panel; lines have round ends."""


def part_look(name: str) -> Look:
    """Return the look of the part ``name`` of the gap; an unknown part keeps its name."""
    return PARTS.get(name) or Look(PARTS[keys.OTHER].colour, name, name)
