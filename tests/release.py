"""Check a release as its users get it: `tox run -e release`.

Builds the wheel and the sdist, installs each into a fresh environment, and runs the demo there, in
an empty directory and without the source tree. Usage: python tests/release.py FOLDER
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Nothing of this environment leads the fresh one to the source tree.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(*command, cwd):
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], cwd=cwd, env=ENVIRONMENT, check=True)


def build(folder):
    """Build both distributions, and return their paths."""
    for kind in ("wheel", "sdist"):
        run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder, cwd=ROOT)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def check(archive, folder):
    """Install an archive with the extra `demo`, and run the demo."""
    environment, elsewhere = folder / "environment", folder / "elsewhere"
    venv.create(environment, with_pip=True, clear=True)
    elsewhere.mkdir(parents=True, exist_ok=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{archive}[demo]", cwd=elsewhere)
    found = subprocess.run(
        [python, "-c", "import lossgap; print(lossgap.__file__)"],
        cwd=elsewhere,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert Path(found).is_relative_to(environment), found
    demo = subprocess.run(
        [environment / "bin" / "lossgap", "demo", "--epochs", "2", "--json"],
        cwd=elsewhere,
        env=ENVIRONMENT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    answer = json.loads(demo)
    assert len(answer["models"]) == 3
    assert set(answer["commands"]) == {"mlflow", "tensorboard", "wandb"}
    assert (elsewhere / answer["report"]).stat().st_size > 100_000
    print(f"{archive.name}: installed, and its demo runs.", flush=True)


def main():
    folder = Path(sys.argv[1]).resolve()
    dist = folder / "dist"
    for old in dist.glob("lossgap-*"):
        old.unlink()
    for archive in build(dist):
        check(archive, folder / archive.suffix.removeprefix("."))


if __name__ == "__main__":
    main()
