"""Online runs against a stand-in for W&B's server, healthy and not. Every row is counted."""

import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

import chart_samples
import wandb_stub
from lossgap import LossgapWarning
from lossgap.core import keys
from lossgap.core.observers import Training
from lossgap.core.summary import Summary
from lossgap.trackers import Delivery, leftovers
from lossgap.wandb import WandbTracker, faults, written
from wandb_runs import PATIENCE, folder, n_journals, ours, read, sync, train, until, wait_for_end

N = 12
WHOLE = chart_samples.training(N, standard_error=0.004)


def start(**settings):
    """Start an online run that doesn't wait long for a server that is gone."""
    given = {"finish_timeout": 3.0, "init_timeout": 60.0, "x_file_stream_transmit_interval": 1.0}
    return wandb.init(project="project", settings=wandb.Settings(**given | settings))


def epochs(rows):
    return [row["lossgap/epoch"] for row in ours(rows)]


def everything_is_on_disk(run):
    wait_for_end(folder(run))
    assert [m.epoch for m in read(folder(run))] == list(range(N))


def everything_is_delivered(server, run):
    assert server.wait_for(lambda: len(ours(server.history(run.id))) >= N, PATIENCE)
    assert epochs(server.history(run.id)) == list(range(N))


def tracked(rows):
    """Return the numbers of rows as the server has them: 1.0 arrives as 1."""
    return [{k: float(v) for k, v in row.items()} for row in ours(rows)]


def test_every_row_arrives_whole(server):
    run = start()
    lines = train(WHOLE, notes=True)
    assert f"12 measurements in {run.url}" in lines[0]
    run.finish()
    everything_is_delivered(server, run)
    for measurement, row in zip(WHOLE, tracked(server.history(run.id)), strict=True):
        assert measurement.tracked().items() <= row.items()
    assert run.id in server.complete
    summary = server.summaries[run.id]
    for name in (keys.TRUE_LOSS, keys.REGULARIZATION_GAP):
        assert summary[keys.tracked(name)] == WHOLE[-1].tracked()[keys.tracked(name)]
    assert server.configs[run.id]["lossgap"]["value"]["n_total"] == 60_000
    assert server.notes[run.id] == f"lossgap: {Summary(WHOLE).verdict}"


def test_no_other_requests_than_the_plain_ones_are_sent(server):
    run = start()
    train(WHOLE)
    run.finish()
    # No tables, no artifacts: those block a training.
    sent = {name for name, _ in server.operations}
    assert sent <= {"UpsertBucket", "CreateRunFiles", "Viewer", "ServerFeaturesQuery", "Entity"}


def test_shared_mode_takes_rows_of_several_writers(server):
    run = start(mode="shared", x_label="trainer", x_primary=True)
    train(WHOLE, run)
    run.finish()
    everything_is_delivered(server, run)


def test_a_sweeps_run_is_an_active_run_like_any_other(server, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "a-sweep")
    wandb.teardown()
    run = start()
    train(WHOLE)
    assert run.sweep_id == "a-sweep"
    run.finish()
    everything_is_delivered(server, run)
    assert any(v.get("sweep") == "a-sweep" for v in server.named("UpsertBucket"))


# Servers that die or refuse.


class Trainer:
    """Logs the first half, lets something happen, and logs the second half."""

    def __init__(self, run):
        self.run = run
        self.delivery = Delivery(WandbTracker())
        self.delivery.begin(Training({}))

    def log(self, part):
        for measurement in part:
            self.delivery.measured(measurement)

    def end(self):
        return self.delivery.end(Summary(WHOLE))


def test_a_server_that_dies_loses_nothing(server):
    run = start()
    trainer = Trainer(run)
    trainer.log(WHOLE[:6])
    assert server.wait_for(lambda: len(ours(server.history(run.id))) == 6, PATIENCE)
    server.stop()
    trainer.log(WHOLE[6:])
    until(lambda: faults.upload_trouble(run))
    with pytest.warns(LossgapWarning, match="refused.*wandb sync --include-online") as warned:
        trainer.end()
    assert len(warned) == 1
    run.finish()  # within its finish_timeout
    assert len(ours(server.history(run.id))) == 6
    everything_is_on_disk(run)
    server.start()
    assert sync(folder(run)).returncode == 0
    everything_is_delivered(server, run)


def test_a_server_that_comes_back_gets_what_it_missed(server):
    run = start(finish_timeout=PATIENCE)
    trainer = Trainer(run)
    trainer.log(WHOLE[:6])
    assert server.wait_for(lambda: len(ours(server.history(run.id))) == 6, PATIENCE)
    server.stop()
    trainer.log(WHOLE[6:])
    until(lambda: faults.upload_trouble(run))
    server.start()
    until(lambda: faults.upload_trouble(run) is None)
    assert trainer.end()  # and no warning
    run.finish()
    everything_is_on_disk(run)
    everything_is_delivered(server, run)


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_is_one_warning_with_the_way_to_deliver(server, status):
    run = start()
    trainer = Trainer(run)
    trainer.log(WHOLE[:6])
    assert server.wait_for(lambda: len(ours(server.history(run.id))) == 6, PATIENCE)
    server.stream_fault = status
    trainer.log(WHOLE[6:])
    assert server.refused.wait(PATIENCE)
    until(lambda: faults.upload_trouble(run))
    with pytest.warns(LossgapWarning, match=f"{status}.*wandb sync --include-online") as warned:
        trainer.end()
    assert len(warned) == 1
    assert str(folder(run)) in str(warned[0].message)
    run.finish()
    everything_is_on_disk(run)
    server.stream_fault = None
    assert sync(folder(run)).returncode == 0
    everything_is_delivered(server, run)


