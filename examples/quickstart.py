"""The true training loss of one small model: python examples/quickstart.py."""

import keras
from sklearn.datasets import load_digits

import lossgap

keras.utils.set_random_seed(0)
digits = load_digits()
model = keras.Sequential(
    [
        keras.layers.Input((64,)),
        keras.layers.Dropout(0.4),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")

# lossgap.fit takes what model.fit takes, and returns the same History.
callback = lossgap.TrueLoss()
x, y = digits.data / 16, digits.target
lossgap.fit(model, x, y, epochs=10, validation_split=0.2, verbose=0, true_loss=callback)

for m in callback.measurements:
    losses = f"reported {m.reported_loss:.4f}  true {m.true_loss:.4f}  val {m.val_loss:.4f}"
    print(f"epoch {m.epoch + 1:2}  {losses}")
print(callback.summary())
