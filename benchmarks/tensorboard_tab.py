"""How long the tab in TensorBoard takes over a large log directory, in a real browser.

Usage: python benchmarks/tensorboard_tab.py [--models 1000] [--steps 1000]

The tree has five sub-runs for each model. Some trainings are written; the others are hard
links to their files, which costs TensorBoard as much and the disk nothing. Needs Chromium,
playwright, and the extra ``tensorboard``.
"""

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Frame, Response, sync_playwright
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, DATA_CLASS_TENSOR, Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from lossgap.core import keys

WRITTEN = 8
TABLE_SECONDS = 2.0
DRAW_SECONDS = 1.0
MEGABYTES = 5.0
ROUNDS = 5
CURVES = ("train", "true", "validation", "validation_true")


def value(tag: str, number: float, plugin: str = "scalars") -> Summary.Value:
    """Build one number as TensorBoard stores it."""
    found = Summary.Value(tag=tag)
    found.metadata.plugin_data.plugin_name = plugin
    found.metadata.data_class = DATA_CLASS_SCALAR if plugin == "scalars" else DATA_CLASS_TENSOR
    found.tensor.CopyFrom(tensor_util.make_tensor_proto(np.float32(number)))
    return found


def numbers(step: int, n_steps: int, base: float) -> dict[str, float]:
    """Return what one epoch of a made-up training logs, with a bit of noise."""
    true = base + 0.4 * math.exp(-4 * step / n_steps) + 0.01 * math.sin(step * 1.7)
    parts = {keys.PENALTY: 0.03, keys.DROPOUT: 0.3 * true, keys.DRIFT: 0.01 * math.sin(step)}
    reported, val = true + math.fsum(parts.values()), 1.1 * true
    found = {
        "reported_loss": reported,
        keys.TRUE_LOSS: true,
        keys.REGULARIZATION_GAP: reported - true,
        keys.VAL_LOSS: val + 0.03,
        keys.TRUE_VAL_LOSS: val,
        "generalization_gap": val - true,
        "true_loss_stderr": 0.002,
        "true_accuracy": 0.9,
        "seconds": 0.1,
        "n_samples": 1000,
        "n_total": 60_000,
    }
    found |= {f"gap_{name}": part for name, part in parts.items()}
    found |= {f"gap_{name}_stderr": 0.001 for name in (keys.DROPOUT, keys.DRIFT)}
    flat = {keys.tracked(name): number for name, number in found.items()}
    return flat | {"lossgap_penalty/l2:dense": 0.02, "lossgap_penalty/l2:dense_1": 0.01}


def write_model(folder: Path, n_steps: int, base: float) -> None:
    """Write the five sub-runs of one model."""
    writers = {name: EventFileWriter(str(folder / name)) for name in (*CURVES, "gap")}
    marker = Summary(value=[value("lossgap/marker", 1, "lossgap")])
    writers["gap"].add_event(Event(step=0, wall_time=time.time(), summary=marker))
    for step in range(n_steps):
        logged = numbers(step, n_steps, base)
        when = time.time()
        for name, number in zip(CURVES, list(logged.values())[:4], strict=True):
            summary = Summary(value=[value("epoch_loss", number)])
            writers[name].add_event(Event(step=step, wall_time=when, summary=summary))
        summary = Summary(value=[value(tag, number) for tag, number in logged.items()])
        writers["gap"].add_event(Event(step=step, wall_time=when, summary=summary))
    for writer in writers.values():
        writer.close()


def write_tree(root: Path, n_models: int, n_steps: int) -> None:
    """Write some models, and link their files under the names of the others."""
    originals = []
    for index in range(n_models):
        folder = root / f"sweep_{index % 10}" / f"model_{index:04d}"
        if index < WRITTEN:
            write_model(folder, n_steps, 0.1 + 0.05 * index)
            originals.append(folder)
        else:
            original = originals[index % len(originals)]
            shutil.copytree(original, folder, copy_function=os.link)


