"""W&B's own viewer, ``wandb leet``, in a terminal: it shows the curves."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from contextlib import suppress
from dataclasses import replace

import pyte
import wandb

import chart_samples
from wandb_runs import PATIENCE, PROGRAM, QUIET, folder, train, wait_for_end

COLUMNS, LINES = 160, 50
# What the viewer asks a terminal before it draws, and the answers.
ANSWERS = {
    b"\x1b]11;?": b"\x1b]11;rgb:0000/0000/0000\x1b\\",
    b"\x1b[6n": b"\x1b[1;1R",
    b"\x1b[c": b"\x1b[?62;c",
}
BRAILLE = {chr(code) for code in range(0x2801, 0x2900)}


def screen_of(place, is_drawn):
    """Run the viewer in a terminal until the screen is drawn; return its lines."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [PROGRAM, "leet", str(place)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | QUIET | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        last = time.monotonic() + PATIENCE
        while not is_drawn(screen.display):
            assert time.monotonic() < last, "\n".join(screen.display)
            if not select.select([ours], [], [], 1.0)[0]:
                continue
            data = os.read(ours, 65_536)
            for question, answer in ANSWERS.items():
                if question in data:
                    os.write(ours, answer)
            stream.feed(data)
        return screen.display
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        os.close(ours)


def charts(lines):
    """Return the charts on a screen: the text in the frame below each title.

    A screen may be half drawn: what has no right or lower edge yet is no chart.
    """
    found = {}
    for top, line in enumerate(lines):
        for match in re.finditer(r"│(lossgap/[^│]*)│", line):
            start, end = match.start() + 1, match.end() - 1
            below = range(top + 1, len(lines))
            bottom = next((i for i in below if lines[i][start - 1] == "╰"), None)
            if bottom is not None:
                title = match[1].strip().rstrip(".")
                found[title] = [lines[i][start:end] for i in range(top + 1, bottom)]
    return found


def curve(chart):
    """Return the rows of a chart in which a curve has dots, by column, left to right."""
    width = max(map(len, chart), default=0)
    columns = [
        [height for height, line in enumerate(chart) if line[x : x + 1] in BRAILLE]
        for x in range(width)
    ]
    return [column for column in columns if column]


def test_the_viewer_shows_the_curves(offline):
    run = wandb.init(project="project")
    whole = chart_samples.training(20)
    train([replace(m, parts={}, metrics={}) for m in whole])
    run.finish()
    wait_for_end(folder(run))

    def is_drawn(lines):
        found = charts(lines)
        wanted = {"lossgap/true_loss", "lossgap/reported_loss", "lossgap/epoch"}
        return wanted <= found.keys() and all(len(curve(found[name])) > 5 for name in wanted)

    found = charts(screen_of(folder(run), is_drawn))
    assert {"lossgap/true_loss", "lossgap/reported_loss"} <= found.keys()
    assert any(title.startswith("lossgap/regularizat") for title in found)
    losses = curve(found["lossgap/true_loss"])
    # It falls from the top left to the bottom right.
    assert min(losses[0]) < min(losses[-1])
    epochs = curve(found["lossgap/epoch"])
    assert min(epochs[0]) > min(epochs[-1])
