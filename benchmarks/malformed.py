"""Feed 53,600 damaged inputs to the readers, and print what came of them.

Usage: python benchmarks/malformed.py [--scale 1] [--seed 0] [--only NAME] [--input NUMBER]

A reader may read an input or refuse it with a ``LossgapError``. The exit code is 1 if one did
anything else. ``--only NAME --input NUMBER`` tries one of them again.
"""

import argparse
import logging
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "security")]

import arsenal  # noqa: E402 - the tests' own modules
import malformed  # noqa: E402
from lossgap.commands.report import _register  # noqa: E402


def main() -> int:
    """Try all, print a line for each reader, and return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=arsenal.FULL)
    parser.add_argument("--input", type=int, nargs="*", help="numbers of the inputs to try")
    given = parser.parse_args()
    _register()
    logging.disable(logging.ERROR)  # TensorBoard's and MLflow's own words on each input
    warnings.simplefilter("ignore")
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        for number, (name, n) in enumerate(arsenal.FULL.items()):
            if given.only in (None, name):
                folder = Path(temporary, str(number))
                folder.mkdir()
                n_tried = max(4, round(n * given.scale))
                figures.append(_attacked(name, folder, n_tried, given.seed, given.input))
    faults = [fault for one in figures for fault in one.faults]
    print(
        f"{'all':<34} {sum(f.n_tried for f in figures):>7,} tried "
        f"{sum(f.n_read for f in figures):>7,} read "
        f"{sum(f.n_refused for f in figures):>7,} refused {len(faults):>4,} faults"
    )
    return int(bool(faults))


def _attacked(
    name: str, folder: Path, n: int, seed: int, numbers: list[int] | None
) -> malformed.Figures:
    began = time.monotonic()
    with arsenal.target(name, folder) as target:
        found = malformed.attack(target, n, seed=seed, numbers=numbers)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{found}   {seconds:.0f} s, memory up to {peak:,} MiB", flush=True)
    for number, trace in found.faults:
        print(f"  input {number}:\n{trace}", flush=True)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
