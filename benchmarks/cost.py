"""What a measurement costs: ratios against its peers, taken in turn in one run.

Usage: python benchmarks/cost.py
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import lossgap
from lossgap.core.averaging import validated_weights
from lossgap.core.decomposition import Decomposition
from lossgap.core.evaluator import Evaluator
from lossgap.core.feeds.arrays import ArrayFeed

ROUNDS = 7
BATCH_SIZE = 32


def dense() -> tuple[Any, np.ndarray, np.ndarray]:
    """Build the starting article's network and 40,000 samples of its size."""
    rng = np.random.default_rng(0)
    x = rng.random((40_000, 784), dtype=np.float32)
    y = rng.integers(0, 10, 40_000)
    stack = [
        layers.Input((784,)),
        layers.Dropout(0.4),
        layers.Dense(32, "relu"),
        layers.Dense(10, "softmax"),
    ]
    return keras.Sequential(stack), x, y


def convolutional() -> tuple[Any, np.ndarray, np.ndarray]:
    """Build a small convolutional network and 4,000 samples."""
    rng = np.random.default_rng(0)
    x = rng.random((4_000, 28, 28, 1), dtype=np.float32)
    y = rng.integers(0, 10, 4_000)
    stack = [
        layers.Input((28, 28, 1)),
        layers.Conv2D(16, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.4),
        layers.Dense(10, "softmax"),
    ]
    return keras.Sequential(stack), x, y


def bare_forward(model: Any, x: np.ndarray, batch_size: int) -> Callable[[], Any]:
    """Compile the cheapest thing that sees all samples: the forward pass and nothing else."""
    data = tf.convert_to_tensor(x)
    n_batches = -(-len(x) // batch_size)

    @tf.function(autograph=False)
    def run() -> Any:
        def body(index: Any, total: Any) -> tuple[Any, Any]:
            start = index * batch_size
            outputs = model(data[start : start + batch_size], training=False)
            return index + 1, total + tf.reduce_sum(outputs)

        return tf.while_loop(lambda index, _: index < n_batches, body, (0, 0.0))[1]

    run()
    return lambda: run().numpy()


def seconds(function: Callable[[], Any]) -> float:
    """Time one call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def in_turn(peers: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Time the peers round after round, and return the median of each in seconds."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(ROUNDS):
        for name, function in peers.items():
            times[name].append(seconds(function))
    return {name: statistics.median(values) for name, values in times.items()}


def report(title: str, build: Callable[[], tuple[Any, np.ndarray, np.ndarray]]) -> None:
    """Measure one network and print its ratios."""
    model, x, y = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    epoch = seconds(lambda: model.fit(x, y, batch_size=BATCH_SIZE, verbose=0))  # traces
    data = ArrayFeed(x, y, batch_size=BATCH_SIZE)
    weights = validated_weights(model, ())
    evaluator = Evaluator(model, data, weights, batch_size=None, metrics=True)
    parts = Decomposition(model, data, weights, seed=0)
    sizes = [2**power for power in range(5, 14)]
    forwards = {size: bare_forward(model, x, size) for size in sizes}
    best = min(sizes, key=lambda size: min(seconds(forwards[size]) for _ in range(3)))
    times = in_turn(
        {
            "epoch": lambda: model.fit(x, y, batch_size=BATCH_SIZE, verbose=0),
            "evaluate": lambda: model.evaluate(x, y, batch_size=BATCH_SIZE, verbose=0),
            "forward": forwards[best],
            "pass": evaluator.run,
            "parts": parts.run,
        }
    )
    epoch = times["epoch"]
    print(f"\n{title}, {len(x):,} samples; medians of {ROUNDS} rounds in turn")
    print(f"  one epoch of fit at batch {BATCH_SIZE}           {epoch:8.4f} s")
    print(f"  model.evaluate at batch {BATCH_SIZE}             {times['evaluate']:8.4f} s")
    print(f"  bare forward pass at batch {best:<5}      {times['forward']:8.4f} s")
    print(f"  lossgap, exact pass with accuracy     {times['pass']:8.4f} s")
    print(f"  lossgap, the gap by cause             {times['parts']:8.4f} s")
    print(f"  exact pass : model.evaluate           {times['pass'] / times['evaluate']:8.3f}")
    print(f"  exact pass : bare forward pass        {times['pass'] / times['forward']:8.3f}")
    print(f"  exact pass : epoch                    {times['pass'] / epoch:8.1%}")
    print(f"  gap by cause : epoch                  {times['parts'] / epoch:8.1%}")
    print(f"  compilation, once per fit: pass       {evaluator.compile_seconds:8.4f} s")
    print(f"  compilation, once per fit: causes     {parts.compile_seconds:8.4f} s")


if __name__ == "__main__":
    print(f"lossgap {lossgap.__version__}, Keras {keras.__version__}, TensorFlow {tf.__version__}")
    report("Dense 784-32-10 with dropout", dense)
    report("Small convolutional network", convolutional)
