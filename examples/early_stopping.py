"""Stop on the loss on the data, not on the penalty: python examples/early_stopping.py.

Keras's val_loss holds the penalties. While these shrink it goes on falling, though the model gets
worse on new data. true_val_loss is without them, and any callback can monitor it.
"""

import keras
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

import lossgap

data = load_breast_cancer()
x, y = scale(data.data), data.target


def train(monitor):
    """Train until ``monitor`` stops falling; return the best epoch's measurement."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((x.shape[1],)),
            keras.layers.Dense(
                128, activation="relu", kernel_regularizer=keras.regularizers.L2(0.003)
            ),
            keras.layers.Dense(
                128, activation="relu", kernel_regularizer=keras.regularizers.L2(0.003)
            ),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy")
    callback = lossgap.TrueLoss(parts=False)  # the causes aren't asked for here
    stopping = keras.callbacks.EarlyStopping(monitor=monitor, patience=5, restore_best_weights=True)
    lossgap.fit(
        model,
        x,
        y,
        epochs=100,
        validation_split=0.3,
        callbacks=[stopping],
        verbose=0,
        true_loss=callback,
    )
    return callback.measurements[stopping.best_epoch], len(callback.measurements)


for monitor in ("val_loss", "true_val_loss"):
    best, n_epochs = train(monitor)
    losses = f"val_loss {best.val_loss:.4f}, true validation loss {best.true_val_loss:.4f}"
    print(f"{monitor:13}  stopped after {n_epochs:3}, best epoch {best.epoch + 1:3}: {losses}")
