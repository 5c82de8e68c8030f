"""Picture what the demo logged in MLflow, TensorBoard and W&B's viewer, from real runs.

Runs `lossgap demo`, and each command that it prints. Needs the extra ``demo``, Playwright, pyte and
a Chromium. Usage: python docs/make_screens.py [FOLDER]
"""

import fcntl
import html
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyte

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from chromium import chromium  # noqa: E402

IMAGES = ROOT / "docs" / "images"
PATIENCE = 180  # seconds
COLUMNS, LINES = 132, 42
# What the viewer asks a terminal before it draws, and the answers.
ANSWERS = {
    b"\x1b]11;?": b"\x1b]11;rgb:0000/0000/0000\x1b\\",
    b"\x1b[6n": b"\x1b[1;1R",
    b"\x1b[c": b"\x1b[?62;c",
}
COLOURS = {"default": "#d0d0d0", "brown": "#c19c00", "black": "#606060"}


def demo(folder: str) -> dict[str, Any]:
    """Run the demo, and return its answer."""
    program = Path(sys.executable).with_name("lossgap")
    process = subprocess.run(
        [program, "demo", "--epochs", "30", "--json"],
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
    )
    answer: dict[str, Any] = json.loads(process.stdout)
    return answer


@contextmanager
def served(command: str, folder: str, address: str) -> Iterator[None]:
    """Run a server's command line until it answers, and end it afterwards."""
    process = subprocess.Popen(
        shlex.split(command),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        last = time.monotonic() + PATIENCE
        while time.monotonic() < last:
            with suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 - loopback
                break
            time.sleep(0.5)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def picture_mlflow(browser: Any, target: Path) -> None:
    """Open the saved view, wait for its curves, and picture it."""
    page = opened(browser, 1500, 1000)
    view = "?viewStateShareKey=lossgap-true-loss&compareRunsMode=CHART"
    page.goto(f"http://127.0.0.1:5000/#/experiments/1/runs{view}")
    page.get_by_text("True loss: reported, true and validation").wait_for()
    chart = page.locator(".js-plotly-plot").first
    chart.locator(".scatterlayer .trace").nth(11).wait_for(state="attached")
    page.wait_for_timeout(3000)
    assistant = page.get_by_role("button", name="Close", exact=True)  # opens by itself, once
    if assistant.count():
        assistant.last.click()
    page.wait_for_timeout(3000)
    page.screenshot(path=target)
    page.context.close()


def picture_tab(browser: Any, target: Path, runs: list[str], *, dark: bool, height: int) -> None:
    """Open the tab in TensorBoard with these runs, and picture it."""
    page = opened(browser, 1440, height)
    chosen = ",".join(quote(name, safe="") for name in runs)
    theme = f"?darkMode={str(dark).lower()}"
    page.goto(f"http://localhost:6006/{theme}#lossgap&p.lossgap.runs={chosen}")
    tab = page.wait_for_selector("iframe[src*='name=lossgap']").content_frame()
    tab.wait_for_selector("body[data-ready]")
    tab.wait_for_function("document.body.dataset.drawn && !document.getElementById('fall').hidden")
    page.wait_for_timeout(1000)
    page.screenshot(path=target)
    page.context.close()


def opened(browser: Any, width: int, height: int) -> Any:
    """Return a page of this size."""
    size = {"width": width, "height": height}
    context = browser.new_context(viewport=size, device_scale_factor=1, locale="en-GB")
    context.set_default_timeout(PATIENCE * 1000)
    return context.new_page()


def viewer(command: list[str], folder: str) -> pyte.Screen:
    """Run W&B's viewer in a terminal for a while, and return its screen."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    last = time.monotonic() + 30
    while time.monotonic() < last:
        if select.select([ours], [], [], 1.0)[0]:
            data = os.read(ours, 65_536)
            for question, answer in ANSWERS.items():
                if question in data:
                    os.write(ours, answer)
            stream.feed(data)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    os.close(ours)
    return screen


def picture_terminal(browser: Any, target: Path, screen: pyte.Screen) -> None:
    """Draw the metrics on a terminal's screen as a page, and picture it.

    What the viewer tells of the machine beside them isn't for the docs.
    """
    first = screen.display[0]
    columns = range(first.index("Metrics") - 2, first.index("System Metrics") - 2)
    rows = "\n".join("".join(cell(screen.buffer[y][x]) for x in columns) for y in range(LINES - 1))
    page = opened(browser, 9 * len(columns) + 24, 17 * LINES + 10)
    # Cells of one width: not every font has the viewer's dots as wide as its letters.
    look = "b{display:inline-block;width:9px;height:17px;font-weight:normal}"
    body = "margin:12px;background:#101010;font:14px/17px monospace;white-space:pre"
    page.set_content(f'<style>{look}</style><body style="{body}">{rows}')
    page.screenshot(path=target)
    page.context.close()


def cell(character: Any) -> str:
    """Return one character of the screen as markup."""
    return f'<b style="color:{colour(character.fg)}">{html.escape(character.data)}</b>'


def colour(name: str) -> str:
    """Return a terminal's colour as a page names it."""
    return f"#{name}" if re.fullmatch(r"[0-9a-f]{6}", name) else COLOURS.get(name, name)


def main() -> None:
    """Take all pictures."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        commands = demo(folder)["commands"]
        with served(commands["mlflow"][0], folder, "http://127.0.0.1:5000/health"):
            picture_mlflow(browser, target / "mlflow-view.png")
        with served(commands["tensorboard"][0], folder, "http://localhost:6006/data/runs"):
            shots = (("", ["dropout"], False, 960), ("-dark", ["dropout"], True, 960))
            for name, runs, dark, height in (*shots, ("-compared", ["dropout", "l2"], False, 1340)):
                path = target / f"tensorboard-tab{name}.png"
                picture_tab(browser, path, runs, dark=dark, height=height)
        run = next(Path(folder).glob("lossgap-demo/wandb/offline-run-*"))
        command = [*shlex.split(commands["wandb"][0])[:-1], str(run)]
        picture_terminal(browser, target / "wandb-leet.png", viewer(command, folder))


if __name__ == "__main__":
    main()
