"""What the package needs, and says when it isn't there."""

import subprocess
import sys

import pytest


def run(program, *arguments):
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_importing_the_package_loads_nothing_else():
    program = (
        "import sys; bare = set(sys.modules); import lossgap.tensorboard as t; t.autolog; "
        "t.TensorBoardTracker; print(*{n.partition('.')[0] for n in set(sys.modules) - bare})"
    )
    tops = set(run(program).stdout.split())
    assert tops - sys.stdlib_module_names == {"lossgap"}


WRITE = """
import sys, lossgap.tensorboard
from lossgap.core.measurement import Measurement
from lossgap.core.observers import Training
tracker = lossgap.tensorboard.TensorBoardTracker(sys.argv[1])
tracker.start(Training({}))
tracker.log(Measurement(0.5, epoch=0), 1.0)
print(*tracker.finish(None, failed=False))
from lossgap.tensorboard import reader
print(reader.read(sys.argv[1])[0].measurements[0].true_loss)
loaded = {n.partition('.')[0] for n in sys.modules}
print(sorted(loaded & {"tensorflow", "keras", "jax", "torch"}))
"""


def test_writing_and_reading_load_no_backend_even_where_one_is_installed(tmp_path):
    process = run(WRITE, str(tmp_path))
    assert process.stderr == ""
    assert process.stdout.splitlines()[1:] == ["0.5", "[]"]


@pytest.mark.parametrize(
    "call",
    [
        "TensorBoardTracker()",
        "autolog()",
    ],
)
def test_without_tensorboard_the_way_out_is_said_before_the_training(call):
    program = (
        f"import sys; sys.modules['tensorboard'] = None; import lossgap.tensorboard as t; t.{call}"
    )
    process = run(program)
    assert process.returncode == 1
    assert process.stderr.rstrip().endswith('pip install "lossgap[tensorboard]"')
