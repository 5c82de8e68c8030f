"""What augmentation in a tf.data pipeline adds: python examples/tf_data_augmentation.py.

A pipeline hands the model shifted digits. Given the clean ones too, lossgap measures the loss on
these, and says how much of the reported loss is the pipeline's.
"""

import keras
import tensorflow as tf
from sklearn.datasets import load_digits

import lossgap

keras.utils.set_random_seed(0)
digits = load_digits()
x, y = (digits.images[..., None] / 16).astype("float32"), digits.target


def shift(image, label):
    """Move an image by up to one pixel in each direction."""
    return tf.image.random_crop(tf.pad(image, [[1, 1], [1, 1], [0, 0]]), (8, 8, 1)), label


data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).map(shift).batch(32)
model = keras.Sequential(
    [
        keras.layers.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")

callback = lossgap.TrueLoss(x, y)  # the clean data
model.fit(data, epochs=8, callbacks=[callback], shuffle=False, verbose=0)  # shuffled already

for m in callback.measurements:
    added = m.parts["pipeline"].value
    losses = f"reported {m.reported_loss:.4f}  on clean digits {m.true_loss:.4f}"
    print(f"epoch {m.epoch + 1}  {losses}  the pipeline adds {added:.4f}")
