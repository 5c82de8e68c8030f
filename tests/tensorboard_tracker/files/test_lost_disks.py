"""A disk that goes away: one warning, and the training goes on. And a process that is killed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import chart_samples
import event_logs
from lossgap.core.observers import Training
from lossgap.errors import LossgapWarning
from lossgap.tensorboard import TensorBoardTracker
from lossgap.tensorboard.events import begin
from lossgap.tensorboard.writer import EventWriter
from lossgap.trackers import Delivery


def log_through_delivery(log_dir, happening, *, at, n=6):
    """Log n epochs as a training does; before one of them something happens to the disk."""
    delivery = Delivery(TensorBoardTracker(log_dir))
    delivery.begin(Training({}))
    for m in chart_samples.training(n):
        if m.epoch == at:
            wait_for(lambda: n_points(log_dir / "validation_true") == at)
            happening()
        delivery.measured(m)
    return delivery.end(None)


def n_points(run):
    return len(event_logs.points(run).get("epoch_loss", ())) if run.is_dir() else 0


def wait_for(ready):
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_removed_directory_is_told_once(tmp_path):
    log_dir = tmp_path / "logs"
    with pytest.warns(LossgapWarning) as caught:
        lines = log_through_delivery(log_dir, lambda: shutil.rmtree(log_dir), at=2)
    (warning,) = caught
    assert "tensorboard failed, and the training goes on" in str(warning.message)
    assert "Was the log directory removed?" in str(warning.message)
    assert not log_dir.exists()
    assert len(lines) <= 1


def test_a_directory_that_lets_no_file_be_made_is_told_once(tmp_path):
    def occupy():
        (log_dir / "validation_true").rename(tmp_path / "away")
        (log_dir / "validation_true").write_text("not a directory")

    log_dir = tmp_path / "logs"
    with pytest.warns(LossgapWarning) as caught:
        log_through_delivery(log_dir, occupy, at=2)
    assert len(caught) == 1
    # What can be written is written.
    assert len(event_logs.points(log_dir / "gap")["lossgap/true_loss"]) == 6


READ_ONLY = """
import os, pathlib, sys
import chart_samples
from lossgap.core.observers import Training
from lossgap.tensorboard import TensorBoardTracker
from lossgap.trackers import Delivery
log_dir = pathlib.Path(sys.argv[1])
delivery = Delivery(TensorBoardTracker(log_dir))
delivery.begin(Training({}))
for m in chart_samples.training(6):
    if m.epoch == 2:
        assert delivery._outboxes[0].settle(60)
        for folder in (*log_dir.rglob("*"), log_dir):
            folder.chmod(0o555)
        if os.geteuid() == 0:  # who may write everywhere
            os.seteuid(65534)
    delivery.measured(m)
assert delivery._outboxes[0].settle(60)
os.seteuid(os.getuid())  # who may read Python's own modules
delivery.end(None)
"""


def test_a_directory_that_becomes_read_only_in_mid_training_loses_nothing(figures):
    """The files are open by then."""
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o755)
        log_dir = Path(temporary, "logs")
        process = subprocess.run(
            [sys.executable, "-W", "error", "-c", READ_ONLY, str(log_dir)],
            env={**os.environ, "PYTHONPATH": str(Path(event_logs.__file__).parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (process.returncode, process.stderr) == (0, "")
        found = [event_logs.points(log_dir / run) for run in event_logs.SUB_RUNS]
        for folder in (log_dir, *log_dir.rglob("*")):
            folder.chmod(0o755)
    numbers = {len(curve) for curves in found for curve in curves.values()}
    assert numbers == {6}
    figures("TensorBoard's log directory made read-only", 6, 6)


def test_what_goes_on_after_the_clock_was_set_back_is_read_last(tmp_path, monkeypatch):
    """TensorBoard reads files in the order of their names, which begin with a time."""
    event_logs.write(tmp_path, chart_samples.training(6))
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3600 * 10**9)
    event_logs.write(tmp_path, chart_samples.training(8, base=0.3)[4:])
    for run in event_logs.SUB_RUNS:
        starts = [e.step for e in event_logs.events(tmp_path / run) if e.HasField("session_log")]
        assert starts == [0, 4]


class AlmostFull:
    """A file on a disk that takes a few bytes more."""

    def __init__(self, file):
        self._file = file
        self._left = 3

    def write(self, data):
        if not self._left:
            raise OSError(28, "No space left on device")
        n, self._left = self._left, 0
        return self._file.write(data[:n])

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_full_disk_leaves_whole_records_and_writing_goes_on(tmp_path, monkeypatch):
    writer = EventWriter(tmp_path, 0)
    whole = next(tmp_path.iterdir()).stat().st_size
    real = writer._file
    monkeypatch.setattr(writer, "_file", AlmostFull(real))
    with pytest.raises(OSError, match="No space left"):
        writer.write([begin(1.0)])
    assert next(tmp_path.iterdir()).stat().st_size == whole
    monkeypatch.setattr(writer, "_file", real)
    writer.write([begin(2.0)])
    writer.close()
    assert [event.wall_time for event in event_logs.events(tmp_path)][-1] == 2.0


TRAINER = """
import sys, time, chart_samples
from lossgap.core.observers import Training
from lossgap.tensorboard import TensorBoardTracker
tracker = TensorBoardTracker(sys.argv[1])
tracker.start(Training({}))
for m in chart_samples.training(100_000):
    tracker.log(m, time.time())
    print(m.epoch, flush=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_process_loses_nothing_that_was_logged(tmp_path, seed, figures):
    environment = {**os.environ, "PYTHONPATH": str(Path(event_logs.__file__).parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    told = [process.stdout.readline()]
    time.sleep(random.Random(seed).uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    told += [line for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    curves = event_logs.points(tmp_path / "gap")
    assert len({tuple(step for step, _ in curve) for curve in curves.values()}) == 1
    for run in event_logs.SUB_RUNS:
        for curve in event_logs.points(tmp_path / run).values():
            steps = [step for step, _ in curve]
            assert steps == list(range(len(steps)))
            assert steps[-1] >= int(told[-1])
    made = int(told[-1]) + 1
    figures("TensorBoard, and a kill", made, min(made, len(steps)))


def test_a_killed_training_is_gone_on_with_from_its_checkpoint(tmp_path):
    event_logs.write(tmp_path, chart_samples.training(6))
    event_logs.write(tmp_path, chart_samples.training(8, base=0.3)[4:])
    assert event_logs.runs(tmp_path) == event_logs.SUB_RUNS
    for run in event_logs.SUB_RUNS:
        # From here on TensorBoard drops what it had read; its loaders are tested with the pages.
        starts = [e.step for e in event_logs.events(tmp_path / run) if e.HasField("session_log")]
        assert starts == [0, 4]
