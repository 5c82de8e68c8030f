"""Run as a script: the ten models on two devices of one process, told in JSON.

Devices have to be made before a backend has started, so this takes a process of its own.
"""

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

from ten_models import TEN, together_and_alone, trained_twice

def _scope():
    """Return what makes a scope that puts variables on the devices.

    One strategy serves all models: collective operations of several get mixed up.
    """
    if HOW == "jax":
        return _distributed
    if HOW == "mirrored":
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
    return tf.distribute.OneDeviceStrategy("CPU:1").scope


@contextlib.contextmanager
def _distributed():
    devices = keras.distribution.list_devices()
    assert len(devices) == 2
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    yield


def main():
    scope, n_replicas = _scope(), 2 if HOW == "mirrored" else 1
    told = {}
    for name in TEN:
        told[name] = together_and_alone(name, scope) | trained_twice(name, scope, n_replicas)
    print(json.dumps(told))


main()
