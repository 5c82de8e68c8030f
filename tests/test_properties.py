"""What holds for every model: Hypothesis builds them, NumPy knows their true loss."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import lossgap
import reference as ref
from lossgap.core import keys
from models import chain, predict, ready
from reference import Output
from test_true_loss import Snapshot

N_FEATURES = 5

# A layer of each kind, with the parts that it brings.
LAYERS = {
    "dense": (lambda: layers.Dense(4, "tanh"), set()),
    "narrow": (lambda: layers.Dense(1), set()),
    "dropout": (lambda: layers.Dropout(0.3), {"dropout"}),
    "no dropout": (lambda: layers.Dropout(0.0), set()),
    "alpha dropout": (lambda: layers.AlphaDropout(0.2), {"dropout"}),
    "gaussian dropout": (lambda: layers.GaussianDropout(0.2), {"dropout"}),
    "noise": (lambda: layers.GaussianNoise(0.2), {"noise"}),
    "batch norm": (layers.BatchNormalization, {"batch_norm"}),
    "frozen batch norm": (lambda: layers.BatchNormalization(trainable=False), set()),
    "layer norm": (layers.LayerNormalization, set()),
    "l1": (lambda: layers.Dense(3, "relu", kernel_regularizer="l1"), {"penalty"}),
    "l2": (lambda: layers.Dense(3, "relu", bias_regularizer="l2"), {"penalty"}),
    "activity": (lambda: layers.ActivityRegularization(l2=0.02), {"penalty"}),
}

# A loss in Keras and in NumPy, with the units, the activation and the labels it works on.
LOSSES = {
    "mse": ("mse", ref.mean_squared_error, 2, None, None),
    "mae": ("mae", ref.mean_absolute_error, 2, None, None),
    "huber": ("huber", ref.huber(), 2, None, None),
    "sum": (
        lambda: keras.losses.MeanSquaredError(reduction="sum"),
        ref.mean_squared_error,
        2,
        None,
        None,
    ),
    "bce": ("bce", ref.binary_crossentropy(), 1, "sigmoid", 2),
    "scce": (
        "sparse_categorical_crossentropy",
        ref.sparse_categorical_crossentropy(),
        3,
        "softmax",
        3,
    ),
}


@dataclass(frozen=True)
class Recipe:
    """What Hypothesis chose."""

    stack: list[str]
    loss: str
    n_samples: int
    batch_size: int
    weighted: bool
    seed: int

    def build(self):
        """Return the model, x, y, the sample weights and the NumPy loss."""
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(self.seed)
        rng = np.random.default_rng(self.seed)
        loss, in_numpy, units, activation, n_labels = LOSSES[self.loss]
        x = rng.normal(size=(self.n_samples, N_FEATURES)).astype("float32")
        if n_labels is None:
            y = rng.normal(1.0, 1.0, (self.n_samples, units)).astype("float32")
        else:
            y = rng.integers(0, n_labels, (self.n_samples, 1))
        weight = rng.uniform(0.1, 2.0, self.n_samples).astype("float32") if self.weighted else None
        stack = [LAYERS[name][0]() for name in self.stack]
        model = chain((N_FEATURES,), *stack, layers.Dense(units, activation))
        compiled = loss() if callable(loss) else loss
        return ready(model, compiled, seed=self.seed), x, y, weight, in_numpy

    @property
    def reduction(self):
        return "sum" if self.loss == "sum" else "sum_over_batch_size"


recipes = st.builds(
    Recipe,
    stack=st.lists(st.sampled_from(sorted(LAYERS)), max_size=4),
    loss=st.sampled_from(sorted(LOSSES)),
    n_samples=st.integers(1, 70),
    batch_size=st.integers(1, 40),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)


@settings(max_examples=15)  # each compiles a few graphs
@given(recipes, st.floats(0.1, 10.0))
def test_the_loss_is_true_the_parts_sum_to_the_gap_and_nothing_moves(recipe, reported_loss):
    model, x, y, weight, in_numpy = recipe.build()
    output = Output(in_numpy, y, predict(model, x), weight, reduction=recipe.reduction)
    snapshot = Snapshot(model)

    measured = lossgap.measure(
        model,
        x,
        y,
        sample_weight=weight,
        reported_loss=reported_loss,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
    )

    assert snapshot.moved() == []
    assert measured.true_loss == pytest.approx(
        ref.true_loss(output, batch_size=recipe.batch_size), rel=2e-6, abs=1e-6
    )
    gap = reported_loss - measured.true_loss
    assert measured.regularization_gap == gap
    parts = {name: part.value for name, part in measured.parts.items()}
    assert sum(parts.values()) == pytest.approx(gap, abs=1e-6)
    assert set(parts) == {keys.DRIFT}.union(*(LAYERS[name][1] for name in recipe.stack))
    assert list(parts) == [name for name in keys.PARTS if name in parts]
    assert sum(p.value for p in measured.penalties) == pytest.approx(parts.get(keys.PENALTY, 0.0))
