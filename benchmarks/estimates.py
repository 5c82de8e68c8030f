"""What an exact and an estimated true loss cost, as ratios in one run, and what they promise.

Usage: python benchmarks/estimates.py [--quick] [--only SECTION ...]

The sections are: exact, steps, budget, references, coverage, growth, streams
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from networks import NETWORKS, clusters, compiled

import lossgap
from lossgap.core.averaging import validated_weights
from lossgap.core.estimates.intervals import interval
from lossgap.core.estimates.means import Moments, regression_mean, stratified_mean
from lossgap.core.estimates.planning import Precision
from lossgap.core.evaluator import Evaluator
from lossgap.core.feeds.arrays import ArrayFeed
from lossgap.core.sampler import Sampler

ROUNDS = 7
Z95 = 1.96


def seconds(function: Callable[[], Any]) -> float:
    """Time one call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def in_turn(peers: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Time the peers round after round, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, function in peers.items():
            times[name].append(seconds(function))
    return times


def ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def row(*cells: Any) -> None:
    """Print a row of a table in Markdown."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def head(title: str, *columns: str) -> None:
    """Print a title and the head of a table."""
    print(f"\n### {title}\n")
    row(*columns)
    row(*("---" for _ in columns))


def bare_forward(model: Any, x: np.ndarray) -> Callable[[], Any]:
    """Return the cheapest thing that sees all samples: the forward pass, at its best batch size."""
    data = tf.convert_to_tensor(x)

    @tf.function(autograph=False, reduce_retracing=True)
    def run(size: Any) -> Any:
        n_batches = -(-len(x) // size)

        def body(index: Any, total: Any) -> tuple[Any, Any]:
            start = index * size
            outputs = model(data[start : start + size], training=False)
            return index + 1, total + tf.reduce_sum(outputs)

        return tf.while_loop(lambda index, _: index < n_batches, body, (0, 0.0))[1]

    sizes = [tf.constant(2**power) for power in range(5, 14)]
    for size in sizes:
        run(size)
    best = min(sizes, key=lambda size: min(seconds(lambda: run(size).numpy()) for _ in range(3)))
    return lambda: run(best).numpy()


def exact(*, quick: bool) -> None:
    """Compare the exact pass with a bare forward pass and with ``evaluate``."""
    head(
        "The exact pass",
        "network",
        "true loss : forward pass",
        "true loss and accuracy : forward pass",
        "exact : `evaluate`, as `trueloss` does it",
        "exact : epoch",
    )
    n_samples = 10_000 if quick else 40_000
    for name, (_, shape) in NETWORKS.items():
        model, (x, y) = compiled(name), clusters(n_samples, shape)
        model.fit(x, y, batch_size=32, verbose=0)
        model.evaluate(x, y, verbose=0)
        feed = ArrayFeed(x, y, batch_size=32)
        weights = validated_weights(model, ())
        near = in_turn(
            {
                "loss": Evaluator(model, feed, weights, batch_size=None, metrics=False).run,
                "exact": Evaluator(model, feed, weights, batch_size=None, metrics=True).run,
                "forward": bare_forward(model, x),
            },
            rounds=3 * ROUNDS,
        )
        slow = seconds(lambda: model.evaluate(x, y, verbose=0))  # noqa: B023
        epoch = seconds(lambda: model.fit(x, y, batch_size=32, verbose=0))  # noqa: B023
        mine = statistics.median(near["exact"])
        row(
            name,
            f"{ratio(near, 'loss', 'forward'):.2f}",
            f"{ratio(near, 'exact', 'forward'):.2f}",
            f"{mine / slow:.3f}",
            f"{mine / epoch:.1%}",
        )


def steps(*, quick: bool) -> None:
    """Measure in mid-epoch, every hundred steps."""
    n_samples = 20_000 if quick else 100_000
    head(
        f"Every 100 steps of 32 samples, {n_samples:,} in all, without the parts",
        "network",
        "exact : the steps between",
        "`samples=1000` : the steps between",
        "relative half-width",
    )
    for name, (_, shape) in NETWORKS.items():
        model, (x, y) = compiled(name), clusters(n_samples, shape)
        model.fit(x[:64], y[:64], verbose=0)  # traces
        cells = []
        for options in ({}, {"samples": 1000}):
            callback = lossgap.TrueLoss(every=100, unit="step", parts=False, **options)
            total = seconds(lambda: model.fit(x, y, verbose=0, callbacks=[callback]))  # noqa: B023
            own = sum(m.seconds for m in callback.measurements)
            cells.append(f"{own / (total - own - callback.compile_seconds):.1%}")
        width = callback.measurements[-1].relative_half_width or 0.0
        row(name, *cells, f"{width:.1%}")


def budget(*, quick: bool) -> None:
    """Train on many samples with ``budget=0.01``."""
    n_samples, epochs = (100_000, 3) if quick else (1_000_000, 3)
    head(
        f"`budget=0.01`, {n_samples:,} samples, {epochs} epochs in batches of 32",
        "network",
        "measuring : training",
        "the same with compilation",
        "relative half-width, per epoch",
        "samples, per epoch",
        "parts, per epoch",
    )
    for name, (_, shape) in NETWORKS.items():
        model, (x, y) = compiled(name), clusters(n_samples, shape)
        model.fit(x[:64], y[:64], verbose=0)  # traces
        callback = lossgap.TrueLoss(budget=0.01)
        total = seconds(
            lambda: model.fit(  # noqa: B023
                x,  # noqa: B023
                y,  # noqa: B023
                epochs=epochs,
                verbose=0,
                callbacks=[callback],  # noqa: B023
            )
        )
        found = callback.measurements
        own = sum(m.seconds for m in found)
        training = total - own - callback.compile_seconds
        row(
            name,
            f"{own / training:.2%}",
            f"{(own + callback.compile_seconds) / training:.2%}",
            ", ".join(f"{m.relative_half_width or 0:.2%}" for m in found),
            ", ".join(f"{m.n_samples:,}" for m in found),
            ", ".join("yes" if len(m.parts) > 1 else "no" for m in found),
        )


class Losses(keras.callbacks.Callback):
    """Writes down the loss of every sample at the end of each epoch."""

    def __init__(self, x: Any, y: Any) -> None:
        """Take the samples."""
        super().__init__()
        self._data = x, y
        self.taken: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compute them from the predictions, in NumPy."""
        del epoch, logs
        x, y = self._data
        p = self.model.predict(x, batch_size=4096, verbose=0).astype(np.float64)
        self.taken.append(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-7)))


