"""A zoo of small models, each with what a measurement of it should find."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from sklearn import datasets

import reference as ref
from reference import Array, Expected, Output

Data = tuple[keras.Model, Any, Any, Any]
Reference = Callable[[keras.Model, Any, Any, Any, int], Expected]


@dataclass(frozen=True)
class Case:
    """One model with its data, and what a measurement of it should find.

    Attributes:
        name: The test's name.
        build: Returns the model, ready to be measured, with x, y and the sample weights.
        reference: Works out the true loss and the penalties from these and the batch size.
        mechanisms: The parts that come from layers in train mode.
        batch_size: Chosen so that the last batch is partial in most cases.
        tolerance: Largest relative error of the true loss.
    """

    name: str
    build: Callable[[], Data]
    reference: Reference
    mechanisms: frozenset[str] = frozenset()
    batch_size: int = 32
    tolerance: float = 2e-6


# Data. Sizes leave a last batch that is partial.


@cache
def digits(n_samples: int = 203) -> tuple[Array, Array]:
    data = datasets.load_digits()
    return (data.data[:n_samples] / 16).astype("float32"), data.target[:n_samples]


def images(n_samples: int = 75) -> tuple[Array, Array]:
    x, y = digits(n_samples)
    return x.reshape(-1, 8, 8, 1), y


@cache
def diabetes(n_samples: int = 150) -> tuple[Array, Array]:
    data = datasets.load_diabetes()
    x, y = data.data[:n_samples] * 20, data.target[:n_samples, None] / 100
    return x.astype("float32"), y.astype("float32")


@cache
def tumours(n_samples: int = 150) -> tuple[Array, Array]:
    data = datasets.load_breast_cancer()
    x = (data.data - data.data.mean(0)) / data.data.std(0)
    return x[:n_samples].astype("float32"), data.target[:n_samples, None]


@cache
def wines() -> tuple[Array, Array]:
    data = datasets.load_wine()
    x = (data.data - data.data.mean(0)) / data.data.std(0)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order].astype("float32"), data.target[order]


def weights_for(n_samples: int, *shape: int, seed: int = 1) -> Array:
    """Return sample weights between 0.2 and 3 that don't average to 1."""
    weights = np.random.default_rng(seed).uniform(0.2, 3.0, (n_samples, *shape))
    return weights.astype("float32")


@cache
def sentences(n_samples: int = 70, length: int = 5, vocabulary: int = 9) -> tuple[Array, Array]:
    """Return token numbers padded with 0 on the right, and a class for each token."""
    rng = np.random.default_rng(2)
    tokens = rng.integers(1, vocabulary, (n_samples, length))
    lengths = rng.integers(1, length + 1, n_samples)
    tokens[np.arange(length) >= lengths[:, None]] = 0
    return tokens, tokens % 3


def series(n_samples: int = 70, length: int = 5, channels: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n_samples, length, channels)).astype("float32")
    return x, x.mean((1, 2))[:, None] + 1


# Getting a model ready.


def ready(
    model: keras.Model,
    loss: Any,
    *,
    optimizer: str = "adam",
    seed: int = 4,
    **options: Any,
) -> keras.Model:
    """Compile the model and move all its weights and moving statistics away from their start."""
    model.compile(optimizer, loss, jit_compile=False, **options)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name, shape = weight.path.rsplit("/", 1)[-1], weight.shape
        if name == "moving_variance":
            weight.assign(rng.uniform(0.4, 2.0, shape))
        elif name == "moving_mean":
            weight.assign(rng.normal(0.0, 0.3, shape))
        elif weight.trainable or name in {"kernel", "bias", "gamma", "beta"}:
            weight.assign(weight.numpy() + rng.normal(0.0, 0.1, shape))
    model.optimizer.build(model.trainable_variables)
    return model


def trained(model: keras.Model, loss: Any, x: Any, y: Any, sample_weight: Any = None, **options):
    """Compile the model and train it for an epoch."""
    model.compile(options.pop("optimizer", "adam"), loss, jit_compile=False, **options)
    model.fit(x, y, sample_weight=sample_weight, epochs=1, batch_size=32, verbose=0)
    return model


def predict(model: keras.Model, x: Any) -> Any:
    return model.predict(x, verbose=0)


def single_loss(values: ref.Values, **options: Any) -> Reference:
    """Return the reference of a model with one output and no penalties."""

    def reference(model, x, y, sample_weight, batch_size):
        output = Output(values, y, predict(model, x), sample_weight, **options)
        return Expected(ref.true_loss(output, batch_size=batch_size))

    return reference


def with_penalties(base: Reference, *penalties: Callable[..., dict]) -> Reference:
    """Add the penalties, each a function of the model, x and the batch size, to a reference."""

    def reference(model, x, y, sample_weight, batch_size):
        found = {}
        for penalty in penalties:
            found |= penalty(model, x, batch_size)
        return Expected(base(model, x, y, sample_weight, batch_size).true_loss, found)

    return reference


def weight_of(model: keras.Model, layer: str, weight: str) -> Array:
    return ref.exact(getattr(model.get_layer(layer), weight).numpy())


def dense_output(model: keras.Model, layer: str, x: Any) -> Array:
    """Return what a ReLU layer on the inputs gives."""
    pre_activation = ref.exact(x) @ weight_of(model, layer, "kernel")
    return ref.relu(pre_activation + weight_of(model, layer, "bias"))


mse = single_loss(ref.mean_squared_error)
scce = single_loss(ref.sparse_categorical_crossentropy())
bce = single_loss(ref.binary_crossentropy())
SCCE = "sparse_categorical_crossentropy"
DROPOUT, NOISE, BATCH_NORM, AUGMENTATION, OTHER = (
    frozenset({name}) for name in ("dropout", "noise", "batch_norm", "augmentation", "other")
)

CASES: list[Case] = []