@contextmanager
def tensorboard(logdir: Path) -> Iterator[str]:
    """Run TensorBoard with its Rust loader, and give its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port=0"]
    command += ["--host=127.0.0.1", "--load_fast=true"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603
    try:
        for line in process.stderr or ():
            found = re.search(r"at (http://\S+/)", line)
            if found:
                yield found[1]
                break
    finally:
        process.terminate()
        process.wait()


def overview(address: str) -> Any:
    """Ask the plugin for all models."""
    with urllib.request.urlopen(f"{address}data/plugin/lossgap/overview") as answer:  # noqa: S310
        return json.load(answer)


def wait_until_loaded(address: str, n_models: int, n_steps: int) -> float:
    """Wait until TensorBoard has read every point, and return the seconds."""
    begin = time.perf_counter()
    while True:
        rows = overview(address)["rows"]
        if len(rows) == n_models and all(row[2] == n_steps for row in rows):
            return time.perf_counter() - begin
        time.sleep(0.5)


def tab_of(page: Any) -> Frame:
    """Return the frame of the plugin's page."""
    while True:
        for frame in page.frames:
            if "plugin_entry" in frame.url:
                return frame
        page.wait_for_timeout(5)


def seconds_to_table(page: Any, address: str, n_models: int) -> float:
    """Open the tab on a loaded TensorBoard, and time from its frame to the filled table."""
    page.goto("about:blank")
    page.goto(f"{address}#lossgap", wait_until="commit")
    frame = tab_of(page)
    begin = time.perf_counter()
    rows = min(n_models, 1000)
    frame.wait_for_function(
        f"document.querySelectorAll('#runs tbody tr').length === {rows}", polling=10
    )
    return time.perf_counter() - begin


# In the page itself, so that nothing but the page is timed: from the click to the last panel.
CHOOSE = """
async () => {
  const names = [...document.querySelectorAll("#runs tbody input")].map((box) => box.dataset.run);
  const [drawn, told] = [names.map(encodeURIComponent).join(","), encodeURIComponent(names[0])];
  const begin = performance.now();
  document.getElementById("all").click();
  const { dataset } = document.body;
  while (dataset.drawn !== drawn || dataset.told !== told) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return (performance.now() - begin) / 1000;
}
"""


def seconds_to_draw(frame: Frame, turn: int) -> float:
    """Search for ten models, click on "Show all found", and time until all is drawn."""
    frame.fill("#find", f"sweep_{turn}/model_00")
    frame.wait_for_function("document.querySelectorAll('#runs tbody tr').length === 10")
    frame.wait_for_timeout(500)
    return float(frame.evaluate(CHOOSE))


def main() -> int:
    """Measure, print a table, and say by the exit status whether all limits are held."""
    parser = argparse.ArgumentParser(description="Time the tab in TensorBoard.")
    parser.add_argument("--models", type=int, default=1000, help="at least 100")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        write_tree(Path(folder), options.models, options.steps)
        print(f"{options.models} models x 5 sub-runs x {options.steps} steps", flush=True)
        print(f"  written in {time.perf_counter() - begin:.1f} s", flush=True)
        with tensorboard(Path(folder)) as address:
            loaded = wait_until_loaded(address, options.models, options.steps)
            print(f"  loaded by TensorBoard in {loaded:.1f} s", flush=True)
            return report(address, options)


def report(address: str, options: argparse.Namespace) -> int:
    """Time the page, and print each figure with its limit."""
    sizes: dict[str, int] = {}

    def note(response: Response) -> None:
        question = re.search(r"lossgap/([\w/.]+)", response.url)
        if question and response.ok:
            size = len(response.body())
            sizes[question[1]] = max(size, sizes.get(question[1], 0))

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        tables = [seconds_to_table(page, address, options.models) for _ in range(ROUNDS)]
        frame = tab_of(page)
        frame.wait_for_selector("body[data-ready]")
        page.wait_for_timeout(3000)
        draws = [seconds_to_draw(frame, turn) for turn in range(ROUNDS)]
        page.on("response", note)
        page.goto("about:blank")
        seconds_to_table(page, address, options.models)
        seconds_to_draw(tab_of(page), 0)
        page.wait_for_timeout(3000)
        browser.close()
    print(f"  table: {', '.join(f'{x:.2f}' for x in tables)} s")
    print(f"  10 runs drawn: {', '.join(f'{x:.2f}' for x in draws)} s")
    name, size = max(sizes.items(), key=lambda item: item[1])
    results = [
        ("table shown, slowest of five (s)", max(tables), TABLE_SECONDS),
        ("10 runs drawn, slowest of five (s)", max(draws), DRAW_SECONDS),
        (f"largest answer, unpacked: {name} (MB)", size / 1e6, MEGABYTES),
    ]
    print(f"\n  {'':44} {'seen':>8} {'limit':>8}")
    for label, seen, limit in results:
        print(f"  {label:44} {seen:8.2f} {limit:8.2f}  {'pass' if seen < limit else 'FAIL'}")
    return 0 if all(seen < limit for _, seen, limit in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
