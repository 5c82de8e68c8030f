"""Make the table of docs/why.md: seven reasons for a training loss above the validation loss.

Usage: python docs/make_why.py [--write]

Each case is a small network on scikit-learn's digits, which differs from a plain one in one thing.
Prints the table; with ``--write`` it replaces that of the page.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits

import lossgap

PAGE = Path(__file__).with_name("why.md")
BEGIN, END = "<!-- made by make_why.py -->\n", "<!-- end -->\n"
SEED = 0


@dataclass(frozen=True)
class Case:
    """One reason.

    Attributes:
        name: What the page calls it.
        part: The part of the gap that shows it; empty if none does.
        layers: Layers before the output, in place of one dense layer.
        fit: Further arguments of the fit.
        spoil: Changes the training targets.
    """

    name: str
    part: str
    layers: Callable[[], list[Any]] = lambda: [keras.layers.Dense(64, activation="relu")]
    fit: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[np.ndarray], np.ndarray] = lambda y: y


def _dropout() -> list[Any]:
    return [keras.layers.Dense(64, activation="relu"), keras.layers.Dropout(0.5)]


def _l2() -> list[Any]:
    return [keras.layers.Dense(64, activation="relu", kernel_regularizer="l2")]


def _batch_norm() -> list[Any]:
    return [
        keras.layers.Dense(64),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
    ]


def _augmentation() -> list[Any]:
    return [
        keras.layers.Reshape((8, 8, 1)),
        keras.layers.RandomTranslation(0.1, 0.1),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
    ]


def _mislabel(y: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(SEED)
    wrong = rng.random(len(y)) < 0.1  # noqa: PLR2004 - a tenth
    return np.where(wrong, rng.integers(0, 10, len(y)), y)


CASES = (
    Case("averaging over the epoch", "drift", fit={"epochs": 1}),
    Case("dropout", "dropout", _dropout),
    Case("an L2 penalty", "penalty", _l2),
    Case("batch normalization, batches of 8", "batch_norm", _batch_norm, {"batch_size": 8}),
    Case("augmentation", "augmentation", _augmentation),
    Case("class weights", "class_weight", fit={"class_weight": dict.fromkeys((8, 9), 4.0)}),
    Case("a split that isn't alike", "", spoil=_mislabel),
)


def measure(case: Case) -> lossgap.Measurement:
    """Train the case's network, and return the last measurement."""
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    x, y = digits.data[order] / 16, digits.target[order]
    cut = len(x) // 5
    keras.utils.set_random_seed(SEED)
    output = keras.layers.Dense(10, activation="softmax")
    model = keras.Sequential([keras.layers.Input((64,)), *case.layers(), output])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    callback = lossgap.TrueLoss()
    arguments = {"epochs": 10, "verbose": 0, **case.fit}
    lossgap.fit(
        model,
        x[cut:],
        case.spoil(y[cut:]),
        validation_data=(x[:cut], y[:cut]),
        true_loss=callback,
        **arguments,
    )
    return callback.measurements[-1]


def row(case: Case, m: lossgap.Measurement) -> str:
    """Return the case's row: what Keras says, the same measured alike, and the part."""
    part = f"`{case.part}` {m.parts[case.part].value:.3f}" if case.part else "no part"
    losses = (m.reported_loss, m.val_loss, m.true_loss, m.true_val_loss)
    return " | ".join(["", case.name, *(f"{loss:.3f}" for loss in losses), part, ""]).strip()


def table() -> str:
    """Train all cases, and return the table in Markdown."""
    lines = [
        "| Reason | `loss` | `val_loss` | true loss | true validation loss | what shows it |",
        "|---|---|---|---|---|---|",
        *(row(case, measure(case)) for case in CASES),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, or write it to the page."""
    made = table()
    print(made)
    if "--write" in sys.argv:
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