def case(
    reference: Reference,
    mechanisms: frozenset[str] = frozenset(),
    name: str | None = None,
    **options: Any,
) -> Callable[[Callable[[], Data]], Callable[[], Data]]:
    """Register the function below as the builder of a case of the same name."""

    def register(build: Callable[[], Data]) -> Callable[[], Data]:
        CASES.append(Case(name or build.__name__, build, reference, mechanisms, **options))
        return build

    return register


def chain(input_shape: Sequence[int], *stack: layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(input_shape), *stack])


# Structure: sequential, functional, subclassed; inputs and outputs.


@case(scce)
def sequential():
    x, y = digits()
    model = chain((64,), layers.Dense(12, "relu"), layers.Dense(10, "softmax"))
    return trained(model, SCCE, x, y, metrics=["accuracy"]), x, y, None


@case(scce, DROPOUT)
def sequential_with_dropout_on_the_input():
    x, y = images(203)
    model = chain(
        (8, 8, 1),
        layers.Flatten(),
        layers.Dropout(0.4),
        layers.Dense(16, "relu"),
        layers.Dense(10, "softmax"),
    )
    return trained(model, SCCE, x, y, metrics=["accuracy"]), x, y, None


@case(mse)
def functional_with_two_inputs():
    x, y = diabetes()
    left, right = keras.Input((4,)), keras.Input((6,))
    joined = layers.Concatenate()([layers.Dense(4, "relu")(left), right])
    model = keras.Model([left, right], layers.Dense(1)(joined))
    return ready(model, "mse"), [x[:, :4], x[:, 4:]], y, None


@case(mse)
def functional_with_a_dict_of_inputs():
    x, y = diabetes()
    inputs = {"first": keras.Input((4,), name="first"), "rest": keras.Input((6,), name="rest")}
    joined = layers.Concatenate()([inputs["first"], layers.Dense(3, "tanh")(inputs["rest"])])
    model = keras.Model(inputs, layers.Dense(1)(joined))
    return ready(model, "mse"), {"first": x[:, :4], "rest": x[:, 4:]}, y, None


@case(mse)
def functional_with_a_shared_layer():
    x, y = diabetes()
    left, right = keras.Input((5,)), keras.Input((5,))
    shared = layers.Dense(4, "tanh")
    product = layers.Multiply()([shared(left), shared(right)])
    model = keras.Model([left, right], layers.Dense(1)(product))
    return ready(model, "mse"), [x[:, :5], x[:, 5:]], y, None


def two_losses(model, x, y, sample_weight, batch_size):
    of_level, of_class = predict(model, x)
    outputs = (
        Output(ref.mean_squared_error, y[0], of_level, weight=0.3),
        Output(ref.sparse_categorical_crossentropy(), y[1], of_class, weight=2.0),
    )
    return Expected(ref.true_loss(*outputs, batch_size=batch_size))


@case(two_losses, DROPOUT)
def list_of_outputs_with_loss_weights():
    x, y = wines()
    inputs = keras.Input((13,))
    hidden = layers.Dropout(0.2)(layers.Dense(8, "relu")(inputs))
    outputs = [layers.Dense(1)(hidden), layers.Dense(3, "softmax")(hidden)]
    model = keras.Model(inputs, outputs)
    ready(model, ["mse", SCCE], loss_weights=[0.3, 2.0], metrics=[["mae"], ["accuracy"]])
    return model, x, [x[:, :1] + 1, y], None


def two_named_losses(model, x, y, sample_weight, batch_size):
    predictions = predict(model, x)
    losses = {"level": ref.mean_absolute_error, "kind": ref.sparse_categorical_crossentropy()}
    weights = {"level": 0.5, "kind": 1.5}
    outputs = [
        Output(
            losses[name],
            y[name],
            predictions[name],
            None if sample_weight is None else sample_weight[name],
            weight=weights[name],
        )
        for name in losses
    ]
    return Expected(ref.true_loss(*outputs, batch_size=batch_size))


@case(two_named_losses)
def dict_of_outputs_with_sample_weights_for_each():
    x, y = wines()
    inputs = keras.Input((13,))
    hidden = layers.Dense(8, "relu")(inputs)
    outputs = {
        "level": layers.Dense(1, name="level")(hidden),
        "kind": layers.Dense(3, "softmax", name="kind")(hidden),
    }
    model = keras.Model(inputs, outputs)
    losses = {"level": "mae", "kind": SCCE}
    ready(model, losses, loss_weights={"level": 0.5, "kind": 1.5})
    weights = {"level": weights_for(len(x)), "kind": weights_for(len(x), seed=2)}
    return model, x, {"level": x[:, :1] + 1, "kind": y}, weights


def one_loss_of_two_outputs(model, x, y, sample_weight, batch_size):
    output = Output(ref.mean_squared_error, y[0], predict(model, x)[0])
    return Expected(ref.true_loss(output, batch_size=batch_size))


@case(one_loss_of_two_outputs)
def output_without_a_loss():
    x, y = diabetes()
    inputs = keras.Input((10,))
    hidden = layers.Dense(4, "relu")(inputs)
    model = keras.Model(inputs, [layers.Dense(1)(hidden), layers.Dense(2)(hidden)])
    return ready(model, ["mse", None]), x, [y, np.zeros((len(x), 2))], None


def one_loss_for_both_outputs(model, x, y, sample_weight, batch_size):
    outputs = [
        Output(ref.mean_squared_error, *pair, sample_weight)
        for pair in zip(y, predict(model, x), strict=True)
    ]
    return Expected(ref.true_loss(*outputs, batch_size=batch_size))


def two_losses_by_name(model, x, y, sample_weight, batch_size):
    level, kind = predict(model, x)
    outputs = (
        Output(ref.mean_squared_error, y["level"], level, weight=0.5),
        Output(ref.sparse_categorical_crossentropy(), y["kind"], kind, weight=2.0),
    )
    return Expected(ref.true_loss(*outputs, batch_size=batch_size))


