"""The true loss over a data set of Ray Data: python examples/ray_data.py."""

import keras
import ray
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
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, epochs=5, verbose=0)

# On a cluster this would be ray.data.read_parquet("s3://..."), which no machine holds as a whole.
rows = [{"image": image, "label": label} for image, label in zip(x, y, strict=True)]
dataset = ray.data.from_items(rows, override_num_blocks=4)
reported = history.history["loss"][-1]
m = lossgap.ray.measure(model, dataset, x="image", y="label", reported_loss=reported)
here = lossgap.measure(model, x, y, reported_loss=reported)
print(f"by Ray's workers  true {m.true_loss:.4f}  gap {m.regularization_gap:.4f}")
print(f"in this process   true {here.true_loss:.4f}  gap {here.regularization_gap:.4f}")
ray.shutdown()
