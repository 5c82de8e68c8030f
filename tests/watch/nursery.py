"""Starts watchers that have everything imported already, so that many of them can be killed.

Each line of standard input is ``{"arguments": [...], "log": path, "seams": seed or null}``. A
watcher with seams kills itself at a random one of the places where a death could do most harm:
before and after each claim, note and sending. Its measurements are quick ones.
"""

import json
import os
import random
import signal
import sys

import keras  # noqa: F401 - what every watcher needs, and takes seconds to import
import mlflow  # noqa: F401

import lossgap.commands
import lossgap.core.measure
import lossgap.mlflow.session
import lossgap.tensorboard.curves
import lossgap.tensorboard.session  # noqa: F401
from lossgap import Measurement, cli
from lossgap.mlflow.beside import MLflowBeside
from lossgap.tensorboard.beside import TensorBoardBeside
from lossgap.watch.ledger import Ledger
from lossgap.watch.watcher import Measuring

SEAMS = [
    *((Ledger, name) for name in ("claim", "measured", "about_to_send", "sent")),
    (MLflowBeside, "put"),
    (TensorBoardBeside, "put"),
    (TensorBoardBeside, "_write"),
    (Measuring, "measure"),
]
LIKELY = 0.03
MOST_DEATHS = 60


def quickly(_self, path, *, epoch, step):
    """Measure nothing, and say what the file is."""
    return Measurement(1.0 + epoch, epoch=epoch, step=step, seconds=len(path.name))


def lay_seams(seed):
    """Let each call of a seam be the last thing that the process does, now and then."""
    choose = random.Random(seed)

    def die_maybe():
        if seed <= MOST_DEATHS and choose.random() < LIKELY:
            os.kill(os.getpid(), signal.SIGKILL)

    def seamed(function):
        def call(*args, **kwargs):
            if function.__name__ != "claim":  # asked again and again while another measures
                die_maybe()
            result = function(*args, **kwargs)
            if result is not False:
                die_maybe()
            return result

        return call

    Measuring.measure = quickly
    for owner, name in SEAMS:
        setattr(owner, name, seamed(getattr(owner, name)))


def answer(value):
    """Tell the test."""
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


def watch(order):
    """Be a watcher, in a process of its own."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if order["seams"] is not None:
        lay_seams(order["seams"])
    sys.argv = ["lossgap", "watch", *order["arguments"]]
    cli.main()


signal.signal(signal.SIGCHLD, signal.SIG_DFL)
answer("ready")
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        _, status = os.waitpid(order["wait"], 0)
        answer(os.waitstatus_to_exitcode(status))
        continue
    child = os.fork()
    if child == 0:
        try:
            watch(order)
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)
        except BaseException:  # noqa: BLE001 - the nursery's own code must not go on in a child
            os._exit(99)
    answer(child)
