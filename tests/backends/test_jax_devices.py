"""The ten models on two devices of JAX: the numbers and the training of one alone."""

import pytest

from processes import started, told_by
from ten_models import TEN, assert_alike


@pytest.fixture(scope="module")
def devices():
    [told] = told_by(started("scale/devices.py", "jax"))
    return told["models"]


@pytest.mark.parametrize("name", TEN)
def test_a_batch_that_is_split_over_devices_is_measured_as_on_one(devices, name):
    assert_alike(devices[name]["together"], devices[name]["alone"])


@pytest.mark.parametrize("name", TEN)
def test_devices_train_the_same_to_the_last_bit_and_are_measured(devices, name):
    assert devices[name]["same"]
    assert devices[name]["in_training"]["true_loss"] == pytest.approx(
        devices[name]["after_training"]["true_loss"], rel=2e-6
    )
