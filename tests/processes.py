"""Scripts in processes of their own, which tell what they found in JSON on their last line."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 540  # so that processes which wait for each other end, and not the whole run


def started(script, *arguments, **variables):
    """Start a script, by its path below this folder."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(HERE / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **variables},
    )


def told_by(*processes):
    """Wait for processes, and return what each of them told."""
    try:
        outputs = [process.communicate(timeout=TIMEOUT_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in outputs]