@case(two_losses_by_name)
def list_of_outputs_with_losses_by_name():
    x, y = wines()
    inputs = keras.Input((13,))
    outputs = [
        layers.Dense(1, name="level")(inputs),
        layers.Dense(3, "softmax", name="kind")(inputs),
    ]
    model = keras.Model(inputs, outputs)
    ready(model, {"kind": SCCE, "level": "mse"}, loss_weights={"kind": 2.0, "level": 0.5})
    return model, x, {"level": x[:, :1], "kind": y}, None


@case(one_loss_for_both_outputs)
def one_loss_and_one_sample_weight_for_two_outputs():
    x, y = diabetes()
    inputs = keras.Input((10,))
    model = keras.Model(inputs, [layers.Dense(1)(inputs), layers.Dense(2)(inputs)])
    return ready(model, "mse"), x, [y, x[:, :2]], weights_for(len(x))


class Forwards(keras.Model):
    """A subclass that only hands `training` on."""

    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(8, "relu")
        self.dropout = layers.Dropout(0.3)
        self.head = layers.Dense(10, "softmax")

    def call(self, x, training=None):
        return self.head(self.dropout(self.hidden(x), training=training))


class Switches(keras.Model):
    """A subclass that behaves differently in training by itself."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.hidden = layers.Dense(8, "relu")
        self.dropout = layers.Dropout(dropout)
        self.head = layers.Dense(1)

    def call(self, x, training=None):
        hidden = self.dropout(self.hidden(x), training=training)
        if training:
            hidden = hidden * 1.2
        return self.head(hidden)


@case(scce, DROPOUT)
def subclass_that_forwards_training():
    x, y = digits()
    return trained(Forwards(), SCCE, x, y), x, y, None


@case(mse, OTHER)
def subclass_that_uses_training():
    x, y = diabetes()
    return trained(Switches(), "mse", x, y), x, y, None


@case(mse, OTHER | DROPOUT)
def subclass_that_uses_training_and_drops_out():
    x, y = diabetes()
    return trained(Switches(0.3), "mse", x, y), x, y, None


class TwoHeads(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(6, "relu")
        self.norm = layers.BatchNormalization()
        self.level = layers.Dense(1)
        self.kind = layers.Dense(3, "softmax")

    def call(self, x, training=None):
        hidden = self.norm(self.hidden(x), training=training)
        return {"level": self.level(hidden), "kind": self.kind(hidden)}


@case(two_named_losses, BATCH_NORM)
def subclass_with_a_dict_of_outputs():
    x, y = wines()
    targets = {"level": x[:, :1] + 1, "kind": y}
    losses, weights = {"level": "mae", "kind": SCCE}, {"level": 0.5, "kind": 1.5}
    return trained(TwoHeads(), losses, x, targets, loss_weights=weights), x, targets, None


@case(scce, DROPOUT)
def nested_models():
    x, y = digits()
    encoder = chain((64,), layers.Dense(8, "relu"), layers.Dropout(0.3))
    inputs = keras.Input((64,))
    model = keras.Model(inputs, layers.Dense(10, "softmax")(encoder(inputs)))
    return ready(model, SCCE), x, y, None


@case(mse)
def lambda_and_layer_normalization():
    x, y = diabetes()
    model = chain(
        (10,),
        layers.Dense(6),
        layers.LayerNormalization(),
        layers.Lambda(ops.tanh),
        layers.Dense(1),
    )
    return ready(model, "mse"), x, y, None


# Convolutions, sequences, attention.


@case(scce, BATCH_NORM)
def convolution_with_batch_normalization():
    x, y = images()
    model = chain(
        (8, 8, 1),
        layers.Conv2D(3, 3),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, "softmax"),
    )
    return trained(model, SCCE, x, y), x, y, None


@case(scce, DROPOUT)
def separable_convolution_with_spatial_dropout():
    x, y = images()
    model = chain(
        (8, 8, 1),
        layers.Conv2D(4, 3, activation="relu"),
        layers.SpatialDropout2D(0.3),
        layers.SeparableConv2D(4, 3),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, "softmax"),
    )
    return ready(model, SCCE), x, y, None


@case(mse, DROPOUT)
def convolution_over_time_with_spatial_dropout():
    x, y = series()
    model = chain(
        (5, 3),
        layers.Conv1D(4, 2, activation="relu"),
        layers.SpatialDropout1D(0.3),
        layers.GlobalMaxPooling1D(),
        layers.Dense(1),
    )
    return ready(model, "mse"), x, y, None


def masked(reduction: str = "sum_over_batch_size") -> Reference:
    """Return the reference of a model of sentences with a class for each token."""

    def reference(model, x, y, sample_weight, batch_size):
        values = ref.sparse_categorical_crossentropy()
        output = Output(
            values, y, predict(model, x), sample_weight, mask=x != 0, reduction=reduction
        )
        return Expected(ref.true_loss(output, batch_size=batch_size))

    return reference


def tagger(recurrent: layers.Layer, loss: Any = SCCE) -> keras.Model:
    embedding = layers.Embedding(9, 4, mask_zero=True)
    return ready(chain((5,), embedding, recurrent, layers.Dense(3, "softmax")), loss)


@case(masked())
def lstm_with_a_masked_loss():
    x, y = sentences()
    return tagger(layers.LSTM(4, return_sequences=True)), x, y, None


@case(masked(), DROPOUT)
def bidirectional_lstm_with_dropout_and_weights_over_time():
    x, y = sentences()
    recurrent = layers.Bidirectional(layers.LSTM(3, dropout=0.3, return_sequences=True))
    return tagger(recurrent), x, y, weights_for(*x.shape)


@case(masked())
def batch_that_is_masked_from_end_to_end():
    x, y = sentences()
    x = np.where((np.arange(len(x)) // 32 == 1)[:, None], 0, x)
    return tagger(layers.SimpleRNN(3, return_sequences=True)), x, y, None


@case(mse)
def weights_over_time_without_a_mask():
    x, _ = series()
    model = ready(chain((5, 3), layers.Conv1D(2, 3, padding="same")), "mse")
    return model, x, x[..., :2], weights_for(*x.shape[:2])


@case(masked("sum"))
def masked_loss_with_sum_reduction():
    x, y = sentences()
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    return tagger(layers.SimpleRNN(3, return_sequences=True), loss), x, y, None


@case(masked("mean_with_sample_weight"))
def masked_loss_with_mean_over_sample_weights():
    x, y = sentences()
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    model = tagger(layers.SimpleRNN(3, return_sequences=True), loss)
    return model, x, y, weights_for(*x.shape)


@case(masked(), BATCH_NORM)
def batch_normalization_with_a_mask():
    x, y = sentences()
    model = chain(
        (5,),
        layers.Embedding(9, 4, mask_zero=True),
        layers.BatchNormalization(),
        layers.Dense(3, "softmax"),
    )
    return ready(model, SCCE), x, y, None


def sentence_model(*stack: layers.Layer) -> Data:
    x, _ = sentences()
    model = chain((5,), layers.Embedding(9, 4, mask_zero=True), *stack, layers.Dense(1))
    return ready(model, "mse"), x, (x > 0).mean(1).astype("float32") + 1, None


@case(mse)
def gru_over_masked_sentences():
    return sentence_model(layers.GRU(4))


@case(mse, DROPOUT)
def gru_with_recurrent_dropout():
    return sentence_model(layers.GRU(4, recurrent_dropout=0.3))


@case(mse, DROPOUT)
def simple_rnn_with_recurrent_dropout():
    return sentence_model(layers.SimpleRNN(4, recurrent_dropout=0.3))


@case(mse, DROPOUT)
def stacked_cells_with_dropout():
    return sentence_model(layers.RNN([layers.GRUCell(3, dropout=0.3), layers.SimpleRNNCell(3)]))


@case(mse, DROPOUT)
def convolutional_lstm_with_dropout():
    x = np.random.default_rng(7).normal(size=(40, 3, 4, 4, 1)).astype("float32")
    model = chain(
        (3, 4, 4, 1), layers.ConvLSTM2D(2, 2, dropout=0.3), layers.Flatten(), layers.Dense(1)
    )
    return ready(model, "mse"), x, x.mean((1, 2, 3)) + 1, None


@case(mse, DROPOUT)
def dropout_at_each_time_step():
    x, y = series()
    model = chain(
        (5, 3),
        layers.TimeDistributed(layers.Dropout(0.3)),
        layers.TimeDistributed(layers.Dense(4, "relu")),
        layers.GlobalAveragePooling1D(),
        layers.Dense(1),
    )
    return ready(model, "mse"), x, y, None


def transformer(dropout: float) -> Data:
    x, y = series()
    inputs = keras.Input((5, 3))
    attended = layers.MultiHeadAttention(2, 3, dropout=dropout)(inputs, inputs)
    hidden = layers.LayerNormalization()(layers.Add()([inputs, attended]))
    outputs = layers.Dense(1)(layers.GlobalAveragePooling1D()(hidden))
    return ready(keras.Model(inputs, outputs), "mse"), x, y, None


@case(mse, DROPOUT)
def multi_head_attention_with_dropout():
    return transformer(0.3)


@case(mse)
def multi_head_attention_without_dropout():
    return transformer(0.0)


@case(mse, DROPOUT)
def attention_with_dropout():
    x, y = series()
    inputs = keras.Input((5, 3))
    attended = layers.Attention(dropout=0.3)([layers.Dense(3)(inputs), inputs])
    outputs = layers.Dense(1)(layers.Flatten()(attended))
    return ready(keras.Model(inputs, outputs), "mse"), x, y, None


# Losses, each on the smallest model that fits it.


def loss_case(
    name: str,
    loss: Any,
    values: ref.Values,
    data: Callable[[], tuple[Array, Array]],
    *,
    activation: str | None = None,
    sample_weight: bool = False,
    reduction: str = "sum_over_batch_size",
) -> None:
    """Register a model of one dense layer with the loss."""

    def build():
        x, y = data()
        units = y.shape[1] if y.ndim > 1 and y.shape[1] > 1 else 1 if y.ndim > 1 else y.max() + 1
        head = layers.Dense(int(units), activation)
        model = ready(chain(x.shape[1:], head), loss)
        return model, x, y, weights_for(len(x)) if sample_weight else None

    CASES.append(Case(f"loss_{name}", build, single_loss(values, reduction=reduction)))


def levels() -> tuple[Array, Array]:
    x, y = diabetes()
    return x, np.concatenate([y, y**2 + 0.5], 1)


def distributions() -> tuple[Array, Array]:
    x, y = wines()
    return x, ref.softmax(ref.one_hot(y, 3) + ref.exact(x[:, :3]))


def one_hot_wines() -> tuple[Array, Array]:
    x, y = wines()
    return x, ref.one_hot(y, 3)


def many_tumour_labels() -> tuple[Array, Array]:
    x, y = tumours()
    return x, np.concatenate([y, x[:, :1] > 0, x[:, 1:2] > 0], 1).astype("float32")


def partly_labelled_wines() -> tuple[Array, Array]:
    x, y = wines()
    return x, np.where(np.arange(len(y)) % 5 == 0, -1, y)


losses = keras.losses
smooth = {"label_smoothing": 0.2}
loss_case("mse", "mse", ref.mean_squared_error, levels)
loss_case("mae", "mae", ref.mean_absolute_error, levels)
loss_case("mape", "mape", ref.mean_absolute_percentage_error, levels)
loss_case("msle", "msle", ref.mean_squared_logarithmic_error, levels, activation="softplus")
loss_case("huber", "huber", ref.huber(), levels)
loss_case("huber_delta", losses.Huber(delta=0.4), ref.huber(0.4), levels, sample_weight=True)
loss_case("log_cosh", "log_cosh", ref.log_cosh, levels)
loss_case("poisson", "poisson", ref.poisson, levels, activation="softplus")
loss_case("cosine", losses.CosineSimilarity(), ref.cosine_similarity, levels, activation="softplus")
loss_case("kld", "kl_divergence", ref.kl_divergence, distributions, activation="softmax")
loss_case("hinge", "hinge", ref.hinge, tumours, activation="tanh")
loss_case("squared_hinge", "squared_hinge", ref.squared_hinge, tumours, sample_weight=True)
loss_case("categorical_hinge", "categorical_hinge", ref.categorical_hinge, one_hot_wines)
loss_case(
    "bce",
    "binary_crossentropy",
    ref.binary_crossentropy(),
    many_tumour_labels,
    activation="sigmoid",
)
loss_case(
    "bce_from_logits_and_smoothed",
    losses.BinaryCrossentropy(from_logits=True, **smooth),
    ref.binary_crossentropy(from_logits=True, **smooth),
    many_tumour_labels,
    sample_weight=True,
)
loss_case(
    "binary_focal",
    losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.3, gamma=1.5),
    ref.binary_focal_crossentropy(alpha=0.3, gamma=1.5),
    tumours,
    activation="sigmoid",
)
loss_case(
    "binary_focal_from_logits",
    losses.BinaryFocalCrossentropy(from_logits=True),
    ref.binary_focal_crossentropy(from_logits=True),
    tumours,
)
loss_case(
    "cce",
    "categorical_crossentropy",
    ref.categorical_crossentropy(),
    one_hot_wines,
    activation="softmax",
)
loss_case(
    "cce_from_logits_and_smoothed",
    losses.CategoricalCrossentropy(from_logits=True, **smooth),
    ref.categorical_crossentropy(from_logits=True, **smooth),
    one_hot_wines,
    sample_weight=True,
)
loss_case(
    "categorical_focal",
    losses.CategoricalFocalCrossentropy(),
    ref.categorical_focal_crossentropy(),
    one_hot_wines,
    activation="softmax",
)
loss_case(
    "scce_from_logits",
    losses.SparseCategoricalCrossentropy(from_logits=True),
    ref.sparse_categorical_crossentropy(from_logits=True),
    wines,
    sample_weight=True,
)
loss_case(
    "scce_ignore_class",
    losses.SparseCategoricalCrossentropy(ignore_class=-1),
    ref.sparse_categorical_crossentropy(ignore_class=-1),
    partly_labelled_wines,
    activation="softmax",
)
loss_case(
    "gce",
    losses.CategoricalGeneralizedCrossEntropy(),
    ref.categorical_generalized_cross_entropy(),
    wines,
    activation="softmax",
)
loss_case("dice", losses.Dice(), ref.dice, many_tumour_labels, activation="sigmoid")
loss_case(
    "tversky",
    losses.Tversky(alpha=0.3, beta=0.7),
    ref.tversky(0.3, 0.7),
    many_tumour_labels,
    activation="sigmoid",
)
loss_case(
    "sum",
    losses.MeanSquaredError(reduction="sum"),
    ref.mean_squared_error,
    levels,
    sample_weight=True,
    reduction="sum",
)
loss_case(
    "mean_with_sample_weight",
    losses.MeanAbsoluteError(reduction="mean_with_sample_weight"),
    ref.mean_absolute_error,
    levels,
    sample_weight=True,
    reduction="mean_with_sample_weight",
)


def root_mean_squared_error(y_true, y_pred):
    """A user's loss that returns one number for the batch."""
    return ops.sqrt(ops.mean(ops.square(y_true - y_pred)))


