"""What class weights do to the reported loss: python examples/class_imbalance.py.

A rare class (one digit among the other nine) is weighted up, as one does. Keras then reports a
weighted training loss beside an unweighted validation loss.
"""

import keras
from sklearn.datasets import load_digits

import lossgap

keras.utils.set_random_seed(0)
digits = load_digits()
x, is_eight = digits.data / 16, (digits.target == 8).astype("float32")
weights = {0: 1.0, 1: float((1 - is_eight.mean()) / is_eight.mean())}

model = keras.Sequential(
    [
        keras.layers.Input((64,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["recall"])
callback = lossgap.TrueLoss()
lossgap.fit(
    model,
    x,
    is_eight,
    epochs=10,
    validation_split=0.2,
    class_weight=weights,
    verbose=0,
    true_loss=callback,
)

last = callback.measurements[-1]
print(f"One digit in {1 / is_eight.mean():.0f} is an eight, and weighs {weights[1]:.1f}.")
print(f"Keras: training {last.reported_loss:.4f}, validation {last.val_loss:.4f}")
print(f"alike: training {last.true_loss:.4f}, validation {last.true_val_loss:.4f}")
print(f"The class weights add {last.parts['class_weight'].value:.4f} to what Keras reports.")
