"""Take the pictures of the tab for the docs, in a real browser on a live TensorBoard.

Usage, from the root of the project, with ``tests`` on Python's path:
PYTHONPATH=tests python tests/tensorboard_plugin/take_pictures.py [folder]
"""

import math
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import numpy as np

import tab_logs
from chromium import chromium
from lossgap import Measurement, Part, Penalty
from lossgap.core import keys
from tab_server import serving

DOCS = Path(__file__).resolve().parents[2] / "docs" / "images"
N_EPOCHS = 30
# Dropout rate, weight of the L2 penalty, noise of the measured loss: by the model's name.
MODELS = {
    "digits/baseline": (0.0, 0.0),
    "digits/dropout 0.2": (0.2, 0.0),
    "digits/dropout 0.4": (0.4, 0.0),
    "digits/dropout 0.4 + L2": (0.4, 1.0),
    "digits/L2": (0.0, 1.0),
}
SHOWN = "digits/dropout 0.4 + L2"


def epoch(index, dropout, l2, rng):
    """Return one epoch of a made-up training."""
    strength = 1 - 0.35 * dropout - 0.15 * l2
    true = 0.05 + 0.02 * l2 + 0.6 * math.exp(-0.16 * strength * index) * rng.normal(1, 0.015)
    overfit = (0.0035 * strength**4) * index * (1 - 0.6 * dropout)
    val = true * 1.05 + 0.02 + overfit + rng.normal(0, 0.003)
    parts = {keys.DRIFT: Part(0.12 * math.exp(-0.35 * index), 0.001)}
    penalties = ()
    if dropout:
        size = dropout * (0.12 + 0.3 * true) + rng.normal(0, 0.003)
        parts[keys.DROPOUT] = Part(size, 0.003)
    if l2:
        size = 0.055 * (1 - math.exp(-0.12 * (index + 4)))
        parts[keys.PENALTY] = Part(size)
        shares = {"hidden_1": 0.62, "hidden_2": 0.27, "logits": 0.11}
        penalties = tuple(Penalty(layer, "l2", share * size) for layer, share in shares.items())
    parts = {name: parts[name] for name in keys.PARTS if name in parts}
    return Measurement(
        true_loss=true,
        epoch=index,
        reported_loss=true + math.fsum(part.value for part in parts.values()),
        val_loss=val + (parts[keys.PENALTY].value if l2 else 0.0),
        true_val_loss=val,
        parts=parts,
        penalties=penalties,
        n_samples=1500,
        n_total=1500,
        seconds=0.02,
    )


def write(folder):
    """Write the trainings that the pictures show."""
    rng = np.random.default_rng(7)
    for name, (dropout, l2) in MODELS.items():
        whole = [epoch(index, dropout, l2, rng) for index in range(N_EPOCHS)]
        tab_logs.write(folder / name, whole)


def take(browser, server, path, runs, *, dark=False, height=960):
    """Open the tab with these runs, and take its picture."""
    context = browser.new_context(
        viewport={"width": 1440, "height": height}, device_scale_factor=1, locale="en-GB"
    )
    context.set_default_timeout(120_000)
    page = context.new_page()
    chosen = ",".join(quote(name, safe="") for name in runs)
    theme = f"?darkMode={str(dark).lower()}"
    page.goto(f"{server.address}{theme}#lossgap&p.lossgap.runs={chosen}")
    tab = page.wait_for_selector("iframe[src*='name=lossgap']").content_frame()
    tab.wait_for_selector("body[data-ready]")
    tab.wait_for_function("document.body.dataset.drawn && !document.getElementById('fall').hidden")
    page.wait_for_timeout(1000)
    page.screenshot(path=path)
    context.close()


def main():
    """Take all pictures."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        with serving(folder) as server, chromium() as browser:
            server.wait_for(lambda: len(server.models()) == len(MODELS))
            take(browser, server, target / "tensorboard-tab.png", [SHOWN])
            take(browser, server, target / "tensorboard-tab-dark.png", [SHOWN], dark=True)
            compared = target / "tensorboard-tab-compared.png"
            take(browser, server, compared, ["digits/baseline", SHOWN], height=1340)


if __name__ == "__main__":
    main()