def test_a_server_with_errors_gets_the_rows_when_it_is_well_again(server):
    run = start(finish_timeout=PATIENCE)
    trainer = Trainer(run)
    trainer.log(WHOLE[:6])
    assert server.wait_for(lambda: len(ours(server.history(run.id))) == 6, PATIENCE)
    server.stream_fault = 500
    trainer.log(WHOLE[6:])
    assert server.refused.wait(PATIENCE)
    until(lambda: faults.upload_trouble(run))
    with pytest.warns(LossgapWarning, match="500.*wandb sync --include-online"):
        trainer.end()
    server.stream_fault = None
    run.finish()
    everything_is_on_disk(run)
    everything_is_delivered(server, run)


def test_an_offline_run_is_delivered_by_sync(server):
    run = wandb.init(project="project", mode="offline")
    train(WHOLE)
    run.finish()
    wait_for_end(folder(run))
    assert not server.rows
    assert sync(folder(run)).returncode == 0
    everything_is_delivered(server, run)


# Processes that are killed.

PROGRAM = """
import os, signal, sys, time
from dataclasses import replace
sys.path[:0] = {path!r}
import wandb
import chart_samples
from lossgap.core.observers import Training
from lossgap.trackers import Delivery

def later(n):
    # None takes as long as one of the first training.
    return [replace(m, seconds=m.seconds + 1.0) for m in chart_samples.training(n)]


run = wandb.init(project="project", settings=wandb.Settings(x_file_stream_transmit_interval=1.0))
print(os.path.dirname(run.dir), run.id, flush=True)
delivery = Delivery("wandb")
delivery.begin(Training({{}}))
while delivery._outboxes[0]._keeper.path is None:  # before the first epoch of a real training
    time.sleep(0.001)
for measurement in chart_samples.training({n}, standard_error=0.004):
    delivery.measured(measurement)
{then}
"""
LOGGED_THEN = """
delivery._outboxes[0].settle(100)
print("logged", flush=True)
time.sleep(600)
"""


def run_program(then):
    program = PROGRAM.format(path=sys.path, n=N, then=then)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed(after):
    """Kill a training after some of W&B's work, and return its run's folder and id."""
    process = run_program(LOGGED_THEN)
    place, run = process.stdout.readline().split()
    assert process.stdout.readline() == "logged\n"
    after(place, run)
    process.kill()
    process.communicate()
    return place, run


def resent():
    """Send what was left, as ``lossgap sync`` does, and return what it says."""
    outcomes = list(leftovers.send_all())
    assert [(outcome.n_left, outcome.trouble) for outcome in outcomes] in ([], [(0, None)])
    assert n_journals() == 0
    return [line for outcome in outcomes for line in outcome.lines]


def test_a_trainer_that_is_killed_loses_no_row_that_the_server_had(server):
    place, run = killed(
        lambda _, run: server.wait_for(lambda: len(ours(server.history(run))) == N, PATIENCE)
    )
    sync(place)  # of what W&B had written by then
    resent()
    assert epochs(server.history(run)) == list(range(N))


def resent_after_sync(place):
    """Do what the user is told: W&B's own program delivers what it wrote, lossgap sync the rest."""
    on_disk = read_or_nothing(place)
    for outcome in leftovers.send_all():
        assert bool(on_disk) == bool(outcome.trouble)
        if on_disk:
            assert f"wandb sync --include-online {place}. Then run this again" in outcome.trouble
            assert outcome.n_left == N
    if on_disk:
        assert sync(place).returncode == 0
    assert [outcome.trouble for outcome in leftovers.send_all() if outcome.n_left] == []
    assert n_journals() == 0


def test_a_trainer_that_is_killed_before_the_server_had_its_rows_loses_none(server):
    """W&B has them in memory, the server has nothing."""
    server.stream_fault = 500
    place, run = killed(lambda *_: server.refused.wait(PATIENCE))
    server.stream_fault = None
    resent_after_sync(place)
    everything_is_delivered(server, run_called(run))