def quantile_loss(y_true, y_pred):
    """A user's loss that returns a number per sample."""
    error = y_true - y_pred
    return ops.mean(ops.maximum(0.8 * error, -0.2 * error), axis=-1)


class ScaledError(keras.losses.Loss):
    """A user's loss class that returns a number per sample and output."""

    def call(self, y_true, y_pred):
        return ops.abs(y_true - y_pred) * ops.abs(y_true)


loss_case(
    "of_the_user_scalar",
    root_mean_squared_error,
    lambda y, p: np.sqrt(((y - p) ** 2).mean()),
    levels,
)
loss_case(
    "of_the_user_per_sample",
    quantile_loss,
    lambda y, p: np.maximum(0.8 * (y - p), 0.2 * (p - y)).mean(-1),
    levels,
    sample_weight=True,
)
loss_case("of_the_user_as_a_class", ScaledError(), lambda y, p: np.abs(y - p) * np.abs(y), levels)


@case(single_loss(ref.circle()))
def loss_circle():
    x, y = wines()
    model = chain((13,), layers.Dense(4), layers.UnitNormalization())
    return ready(model, losses.Circle()), x, y, None


@case(single_loss(ref.ctc))
def loss_ctc():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(50, 7, 3)).astype("float32")
    y = rng.integers(1, 4, (50, 3))
    y[np.arange(50) % 3 == 0, 2:] = 0
    return ready(chain((7, 3), layers.Dense(4)), losses.CTC()), x, y, None


