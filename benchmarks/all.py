"""Run every benchmark, one after the other: ``python benchmarks/all.py``, in about an hour.

Each is a process of its own that prints its ratios; ``--quick`` takes the short form of those
that have one. Nothing else should run on the machine meanwhile.
"""

import argparse
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
QUICK = {
    "estimates.py": ["--quick"],
    "import_time.py": ["--runs", "10"],
    "logging_mlflow.py": ["--n", "50", "--rounds", "2"],
    "malformed.py": ["--scale", "0.02"],
    "memory.py": ["--runs", "1", "--gigabytes", "0.5"],
    "slow_trackers.py": ["--epochs", "5", "--rounds", "1"],
    "tensorboard_tab.py": ["--models", "100", "--steps", "100"],
}
NO_BENCHMARKS = {Path(__file__).name, "networks.py"}


def processor() -> str:
    """Return the processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def main() -> int:
    """Run them, and return 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few minutes, with more noise")
    options = parser.parse_args()
    print(f"{processor()}, {platform.system()}, Python {platform.python_version()}", flush=True)
    failed = []
    for script in sorted(path for path in HERE.glob("*.py") if path.name not in NO_BENCHMARKS):
        print(f"\n## {script.name}\n", flush=True)
        arguments = QUICK.get(script.name, []) if options.quick else []
        done = subprocess.run([sys.executable, str(script), *arguments], check=False)  # noqa: S603
        if done.returncode:
            failed.append(script.name)
    if failed:
        print(f"\nFailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