def needed(losses: np.ndarray, before: np.ndarray | None, relative: float) -> float:
    """Return how many of all samples it takes for a relative half-width."""
    n, strata, sizes = len(losses), np.zeros(len(losses), np.int64), np.array([len(losses)])
    some = np.arange(min(4000, n // 4))
    if before is None:
        estimate = stratified_mean(losses[some], strata[some], sizes)
    else:
        found = regression_mean(
            losses[some],
            before[some],
            strata[some],
            sizes,
            reference=Moments.of(before, strata, 1),
        )
        assert found is not None  # noqa: S101
        estimate = found
    return estimate.samples_for((relative * losses.mean() / Z95) ** 2)


def references(*, quick: bool) -> None:
    """Compare samples with and without control variates for the same precision."""
    n_samples, relative = 20_000 if quick else 60_000, 0.02
    head(
        f"Control variates: samples for ±{relative:.0%}, {n_samples:,} in all, epochs 3 to 10",
        "network",
        "plain : with the last epoch's full pass",
        "plain : with a full pass 3 epochs ago",
        "plain : as `precision` plans it",
        "the same, full passes counted",
    )
    for name in list(NETWORKS)[:2]:
        shape = NETWORKS[name][1]
        model, (x, y) = compiled(name), clusters(n_samples, shape)
        losses, callback = Losses(x, y), lossgap.TrueLoss(precision=relative, parts=False)
        model.fit(x, y, batch_size=32, epochs=10, verbose=0, callbacks=[losses, callback])
        taken, sizes = losses.taken, [m.n_samples for m in callback.measurements]
        plain = [needed(values, None, relative) for values in taken]
        lags = [
            statistics.median(
                plain[t] / needed(taken[t], taken[t - lag], relative) for t in range(2, 10)
            )
            if lag < 3  # noqa: PLR2004
            else statistics.median(
                plain[t] / needed(taken[t], taken[t - lag], relative) for t in range(lag, 10)
            )
            for lag in (1, 3)
        ]
        reached = [m.relative_half_width or relative for m in callback.measurements]
        alike = [needed(taken[t], None, reached[t]) for t in range(10)]
        fresh = [alike[t] / sizes[t] for t in range(2, 10) if sizes[t] < n_samples]
        row(
            name,
            *(f"{value:.1f}" for value in lags),
            f"{statistics.median(fresh):.1f}" if fresh else "-",
            f"{sum(alike) / sum(sizes):.1f}",
        )


LOSSES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "squared errors": lambda rng, n: rng.normal(size=n) ** 2,
    "absolute errors": lambda rng, n: np.abs(rng.normal(size=n)),
    "cross-entropies": lambda rng, n: -np.log(np.clip(rng.beta(6, 0.6, n), 1e-7, 1)),
    "Pareto, shape 2.5 (heavy tails)": lambda rng, n: rng.pareto(2.5, n),
}


def coverage(*, quick: bool) -> None:
    """Count how often the interval holds the mean."""
    n_repetitions = 500 if quick else 2000
    n_all, n = 20_000, 1000
    head(
        f"Coverage of the 95 % interval, {n:,} of {n_all:,} losses, {n_repetitions:,} repetitions",
        "losses",
        "plain",
        "against a full pass",
        "against a reference of 4,000",
        "plain, without Hall's transformation",
    )
    rng = np.random.default_rng(0)
    one, all_sizes = np.zeros(n, np.int64), np.array([n_all])
    for name, draw in LOSSES.items():
        losses = draw(rng, n_all)
        before = losses * np.exp(0.3 * rng.normal(size=n_all)) + rng.exponential(0.1, n_all)
        mean, hits = losses.mean(), np.zeros(4)
        for _ in range(n_repetitions):
            order = rng.choice(n_all, 4000, replace=False)
            sample = order[:n]
            plain = stratified_mean(losses[sample], one, all_sizes)
            estimates = [plain]
            for reference in (before, before[order]):
                found = regression_mean(
                    losses[sample],
                    before[sample],
                    one,
                    all_sizes,
                    reference=Moments.of(reference, np.zeros(len(reference), np.int64), 1),
                )
                assert found is not None  # noqa: S101
                estimates.append(found)
            ends = [interval(estimate) for estimate in estimates]
            hits[:3] += [low <= mean <= high for low, high in filter(None, ends)]
            hits[3] += abs(plain.value - mean) <= Z95 * (plain.standard_error or 0.0)
        row(name, *(f"{count / n_repetitions:.1%}" for count in hits))


def wide() -> Any:
    """Build and compile a dense network with 16 inputs."""
    inputs = keras.Input((16,))
    hidden = keras.layers.Dense(256, "relu")(keras.layers.Dense(256, "relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, "softmax")(hidden))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def growth(*, quick: bool) -> None:
    """Measure to a fixed precision on more and more samples."""
    sizes = (10_000, 100_000, 1_000_000) if quick else (10_000, 100_000, 1_000_000, 10_000_000)
    head(
        "Cost at a fixed precision of ±2 %, dense network with 16 inputs",
        "samples in all",
        "measurement : that of 100,000",
        "samples measured",
        "relative half-width",
        "set-up, once per fit : a measurement",
    )
    model = wide()
    model.fit(*clusters(50_000, (16,)), batch_size=128, verbose=0)
    samplers, found, set_up = {}, {}, {}
    for size in sizes:
        feed = ArrayFeed(*clusters(size, (16,)))
        weights = validated_weights(model, ())
        sampler = Sampler(
            model, feed, weights, Precision(0.02), batch_size=None, metrics=True, seed=0
        )
        sampler.n_left = 0  # so that none of the runs is a reference, and all are alike
        samplers[size] = sampler
        found[size], set_up[size] = sampler.run(), sampler.setup_seconds
    times = in_turn({str(size): sampler.run for size, sampler in samplers.items()})
    for size in sizes:
        low, high = found[size].interval or (0.0, 0.0)
        row(
            f"{size:,}",
            f"{ratio(times, str(size), '100000'):.2f}",
            f"{found[size].n_samples:,}",
            f"{(high - low) / 2 / found[size].data_loss:.2%}",
            f"{set_up[size] / statistics.median(times[str(size)]):.1f}",
        )


def stream(n_samples: int, batch_size: int) -> tf.data.Dataset:
    """Return clusters that are drawn as they are read, without the memory to hold them."""
    x, y = clusters(2**12, (16,))

    def batch(index: Any) -> tuple[Any, Any]:
        seed = tf.stack([index, tf.constant(1, tf.int64)])
        rows = tf.random.stateless_uniform([batch_size], seed, 0, len(x), tf.int32)
        noise = tf.random.stateless_normal([batch_size, 16], seed)
        return tf.gather(x, rows) + 0.5 * noise, tf.gather(y, rows)

    return tf.data.Dataset.range(n_samples // batch_size).map(batch).prefetch(2)


def streams(*, quick: bool) -> None:
    """Measure to a fixed precision while longer and longer streams are trained on."""
    sizes = (10_000, 100_000, 1_000_000) if quick else (10_000, 100_000, 1_000_000, 10_000_000)
    batch_size, epochs = 250, 3
    head(
        "Cost at a fixed precision of ±2 %, from a stream that is read as it is trained on",
        "samples in all",
        "measurement : that of 100,000",
        "samples measured",
        "relative half-width",
    )
    model = wide()
    model.fit(stream(100_000, batch_size), epochs=2, verbose=0)
    model.optimizer.learning_rate = 0.0  # all streams end with the same losses
    found = {}
    for size in sizes:
        callback = lossgap.TrueLoss(precision=0.02, parts=False)
        model.fit(stream(size, batch_size), epochs=epochs, verbose=0, callbacks=[callback])
        found[size] = callback.measurements
    typical = {size: statistics.median(m.seconds for m in found[size]) for size in sizes}
    for size in sizes:
        row(
            f"{size:,}",
            f"{typical[size] / typical[100_000]:.2f}",
            f"{found[size][-1].n_samples:,}",
            f"{found[size][-1].relative_half_width or 0:.2%}",
        )


SECTIONS = {
    "exact": exact,
    "steps": steps,
    "budget": budget,
    "references": references,
    "coverage": coverage,
    "growth": growth,
    "streams": streams,
}


def main() -> None:
    """Run the sections that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sets, in a few minutes")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    print(
        f"lossgap {lossgap.__version__}, Keras {keras.__version__}, TensorFlow {tf.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    )
    for name in options.only:
        SECTIONS[name](quick=options.quick)


if __name__ == "__main__":
    main()
