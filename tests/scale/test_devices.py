"""The ten models on several devices and machines: the numbers and the training of one alone."""

import json
import socket
from contextlib import ExitStack
from functools import cache

import pytest

from processes import started, told_by
from ten_models import TEN, assert_alike

# One device under a strategy is hardly another case than one without: three models show that.
MODELS = {"mirrored": TEN, "one device": TEN[:3]}
CELLS = [(how, name) for how, names in MODELS.items() for name in names]


@pytest.fixture(scope="module")
def devices():
    """Return what each strategy told, asked when a test wants to know."""

    @cache
    def told(how):
        [found] = told_by(started("scale/devices.py", how, *MODELS[how]))
        return found

    return told


def cluster():
    """Return the settings of two workers on the loopback address."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    return [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]


@pytest.fixture(scope="module")
def workers():
    return told_by(*(started("scale/workers.py", TF_CONFIG=config) for config in cluster()))


@pytest.mark.parametrize(("how", "name"), CELLS)
def test_replicas_measure_what_one_device_measures(devices, how, name):
    told = devices(how)["models"][name]
    assert_alike(told["together"], told["alone"])


@pytest.mark.parametrize(("how", "name"), CELLS)
def test_replicas_train_the_same_to_the_last_bit_and_are_measured(devices, how, name):
    told = devices(how)["models"][name]
    assert told["same"]
    assert told["in_training"]["true_loss"] == pytest.approx(
        told["after_training"]["true_loss"], rel=2e-6
    )


def test_a_stream_on_several_replicas_is_refused_with_the_way_out(devices):
    error = devices("mirrored")["stream"]["alone"]
    assert "tf.distribute" in error
    assert "TrueLoss(x, y)" in error
    assert "TrueLoss(dataset)" in error


@pytest.mark.parametrize("given", ["arrays", "dataset"])
@pytest.mark.parametrize("how", MODELS)
def test_what_is_given_beside_a_stream_is_measured_with_its_parts(devices, how, given):
    told = devices(how)["stream"][given]
    assert told["same"]
    assert told["true_loss"] == pytest.approx(told["expected"], rel=2e-6)
    assert {"penalty", "dropout", "drift"} == set(told["parts"])


@pytest.mark.parametrize("name", TEN)
def test_workers_measure_what_one_process_measures(workers, name):
    for told in workers:
        assert_alike(told["models"][name]["together"], told["models"][name]["alone"])
    assert workers[0]["models"][name]["together"] == workers[1]["models"][name]["together"]


@pytest.mark.parametrize("name", TEN)
def test_workers_train_the_same_to_the_last_bit_and_are_measured(workers, name):
    for told in workers:
        found = told["models"][name]
        assert all(found["same"])
        assert found["in_training"] == pytest.approx(found["after_training"], rel=2e-6)


def test_the_chief_alone_keeps_records(workers):
    counts = [{"begin": 10, "measured": 20}, {"begin": 0, "measured": 0}]
    assert [told["recorded"] for told in workers] == counts


def test_no_worker_waits_for_one_that_has_fewer_batches_or_fails(workers):
    for told in workers:
        for when in ("one batch", "after the failure"):
            together, alone = told[when]
            assert together == pytest.approx(alone, rel=2e-6)
    assert workers[0]["failure"] == (
        "Worker 1 couldn't measure its share. ValueError: broken on worker 1"
    )
    assert workers[1]["failure"] == "broken on worker 1"
