"""Run as a script, once for each worker: the ten models on two machines, told in JSON.

Keras's own ``fit`` can't train here: before its first step it takes the mean of a batch over
the replicas of all workers, and has only its own. So the training is a loop of the user's own.
"""
# ruff: noqa: E402 - the strategy has to be made before anything of TensorFlow runs

import json
import sys

import tensorflow as tf

STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()
RANK = STRATEGY.cluster_resolver.task_id

import keras

import lossgap
from lossgap.core.evaluator import Evaluator
from small import linear, regression
from ten_models import TEN, batch_size, built, measured, state_after, together_and_alone, told


class Counting:
    """An observer that counts what it is told."""

    def __init__(self):
        self.told = {"begin": 0, "measured": 0}

    def begin(self, training):
        self.told["begin"] += 1

    def measured(self, measurement):
        self.told["measured"] += 1

    def end(self, summary, *, failed=False):
        return []

    def troubles(self):
        return ()


COUNTING = Counting()


def as_lists(structure):
    """Return the structure as models take it: datasets have tuples where these have lists."""
    return list(structure) if isinstance(structure, tuple) else structure


def as_tuples(structure):
    return tuple(structure) if isinstance(structure, list) else structure


def step_of(model):
    """Return a training step on all workers, as TensorFlow's guide has it."""

    def step(batch):
        inputs, targets = map(as_lists, batch)
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = model.compute_loss(inputs, targets, outputs)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    @tf.function
    def on_all(batch):
        return STRATEGY.reduce("SUM", STRATEGY.run(step, args=(batch,)), axis=None)

    return on_all


def train(name, *callbacks):
    """Train for two epochs, and return the model and all that is left."""
    model, x, y, _ = built(name, STRATEGY.scope)
    data = tf.data.Dataset.from_tensor_slices((as_tuples(x), as_tuples(y)))
    data = data.batch(batch_size(name), drop_remainder=True)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    data = STRATEGY.experimental_distribute_dataset(data.with_options(options))
    step, told_of = step_of(model), keras.callbacks.CallbackList(list(callbacks), model=model)
    history = {"loss": []}
    told_of.on_train_begin()
    for epoch in range(2):
        told_of.on_epoch_begin(epoch)
        losses = [float(step(batch)) for batch in data]
        history["loss"].append(sum(losses) / len(losses))
        told_of.on_epoch_end(epoch, {"loss": history["loss"][-1]})
    told_of.on_train_end()
    return model, state_after(model, history, metrics=False)


def trained_twice(name):
    """Train without and with a measurement, which only the chief passes on."""
    _, x, y, sample_weight = built(name)
    callback = lossgap.TrueLoss(x, y, sample_weight=sample_weight, batch_size=batch_size(name))
    callback.observer = COUNTING
    _, theirs = train(name)
    model, ours = train(name, callback)
    alone, *data = built(name)
    alone.set_weights(model.get_weights())
    return {
        "same": [mine == its for mine, its in zip(ours, theirs, strict=True)],
        "in_training": told(callback.measurements[-1])["true_loss"],
        "after_training": measured(name, alone, *data)["true_loss"],
    }


def of_one_batch():
    """Measure a single batch, so that one of the workers has none."""
    x, y = regression(10)
    with STRATEGY.scope():
        together = linear()
    alone = linear()
    alone.set_weights(together.get_weights())
    return [lossgap.measure(model, x, y).true_loss for model in (together, alone)]


def failing():
    """Let the share of one worker fail, and return what this one is told."""
    x, y = regression()
    with STRATEGY.scope():
        model = linear()
    if RANK == 1:

        def broken(self, rank, n_workers):
            raise ValueError("broken on worker 1")

        Evaluator._share, right = broken, Evaluator._share
    try:
        lossgap.measure(model, x, y)
    except (lossgap.LossgapError, ValueError) as error:
        return str(error)
    finally:
        if RANK == 1:
            Evaluator._share = right
    return "nothing failed"


def main():
    names = sys.argv[1:] or TEN
    found = {
        "models": {
            name: together_and_alone(name, STRATEGY.scope) | trained_twice(name) for name in names
        },
        "recorded": COUNTING.told,
        "one batch": of_one_batch(),
        "failure": failing(),
        "after the failure": of_one_batch(),
    }
    print(json.dumps(found))  # noqa: T201 - what it was started for


main()