def test_what_is_on_disk_and_not_at_the_server_goes_first(server):
    server.stream_fault = 500
    place, run = killed(lambda place, _: until(lambda: len(read_or_nothing(place)) > N // 2))
    server.stream_fault = None
    resent_after_sync(place)
    everything_is_delivered(server, run_called(run))


def test_a_trainer_that_is_killed_when_the_server_had_half_loses_none(server):
    def half_arrives(_, run):
        assert server.wait_for(lambda: len(ours(server.history(run))) == N, PATIENCE)
        for number in [n for n, row in server.rows[run].items() if row["lossgap/epoch"] >= N // 2]:
            del server.rows[run][number]  # as if they had been on their way

    place, run = killed(half_arrives)
    resent_after_sync(place)
    everything_is_delivered(server, run_called(run))
    tracked_here = tracked(server.history(run))
    for measurement, row in zip(WHOLE, tracked_here, strict=True):
        assert measurement.tracked().items() <= row.items()


@pytest.mark.parametrize("moment", ["at once", "when all is on disk"])
def test_an_offline_trainer_that_is_killed_loses_no_row(server, monkeypatch, moment):
    monkeypatch.setenv("WANDB_MODE", "offline")
    wait = {
        "at once": lambda *_: None,
        # W&B writes its file from time to time.
        "when all is on disk": lambda place, _: until(lambda: len(read_or_nothing(place)) == N),
    }
    place, run = killed(wait[moment])
    n_on_disk = len(read_or_nothing(place))
    lines = resent()
    told = "".join(lines).partition("To upload: wandb sync ")[2]
    folders = told.split() or [place]  # all on disk: nothing was left
    assert (place in folders) == written.is_begun(Path(place))
    assert any(folder != place for folder in folders) == (n_on_disk < N)
    assert sync(*folders).returncode == 0
    everything_is_delivered(server, run_called(run))


def test_what_cannot_be_sent_stays_until_it_can(server):
    server.stream_fault = 500
    place, run = killed(lambda *_: server.refused.wait(PATIENCE))
    server.fault = 401
    (outcome,) = leftovers.send_all()
    assert outcome.n_left == N
    assert "W&B" in outcome.trouble
    server.fault = server.stream_fault = None
    resent_after_sync(place)
    everything_is_delivered(server, run_called(run))


def run_called(name):
    return SimpleNamespace(id=name)


def read_or_nothing(place):
    try:
        return read(place)
    except Exception:  # noqa: BLE001 - nothing is on disk yet
        return []


DEAD_CORE = """
sys.stdin.readline()
import warnings
for process in os.popen("ps -wweo pid=,args=").read().splitlines():
    pid, _, arguments = process.strip().partition(" ")
    if "wandb-core" in arguments and arguments.endswith(f"--pid {os.getpid()}"):
        os.kill(int(pid), signal.SIGKILL)
time.sleep(0.5)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for measurement in later(50):
        delivery.measured(measurement)
        time.sleep(0.002)
    delivery.end(None)
for warning in caught:
    print(str(warning.message).replace(chr(10), " "), flush=True)
print("the training went on", flush=True)
sys.stdout.flush()
os._exit(0)
"""


def test_a_training_goes_on_without_wandb_core(server):
    process = run_program(DEAD_CORE)
    place, run = process.stdout.readline().split()
    assert server.wait_for(lambda: len(ours(server.history(run))) == N, PATIENCE)
    output, errors = process.communicate("now\n", timeout=PATIENCE)
    *told, last = output.splitlines()
    assert last == "the training went on", errors
    first, rest = [line for line in told if line.startswith("lossgap: ")]
    assert "own process is gone" in first
    assert f"wandb sync --include-online {place}" in first
    waiting = int(re.search(r"(\d+) measurements", rest)[1])
    assert 50 <= waiting <= 50 + N  # also those that W&B hadn't written yet
    assert "lossgap sync" in rest
    # What came before is there once; what came after waits on disk.
    assert epochs(server.history(run)) == list(range(N))
    sync(place)  # of what W&B had written by then
    assert epochs(server.history(run)) == list(range(N))
    resent()
    assert epochs(server.history(run)) == [*range(N), *range(50)]


FINISHED_TOO_EARLY = """
run.finish()
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for measurement in later(50):
        delivery.measured(measurement)
    delivery.end(None)
for warning in caught:
    print(str(warning.message).replace(chr(10), " "), flush=True)
"""


def test_a_run_that_was_finished_too_early_is_given_the_rest(server):
    process = run_program(FINISHED_TOO_EARLY)
    output, errors = process.communicate(timeout=PATIENCE)
    (_, run), first, last = output.splitlines()[0].split(), *output.splitlines()[1:]
    assert "finished before the training" in first, errors
    assert "50 measurements" in last
    assert "lossgap sync" in last
    assert epochs(server.history(run)) == list(range(N))
    resent()
    assert epochs(server.history(run)) == [*range(N), *range(50)]


def test_an_unreachable_server_at_the_start_ends_within_its_timeout(server):
    server.stop()
    began = time.monotonic()
    with pytest.raises(wandb.errors.CommError):
        start(init_timeout=2.0)
    assert wandb.run is None
    assert time.monotonic() > began


def test_the_stub_remembers_what_it_is_sent():
    stub = wandb_stub.Stub()
    try:
        stub.stream(
            "run", {"files": {"wandb-history.jsonl": {"offset": 0, "content": ['{"a": 1}']}}}
        )
        assert stub.history("run") == [{"a": 1}]
    finally:
        stub.stop()
