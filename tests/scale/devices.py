"""Run as a script: the ten models on two devices of one process, told in JSON.

Devices have to be made before a backend has started, so this takes a process of its own.
"""
# ruff: noqa: E402 - see above

import contextlib
import json
import os
import sys

HOW = sys.argv[1]
if HOW == "jax":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
else:
    import tensorflow as tf

    [cpu] = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)

import keras
import numpy as np

import lossgap
from small import linear, mse, regression, state
from ten_models import TEN, together_and_alone, trained_twice


def scope_of_all():
    """Return what makes a scope that puts variables on the devices.

    One strategy serves all models: collective operations of several get mixed up.
    """
    if HOW == "jax":
        return distributed
    if HOW == "mirrored":
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
    return tf.distribute.OneDeviceStrategy("CPU:1").scope


@contextlib.contextmanager
def distributed():
    devices = keras.distribution.list_devices()
    assert len(devices) == 2
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    yield


def streamed(scope):
    """Train on a shuffled dataset, with nothing, arrays or a dataset given to lossgap."""
    x, y = regression()

    def train(*callbacks):
        keras.utils.set_random_seed(1)
        with scope():
            model = linear()
        data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(70).batch(16)
        model.fit(data, shuffle=False, epochs=2, verbose=0, callbacks=list(callbacks))
        return model

    told = {}
    plain = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    for name, given in (("arrays", (x, y)), ("dataset", (plain,))):
        callback = lossgap.TrueLoss(*given)
        theirs, ours = train(), train(callback)
        told[name] = {
            "same": all(
                np.array_equal(*pair) for pair in zip(state(ours), state(theirs), strict=True)
            ),
            "true_loss": callback.measurements[-1].true_loss,
            "expected": mse(ours, x, y),
            "parts": list(callback.measurements[-1].parts),
        }
    try:
        train(lossgap.TrueLoss())
        told["alone"] = "kept"
    except lossgap.LossgapError as error:
        told["alone"] = str(error)
    return told


def main():
    scope, n_replicas = scope_of_all(), 2 if HOW == "mirrored" else 1
    names = sys.argv[2:] or TEN
    told = {
        name: together_and_alone(name, scope) | trained_twice(name, scope, n_replicas)
        for name in names
    }
    streams = None if HOW == "jax" else streamed(scope)
    print(json.dumps({"models": told, "stream": streams}))  # noqa: T201 - what it was started for


main()
