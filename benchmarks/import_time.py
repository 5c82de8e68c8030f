"""Print what ``import lossgap`` costs over bare Python: ``python benchmarks/import_time.py``.

Each sample is a new process. Bare and importing processes alternate, so that a change of the
machine's speed falls on both, and the median leaves out what else it was doing. The first
processes only warm the file cache and the byte code.
"""

import argparse
import statistics
import subprocess
import sys
import time

WARM_UP = 3


def seconds(statement: str) -> float:
    """Return the wall-clock time of a Python process that runs ``statement``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)  # noqa: S603  # our own text
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=50, help="processes of each kind")
    runs = WARM_UP + parser.parse_args().runs
    pairs = [(seconds("pass"), seconds("import lossgap")) for _ in range(runs)][WARM_UP:]
    bare = statistics.median(first for first, _ in pairs)
    over = statistics.median(second - first for first, second in pairs)
    print(
        f"import lossgap: {1e3 * over:.1f} ms over bare Python's {1e3 * bare:.1f} ms "
        f"(ratio {(bare + over) / bare:.2f}, median of {len(pairs)} runs; the aim is under 50 ms)"
    )


if __name__ == "__main__":
    main()