@case(single_loss(ref.sparse_categorical_crossentropy(ignore_class=255)), DROPOUT)
def pixels_with_an_ignored_class():
    x, _ = images()
    y = np.where(x[..., 0] > 0.9, 255, (x[..., 0] > 0.4).astype(int))
    head = layers.Conv2D(2, 3, padding="same", activation="softmax")
    loss = losses.SparseCategoricalCrossentropy(ignore_class=255)
    return ready(chain((8, 8, 1), layers.Dropout(0.2), head), loss), x, y, None


# Penalties.


@case(
    with_penalties(
        scce,
        lambda m, x, b: {
            ("first", "l1"): ref.l1(weight_of(m, "first", "kernel"), 0.003),
            ("second", "l2"): ref.l2(weight_of(m, "second", "kernel"), 0.02)
            + ref.l2(weight_of(m, "second", "bias"), 0.5),
            ("third", "l1"): ref.l1(weight_of(m, "third", "kernel"), 0.001),
            ("third", "l2"): ref.l2(weight_of(m, "third", "kernel"), 0.004),
            ("fourth", "orthogonal"): ref.orthogonal(weight_of(m, "fourth", "kernel"), 0.05)
            + ref.orthogonal(weight_of(m, "fourth", "other"), 0.02, "columns"),
        },
    )
)
def weight_regularizers():
    class Bilinear(layers.Layer):
        def build(self, shape):
            rows = keras.regularizers.OrthogonalRegularizer(0.05)
            columns = keras.regularizers.OrthogonalRegularizer(0.02, mode="columns")
            self.kernel = self.add_weight((shape[-1], 4), regularizer=rows)
            self.other = self.add_weight((shape[-1], 4), regularizer=columns)

        def call(self, x):
            return ops.matmul(x, self.kernel) * ops.matmul(x, self.other)

    x, y = digits()
    model = chain(
        (64,),
        layers.Dense(7, "relu", kernel_regularizer=keras.regularizers.L1(0.003), name="first"),
        layers.Dense(
            6,
            "relu",
            kernel_regularizer=keras.regularizers.L2(0.02),
            bias_regularizer=keras.regularizers.L2(0.5),
            name="second",
        ),
        layers.Dense(
            5, "relu", kernel_regularizer=keras.regularizers.L1L2(0.001, 0.004), name="third"
        ),
        Bilinear(name="fourth"),
        layers.Dense(10, "softmax"),
    )
    return trained(model, SCCE, x, y), x, y, None


