"""Train the demo's L2 model beside Keras's TensorBoard callback, and picture the result.

Needs the extras ``demo`` and ``tensorboard``, Playwright and a Chromium.

Usage: python docs/make_tensorboard_image.py [path of Chromium]
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
from playwright.sync_api import sync_playwright

import lossgap
from lossgap.commands import digits

IMAGE = Path(__file__).parent / "images" / "tensorboard_default_tab.png"
SETTLED = """
[...document.querySelectorAll("card-view")].some((card) =>
  card.querySelector(".tag")?.textContent.trim() === "epoch_loss"
  && card.querySelectorAll("tb-data-table-content-row").length === 4)
"""


def train(log_dir: str) -> None:
    """Train as a user of TensorBoard does, with lossgap switched on by one line."""
    lossgap.tensorboard.autolog()
    x, y = digits.load()
    keras.utils.set_random_seed(0)
    model = digits.EXAMPLES[1].build()
    # TensorBoard opens the first two groups of tags, by their names: learning rate and loss.
    metric = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_2_accuracy")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=[metric])
    board = keras.callbacks.TensorBoard(log_dir)
    model.fit(x, y, epochs=15, validation_split=0.2, callbacks=[board], verbose=0)


def picture(log_dir: str, chromium: str) -> None:
    """Open the default tab with nothing set up, and take its picture."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", log_dir]
    command += ["--host", "127.0.0.1", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        addresses = (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in server.stderr or ())
        take(next(filter(None, addresses))[0], chromium)
    finally:
        server.terminate()
        server.wait()


def take(address: str, chromium: str) -> None:
    """Take the picture of the card of the losses at an address."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 1240})
        page.set_default_timeout(180_000)
        page.goto(address)
        page.wait_for_function(SETTLED)
        page.wait_for_timeout(3_000)  # until the lines are drawn
        page.screenshot(path=IMAGE)
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        train(folder)
        picture(folder, sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium")
    print(IMAGE)
