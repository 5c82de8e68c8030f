"""Run as a script, once for each worker: the ten models on two machines, told in JSON.

Keras's own `fit` can't train under this strategy (`_maybe_symbolic_build` reduces values that a
single worker doesn't have), so the training is a loop of the user's own, as TensorFlow's guide
has it.
"""

import json
import sys

import keras
import tensorflow as tf

import lossgap
from ten_models import BY_NAME, TEN, built, measured, told, together_and_alone

STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()
RANK = STRATEGY.cluster_resolver.task_id


def train(name, measuring):
    """Train for two epochs in a loop of one's own, and return what is left."""
    model, x, y, sample_weight = built(name, STRATEGY.scope)
    size = BY_NAME[name].batch_size
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(size, drop_remainder=True)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    data = STRATEGY.experimental_distribute_dataset(data.with_options(options))
    callback = lossgap.TrueLoss(x, y, sample_weight=sample_weight)
    callback.observer = Counting()
    callbacks = keras.callbacks.CallbackList([callback] if measuring else [], model=model)

    def step(batch):
        inputs, targets = batch
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = model.compute_loss(inputs, targets, outputs)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    @tf.function
    def train_step(batch):
        return STRATEGY.reduce("SUM", STRATEGY.run(step, args=(batch,)), axis=None)

    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        losses = [float(train_step(batch)) for batch in data]
        callbacks.on_epoch_end(epoch, {"loss": sum(losses) / len(losses)})
    callbacks.on_train_end()
    variables = [*model.variables, *model.optimizer.variables]
    values = [keras.ops.convert_to_numpy(v).tobytes() for v in variables]
    alone, *data = built(name)
    alone.set_weights(model.get_weights())
    return {
        "left": (values, losses),
        "measured": [told(m) for m in callback.measurements],
        "alone": measured(name, alone, *data),
        "logged": callback.observer.told,
    }


class Counting:
    """An observer that counts what it is told."""

    def __init__(self):
        self.told = {"begin": 0, "measured": 0, "end": 0}

    def begin(self, training):
        self.told["begin"] += 1

    def measured(self, measurement):
        self.told["measured"] += 1

    def end(self, summary, *, failed=False):
        self.told["end"] += 1
        return []


def failing_on_one():
    """Measure where one worker's share fails: return what each of them is told."""
    model, x, y, sample_weight = built(TEN[0], STRATEGY.scope)
    y = np.where(np.arange(len(y)) == len(y) - 1, 99, y)
    with pytest.raises
    try:
        lossgap.measure(model, x, y, sample_weight=sample_weight)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return f"{type(error).__name__}: {error}"


def main():
    found = {}
    for name in TEN:
        found[name] = together_and_alone(name, STRATEGY.scope)
        theirs, ours = train(name, measuring=False), train(name, measuring=True)
        ours["same"] = theirs.pop("left") == ours.pop("left")
        found[name] |= ours
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