@case(
    with_penalties(
        mse,
        lambda m, x, b: {
            ("thawed", "l2"): ref.l2(weight_of(m, "thawed", "kernel"), 0.1),
        },
    )
)
def regularizer_on_a_frozen_layer_does_not_count():
    x, y = diabetes()
    model = chain(
        (10,),
        layers.Dense(4, kernel_regularizer="l2", trainable=False, name="frozen"),
        layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1), name="thawed"),
    )
    return ready(model, "mse"), x, y, None


def activity(model: keras.Model, x: Array, *, l1: float = 0.0, l2: float = 0.0) -> float:
    """Return the penalty on what the ReLU layer ``hidden`` gives: a mean over the samples."""
    outputs = dense_output(model, "hidden", x)
    return float((l1 * outputs + l2 * outputs**2).sum(-1).mean())


@case(
    with_penalties(
        mse,
        lambda m, x, b: {
            ("hidden", "activity"): activity(m, x, l1=0.01, l2=0.02),
        },
    ),
    DROPOUT,
)
def activity_regularizer():
    x, y = diabetes()
    regularizer = keras.regularizers.L1L2(0.01, 0.02)
    model = chain(
        (10,),
        layers.Dense(6, "relu", activity_regularizer=regularizer, name="hidden"),
        layers.Dropout(0.3),
        layers.Dense(1),
    )
    return ready(model, "mse"), x, y, None


@case(
    with_penalties(
        mse,
        lambda m, x, b: {
            ("activity", "activity"): activity(m, x, l1=0.03),
        },
    )
)
def activity_regularization_layer():
    x, y = diabetes()
    model = chain(
        (10,),
        layers.Dense(6, "relu", name="hidden"),
        layers.ActivityRegularization(l1=0.03, name="activity"),
        layers.Dense(1),
    )
    return ready(model, "mse"), x, y, None


class Sparse(layers.Layer):
    """A layer that adds a loss on its inputs: their mean or their sum."""

    def __init__(self, reduce, **kwargs):
        super().__init__(**kwargs)
        self.reduce = reduce

    def call(self, x):
        self.add_loss(0.02 * self.reduce(ops.abs(x)))
        return x


def sparse_model(reduce: Callable[..., Any]) -> Data:
    x, y = diabetes()
    model = chain(
        (10,),
        layers.Dense(6, "relu", name="hidden"),
        Sparse(reduce, name="sparse"),
        layers.Dense(1),
    )
    return ready(model, "mse"), x, y, None


def sparse_penalty(reduce: Callable[[Array], float]) -> Callable[..., dict]:
    def penalty(model, x, batch_size):
        outputs = dense_output(model, "hidden", x)
        by_batch = ref.mean_over_batches(lambda b: reduce(outputs[b]), len(x), batch_size)
        return {("sparse", "add_loss"): 0.02 * float(by_batch)}

    return penalty


@case(with_penalties(mse, sparse_penalty(np.mean)))
def add_loss_of_a_mean():
    return sparse_model(ops.mean)


@case(with_penalties(mse, sparse_penalty(np.sum)))
def add_loss_of_a_sum():
    return sparse_model(ops.sum)


class Gram(keras.Regularizer):
    """A regularizer of the user's own."""

    def __call__(self, weight):
        return 0.01 * ops.sum(ops.abs(ops.matmul(ops.transpose(weight), weight)))


def gram(model, x, batch_size):
    kernel = weight_of(model, "hidden", "kernel")
    return {("hidden", "Gram"): 0.01 * float(np.abs(kernel.T @ kernel).sum())}


@case(with_penalties(mse, gram))
def regularizer_of_the_user():
    x, y = diabetes()
    hidden = layers.Dense(4, "relu", kernel_regularizer=Gram(), name="hidden")
    return ready(chain((10,), hidden, layers.Dense(1)), "mse"), x, y, None


