"""The true loss in a training loop of your own: python examples/custom_loop.py."""

import keras
import tensorflow as tf
from sklearn.datasets import load_digits

import lossgap

keras.utils.set_random_seed(0)
digits = load_digits()
x, y = (digits.data / 16).astype("float32"), digits.target
model = keras.Sequential(
    [
        keras.layers.Input((64,)),
        keras.layers.Dropout(0.4),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
# Compiled, so that lossgap knows the loss; the training below doesn't use `fit`.
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")


@tf.function
def step(batch_x, batch_y):
    """Take one step of training, and return the loss that it saw."""
    with tf.GradientTape() as tape:
        predicted = model(batch_x, training=True)
        loss = model.compute_loss(x=batch_x, y=batch_y, y_pred=predicted)
    gradients = tape.gradient(loss, model.trainable_variables)
    model.optimizer.apply(gradients, model.trainable_variables)
    return loss


for epoch in range(5):
    mean = keras.metrics.Mean()
    for batch in tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).batch(32):
        mean.update_state(step(*batch))
    m = lossgap.measure(model, x, y, reported_loss=float(mean.result()))
    causes = "  ".join(f"{name} {part.value:+.4f}" for name, part in m.parts.items())
    print(f"epoch {epoch + 1}  reported {m.reported_loss:.4f}  true {m.true_loss:.4f}  {causes}")