@case(
    with_penalties(
        mse,
        lambda m, x, b: {
            (layer, "l2"): ref.l2(weight_of(m.get_layer("encoder"), layer, "kernel"), 0.02)
            for layer in ("inner", "outer")
        },
    )
)
def regularizers_inside_a_nested_model():
    x, y = diabetes()
    regularizer = keras.regularizers.L2(0.02)
    encoder = keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(5, "relu", kernel_regularizer=regularizer, name="inner"),
            layers.Dense(4, "relu", kernel_regularizer=regularizer, name="outer"),
        ],
        name="encoder",
    )
    return ready(chain((10,), encoder, layers.Dense(1)), "mse"), x, y, None


# Dropout, noise, batch normalization, augmentation, and what is none of them.


def one_layer(*stack: layers.Layer) -> Data:
    """Return a small regression with the layers between its two dense ones."""
    x, y = diabetes()
    model = chain((10,), layers.Dense(6, "selu"), *stack, layers.Dense(1))
    return ready(model, "mse"), x, y, None


@case(mse)
def dropout_of_rate_0():
    return one_layer(layers.Dropout(0.0), layers.GaussianNoise(0.0))


@case(mse, DROPOUT)
def dropout_that_is_called_twice():
    x, y = diabetes()
    inputs, dropout = keras.Input((10,)), layers.Dropout(0.2)
    hidden = dropout(layers.Dense(4, "relu")(dropout(inputs)))
    return ready(keras.Model(inputs, layers.Dense(1)(hidden)), "mse"), x, y, None


@case(mse, DROPOUT)
def alpha_dropout():
    return one_layer(layers.AlphaDropout(0.2))


@case(mse, DROPOUT)
def gaussian_dropout():
    return one_layer(layers.GaussianDropout(0.2))


@case(mse, NOISE)
def gaussian_noise():
    return one_layer(layers.GaussianNoise(0.3))


@case(mse, DROPOUT | NOISE | BATCH_NORM)
def dropout_noise_and_batch_normalization():
    return one_layer(
        layers.BatchNormalization(), layers.Dropout(0.2, seed=3), layers.GaussianNoise(0.2)
    )


class Pinned(keras.Model):
    """A subclass that calls the layer in one mode, whatever its own mode is."""

    def __init__(self, layer, mode):
        super().__init__()
        self.hidden = layers.Dense(6, "relu")
        self.layer = layer
        self.mode = mode
        self.head = layers.Dense(1)

    def call(self, x):
        return self.head(self.layer(self.hidden(x), training=self.mode))


@case(lambda *_: Expected(None))
def dropout_that_always_runs():
    x, y = diabetes()
    return trained(Pinned(layers.Dropout(0.3), mode=True), "mse", x, y), x, y, None


@case(mse, BATCH_NORM)
def batch_normalization():
    return one_layer(layers.BatchNormalization())


@case(mse)
def batch_normalization_that_is_frozen():
    return one_layer(layers.BatchNormalization(trainable=False))


@case(mse)
def normalizations_that_are_the_same_in_both_modes():
    return one_layer(layers.GroupNormalization(2), layers.UnitNormalization())


def batch_normalization_synchronized():
    return one_layer(layers.BatchNormalization(synchronized=True))


if keras.config.backend() == "tensorflow":  # no other backend of Keras has it
    case(mse, BATCH_NORM)(batch_normalization_synchronized)


def base() -> keras.Model:
    return chain(
        (64,), layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.3)
    )


@case(scce, DROPOUT)
def fine_tuning_with_the_base_in_inference_mode():
    x, y = digits()
    inputs = keras.Input((64,))
    encoder = base()
    encoder.trainable = False
    hidden = layers.Dropout(0.2)(encoder(inputs, training=False))
    model = keras.Model(inputs, layers.Dense(10, "softmax")(hidden))
    return ready(model, SCCE), x, y, None


@case(mse)
def batch_normalization_called_in_inference_mode():
    x, y = diabetes()
    norm = layers.BatchNormalization(moving_mean_initializer="ones")
    return trained(Pinned(norm, mode=False), "mse", x, y), x, y, None


@case(scce, DROPOUT)
def frozen_base_that_still_drops_out():
    x, y = digits()
    encoder = base()
    encoder.trainable = False
    return ready(chain((64,), encoder, layers.Dense(10, "softmax")), SCCE), x, y, None


def image_classifier(*stack: layers.Layer) -> Data:
    x, y = images()
    model = chain((8, 8, 1), *stack, layers.Flatten(), layers.Dense(10, "softmax"))
    return ready(model, SCCE), x, y, None


@case(scce, AUGMENTATION)
def random_flip_and_contrast():
    return image_classifier(layers.RandomFlip("horizontal"), layers.RandomContrast(0.3))


@case(scce, AUGMENTATION)
def random_rotation():
    return image_classifier(layers.RandomRotation(0.1))


@case(scce, AUGMENTATION)
def random_translation_and_zoom():
    return image_classifier(layers.RandomTranslation(0.1, 0.1), layers.RandomZoom(0.2))


@case(scce, AUGMENTATION)
def random_crop():
    return image_classifier(layers.RandomCrop(6, 6), layers.Resizing(6, 6))


@case(scce, AUGMENTATION | BATCH_NORM | DROPOUT)
def augmentation_batch_normalization_and_dropout():
    return image_classifier(
        keras.Sequential([layers.RandomFlip(), layers.RandomTranslation(0.1, 0.1)]),
        layers.Conv2D(2, 3),
        layers.BatchNormalization(),
        layers.Dropout(0.2),
    )


@case(scce)
def preprocessing_that_is_not_random():
    normalization = layers.Normalization()
    normalization.adapt(images()[0])
    return image_classifier(
        layers.Resizing(6, 6), layers.CenterCrop(5, 5), layers.Rescaling(2.0, -1.0), normalization
    )


@case(mse, OTHER)
def spectral_normalization():
    return one_layer(layers.SpectralNormalization(layers.Dense(5)))


class Inverts(layers.Layer):
    """A layer of the user's own that behaves differently in training."""

    def call(self, x, training=False):
        return x * 0.8 if training else x


@case(mse, OTHER)
def layer_that_uses_training():
    return one_layer(Inverts())


@case(mse, OTHER)
def lambda_that_uses_training():
    return one_layer(layers.Lambda(lambda x, training=None: x * 1.5 if training else x))


class Shakes(layers.Layer):
    """A layer of the user's own that is random in training."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, x, training=False):
        if not training:
            return x
        return x + 0.3 * keras.random.normal(ops.shape(x), seed=self.seed_generator)


@case(mse, OTHER)
def layer_that_is_random_in_training():
    return one_layer(Shakes())


class Block(layers.Layer):
    """A layer of the user's own that only hands `training` on."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(5)
        self.norm = layers.BatchNormalization()
        self.noise = layers.GaussianNoise(0.2)

    def build(self, shape):
        self.dense.build(shape)
        self.norm.build((*shape[:-1], 5))

    def call(self, x, training=None):
        return self.noise(self.norm(self.dense(x), training=training), training=training)


@case(mse, BATCH_NORM | NOISE)
def layer_that_forwards_training():
    return one_layer(Block())


# Overridden compute_loss.


def small_network(cls: type[keras.Model]) -> Data:
    x, y = diabetes()
    inputs = keras.Input((10,))
    hidden = layers.Dense(4, "relu", kernel_regularizer=keras.regularizers.L2(0.05), name="hidden")
    model = cls(inputs, layers.Dense(1)(layers.Dropout(0.2)(hidden(inputs))))
    return ready(model, "mse"), x, y, None


def hidden_l2(model, x, batch_size):
    return {("hidden", "l2"): ref.l2(weight_of(model, "hidden", "kernel"), 0.05)}


class ExtraTerm(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return loss + 0.1 * ops.mean(ops.square(y_pred))


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.abs(y - y_pred)) + sum(self.losses)


class OwnLossAlone(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.abs(y - y_pred))


squares_and_size = single_loss(lambda y, p: ((y - p) ** 2 + 0.1 * p**2).mean(-1))
mae = single_loss(ref.mean_absolute_error)


@case(with_penalties(squares_and_size, hidden_l2), DROPOUT)
def compute_loss_with_an_extra_term():
    return small_network(ExtraTerm)


@case(with_penalties(mae, hidden_l2), DROPOUT)
def compute_loss_of_the_user_with_penalties():
    return small_network(OwnLoss)


@case(mae, DROPOUT)
def compute_loss_of_the_user_without_penalties():
    return small_network(OwnLossAlone)


# Precision, sizes and shapes.


def mixed(policy: str, head: str | None = "float32") -> Data:
    x, y = digits()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = chain(
            (64,),
            layers.Dense(12, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(10),
            layers.Softmax(dtype=head),
        )
        return ready(model, SCCE), x, y, None
    finally:
        keras.config.set_dtype_policy(before)


@case(scce, DROPOUT | BATCH_NORM, tolerance=1e-3)
def mixed_float16():
    return mixed("mixed_float16")


@case(scce, DROPOUT | BATCH_NORM, tolerance=2e-3)
def mixed_float16_up_to_the_output():
    return mixed("mixed_float16", head=None)


@case(scce, DROPOUT | BATCH_NORM, tolerance=1e-2)
def mixed_bfloat16():
    return mixed("mixed_bfloat16")


def sized(n_samples: int) -> Data:
    x, y = (values[-n_samples:] for values in tumours())
    model = chain((30,), layers.Dropout(0.2), layers.Dense(1, "sigmoid"))
    return ready(model, "binary_crossentropy"), x, y, weights_for(n_samples, 1)


@case(bce, DROPOUT)
def one_sample():
    return sized(1)


@case(single_loss(ref.mean_squared_error, reduction="mean_with_sample_weight"))
def batches_of_no_weight():
    x, y = diabetes()
    weight = (np.arange(len(x)) < 40).astype("float32")
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    return ready(chain((10,), layers.Dense(1)), loss), x, y, weight


@case(bce, DROPOUT)
def fewer_samples_than_a_batch():
    return sized(20)


@case(bce, DROPOUT)
def whole_batches():
    return sized(64)


@case(bce, DROPOUT)
def last_batch_of_one_sample():
    return sized(65)


@case(bce, DROPOUT, batch_size=1)
def batches_of_one_sample():
    return sized(9)


@case(mse)
def targets_without_a_last_axis():
    x, y = diabetes()
    return ready(chain((10,), layers.Dense(1)), "mse"), x, y[:, 0], weights_for(len(x))


@case(mse)
def float64_data():
    x, y = diabetes()
    return ready(chain((10,), layers.Dense(1)), "mse"), x.astype(float), y.astype(float), None


# Linear models, for which the parts are known exactly.


def linear(layer: layers.Layer | None, n_samples: int = 442, outputs: int = 2) -> Data:
    """Return ``y = xw + b``, nearly solved, with the layer on its input and squared error."""
    x, _ = diabetes(n_samples)
    rng = np.random.default_rng(6)
    stack = [layer] if layer is not None else []
    model = chain((10,), *stack, layers.Dense(outputs, name="head"))
    ready(model, "mse")
    y = predict(model, x) + rng.normal(0, 0.1, (n_samples, outputs)).astype("float32")
    return model, x, y, None


def linear_dropout_part(model, x, rate: float, sample_weight: Any = 1.0) -> float:
    """Return ``mean_i v_i sum_j w_j^2 x_ij^2 p / (1 - p)``, averaged over the outputs."""
    kernel = weight_of(model, "head", "kernel")
    by_sample = (ref.exact(x) ** 2 @ kernel**2).mean(-1) * rate / (1 - rate)
    return float((sample_weight * by_sample).mean())


def linear_noise_part(model, stddev: float) -> float:
    """Return ``s^2 sum_j w_j^2``, averaged over the outputs."""
    return float(stddev**2 * (weight_of(model, "head", "kernel") ** 2).sum(0).mean())
