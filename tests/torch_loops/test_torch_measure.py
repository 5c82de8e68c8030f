"""The numbers of ``lossgap.torch.measure``, against computations of their own."""

import copy
import functools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC

import lossgap
from loops import MODELS, Noisy, build, loader, tensors
from lossgap.torch import measure

CROSS_ENTROPY = nn.CrossEntropyLoss()


def softmax_loss(logits, targets):
    """Return the cross-entropy of each sample, by NumPy in float64."""
    logits = logits.detach().numpy().astype(np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(logs)), targets.numpy()]


def by_hand(model, name, *training):
    """Return the mean loss over all samples, with the modules of some types in train mode."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        module.training = isinstance(module, training)
    *inputs, targets = tensors(name)
    return softmax_loss(model(*inputs), targets).mean()


@pytest.mark.parametrize("name", MODELS)
def test_the_true_loss_is_that_of_numpy(name):
    model = build(name)
    found = measure(model, loader(name), CROSS_ENTROPY, reported_loss=2.0)
    assert found.true_loss == pytest.approx(by_hand(model, name), rel=2e-6)
    assert found.n_samples == found.n_total == 50
    assert sum(part.value for part in found.parts.values()) == pytest.approx(
        found.regularization_gap, rel=1e-12
    )


@pytest.mark.parametrize(
    ("name", "causes"),
    [
        ("dense", {"dropout"}),
        ("convolution and batch norm", {"dropout", "batch_norm"}),
        ("GRU", {"dropout"}),
        ("transformer", {"dropout"}),
        ("frozen submodules", {"dropout"}),
        ("shared modules", {"dropout", "batch_norm"}),
        ("two inputs", {"dropout"}),
        ("a module of one's own", {"other"}),
        ("parametrized", {"noise", "other"}),
        ("nothing but layers", set()),
    ],
)
def test_the_causes_are_found_in(name, causes):
    assert set(measure(build(name), loader(name), CROSS_ENTROPY).parts) == causes


def test_the_part_of_batch_norm_is_the_change_of_the_loss_when_it_alone_trains():
    name = "convolution and batch norm"
    model = build(name)
    model[3].p = 0.0
    whole = loader(name, batch_size=50)
    found = measure(model, whole, CROSS_ENTROPY, reported_loss=1.5).parts
    added = by_hand(model, name, nn.BatchNorm2d) - by_hand(model, name)
    assert found["batch_norm"].value == pytest.approx(added, abs=1e-6)
    assert found["batch_norm"].standard_error is None
    assert found["drift"].standard_error is None


def test_the_part_of_dropout_is_its_expected_addition():
    # For a linear model and the squared error, dropout adds p / (1 - p) * sum((w x) ** 2).
    torch.manual_seed(0)
    x, weights = torch.randn(4000, 3), torch.tensor([[1.0, -2.0, 0.5]])
    model = nn.Sequential(nn.Dropout(0.3), nn.Linear(3, 1, bias=False))
    model[1].weight.data.copy_(weights)
    batches = DataLoader(TensorDataset(x, x @ weights.T + 1), batch_size=50)
    part = measure(model, batches, nn.MSELoss()).parts["dropout"]
    expected = float((0.3 / 0.7 * (x * weights).square().sum(dim=1)).mean())
    assert abs(part.value - expected) < 4 * part.standard_error
    assert part.standard_error < 0.1 * expected


def test_interacting_mechanisms_share_what_they_add_together():
    # Noise that is constant and dropout that drops all: both effects are known.
    class Shift(nn.Module):
        def forward(self, x):
            return x + 1.0 if self.training else x

    model = nn.Sequential(Shift(), nn.Dropout(1.0))
    batches = [(torch.full((4, 1), 2.0), torch.zeros(4, 1))] * 3
    found = measure(model, batches, nn.MSELoss(), reported_loss=0.0)
    # v() = 4, v(other) = 9, v(dropout) = v(both) = 0.
    assert found.true_loss == 4.0
    assert found.parts["dropout"].value == pytest.approx((-4 - 9) / 2)
    assert found.parts["other"].value == pytest.approx(5 / 2)
    assert found.parts["drift"].value == pytest.approx(0.0)


def test_a_module_that_only_lets_others_act_is_no_cause():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x) if self.training else x

    batches = [(torch.ones(8, 1), torch.ones(8, 1))] * 20
    found = measure(nn.Sequential(Gate()), batches, nn.MSELoss()).parts
    assert list(found) == ["dropout"]
    assert found["dropout"].value == pytest.approx(1.0)  # (0 - 1)^2 and (2 - 1)^2


def test_a_model_in_evaluation_mode_is_taken_to_train_as_a_whole():
    name = "shared modules"
    model = build(name)
    training = measure(model, loader(name), CROSS_ENTROPY)
    assert measure(model.eval(), loader(name), CROSS_ENTROPY).parts.keys() == training.parts.keys()


@pytest.mark.parametrize(
    "loss_fn",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.CrossEntropyLoss(reduction="none"),
        nn.functional.cross_entropy,
        functools.partial(nn.functional.cross_entropy, reduction="sum"),
        functools.partial(nn.functional.cross_entropy, reduction="none"),
    ],
    ids=["module", "module, sum", "module, none", "function", "function, sum", "function, none"],
)
def test_every_reduction_gives_the_mean_over_samples(loss_fn):
    model = build("dense")
    found = measure(model, loader("dense"), loss_fn, parts=False)
    assert found.true_loss == pytest.approx(by_hand(model, "dense"), rel=2e-6)
    assert found.parts == {}


def test_a_reduction_that_cannot_be_seen_is_given():
    def summed(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, reduction="sum")

    model = build("dense")
    found = measure(model, loader("dense"), summed, reduction="sum")
    assert found.true_loss == pytest.approx(by_hand(model, "dense"), rel=2e-6)


def test_penalties_are_told_by_layer_and_sum_to_their_part():
    model = build("dense")
    found = measure(
        model,
        loader("dense"),
        CROSS_ENTROPY,
        penalty=lambda m: 0.5 * m[0].bias.square().sum(),
        l1=0.01,
        l2=0.02,
        reported_loss=3.0,
    )
    weights = [p.detach().numpy().astype(np.float64) for p in model.parameters()]
    l1 = 0.01 * sum(np.abs(w).sum() for w in weights)
    l2 = 0.02 * sum((w**2).sum() for w in weights)
    own = 0.5 * (weights[1] ** 2).sum()
    assert found.parts["penalty"].value == pytest.approx(l1 + l2 + own, rel=1e-6)
    by_kind = {(p.layer, p.kind): p.value for p in found.penalties}
    assert by_kind["Sequential", "penalty"] == pytest.approx(own, rel=1e-6)
    expected = 0.01 * sum(np.abs(w).sum() for w in weights[:2])
    assert by_kind["0", "l1"] == pytest.approx(expected, rel=1e-6)
    assert set(by_kind) == {
        *(("Sequential", "penalty"), ("0", "l1"), ("3", "l1"), ("0", "l2"), ("3", "l2"))
    }


def test_weight_decay_in_the_optimizer_adds_nothing_to_the_gap():
    # The loss that the loop reports is the loss on the data: nothing is left to explain.
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.5)
    *_, x, y = tensors("dense")
    optimizer.zero_grad()
    loss = CROSS_ENTROPY(model(x), y)
    loss.backward()
    optimizer.step()
    found = measure(model, [(x, y)], CROSS_ENTROPY, reported_loss=float(loss.detach()))
    assert found.regularization_gap == pytest.approx(0.0, abs=1e-6)
    assert set(found.parts) == {"drift"}


def test_metrics_are_means_over_samples_or_count_for_themselves():
    model = build("dense")
    mine = MulticlassAUROC(3)
    found = measure(
        model,
        loader("dense"),
        CROSS_ENTROPY,
        metrics={
            "accuracy": lambda outputs, targets: (outputs.argmax(1) == targets).float().mean(),
            "same": MulticlassAccuracy(3, average="micro"),
            "auc": mine,
        },
    )
    *_, x, y = tensors("dense")
    outputs = copy.deepcopy(model).eval()(x).detach()
    expected = float((outputs.argmax(1) == y).double().mean())
    assert found.metrics["accuracy"].true == pytest.approx(expected, rel=1e-6)
    assert found.metrics["same"].true == pytest.approx(expected, rel=1e-6)
    whole = MulticlassAUROC(3)
    whole.update(outputs, y)
    assert found.metrics["auc"].true == pytest.approx(float(whole.compute()), rel=1e-6)
    assert mine.preds == []  # it is the user's, and untouched


def test_other_batches_are_read_by_a_function():
    model = build("dense")
    *_, x, y = tensors("dense")
    batches = [{"x": x[:20], "y": y[:20]}, {"x": x[20:], "y": y[20:]}]
    found = measure(
        model, batches, CROSS_ENTROPY, forward=lambda m, batch: (m(batch["x"]), batch["y"])
    )
    assert found.true_loss == pytest.approx(by_hand(model, "dense"), rel=2e-6)
    counted = measure(
        model, batches, CROSS_ENTROPY, forward=lambda m, b: (m(b["x"]), b["y"], 7), parts=False
    )
    assert counted.n_samples == 14


def test_validation_is_measured_alike():
    model = build("shared modules")
    found = measure(
        model,
        loader("shared modules"),
        CROSS_ENTROPY,
        validation=loader("shared modules", batch_size=7),
        val_loss=1.0,
        epoch=3,
        step=40,
        parts=False,
    )
    assert found.true_val_loss == pytest.approx(found.true_loss, rel=1e-6)
    assert (found.val_loss, found.epoch, found.step) == (1.0, 3, 40)
    assert found.generalization_gap == pytest.approx(0.0, abs=1e-6)


def test_a_compiled_model_is_measured_without_its_compiler():
    torch._dynamo.reset()
    model = build("dense")
    compiled = torch.compile(model, backend="eager")
    compiled(tensors("dense")[0])
    found = measure(compiled, loader("dense"), CROSS_ENTROPY)
    assert found.true_loss == pytest.approx(by_hand(model, "dense"), rel=2e-6)
    assert set(found.parts) == {"dropout"}


def test_autocast_is_that_of_the_caller():
    model = build("dense")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = measure(model, loader("dense"), CROSS_ENTROPY)
        assert torch.is_autocast_cache_enabled()
        outputs = model(tensors("dense")[0])  # what was cached without gradients would have none
        outputs.sum().backward()
    assert found.precision == "mixed_bfloat16"
    assert found.true_loss == pytest.approx(by_hand(model, "dense"), rel=0.01)
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_passes_through(value):
    x = torch.tensor([[value], [1.0]])
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1))
    found = measure(model, [(x, torch.zeros(2, 1))], nn.MSELoss(), reported_loss=1.0)
    assert not math.isfinite(found.true_loss)


def test_a_part_that_cannot_be_had_is_a_warning_and_the_true_loss_stands():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    *_, x, y = tensors("dense")
    with pytest.warns(lossgap.LossgapWarning, match="more than 1 value per channel"):
        found = measure(model, [(x[:1], y[:1])], CROSS_ENTROPY)
    assert math.isfinite(found.true_loss)
    assert found.parts == {}


class Writer(nn.Module):
    """Clips its weights in its forward."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        with torch.no_grad():
            self.weight.clamp_(0, 1)
        return x * self.weight


DATA = [(torch.ones(2, 1), torch.ones(2, 1))]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((object(), DATA, nn.MSELoss()), {}, TypeError, "lossgap.measure"),
        ((nn.LazyLinear(2), DATA, nn.MSELoss()), {}, TypeError, "Run a batch"),
        ((Writer(), DATA, nn.MSELoss()), {}, TypeError, "forward"),
        ((nn.Linear(1, 1), DATA, nn.MSELoss), {}, ValueError, r"MSELoss\(\)"),
        ((nn.Linear(1, 1), iter(DATA), nn.MSELoss()), {}, ValueError, "use up"),
        ((nn.Linear(1, 1), [], nn.MSELoss()), {}, ValueError, "gave no samples"),
        ((nn.Linear(1, 1), 3, nn.MSELoss()), {}, ValueError, "DataLoader"),
        ((nn.Linear(1, 1), [torch.ones(2)], nn.MSELoss()), {}, ValueError, "forward="),
        ((nn.Linear(1, 1), DATA, nn.MSELoss()), {"reduction": "max"}, ValueError, "'max'"),
        ((nn.Linear(1, 1), DATA, nn.MSELoss()), {"penalty": "l2"}, ValueError, "penalty"),
        ((nn.Linear(1, 1), DATA, nn.MSELoss()), {"l2": "1"}, ValueError, "l2"),
        ((nn.Linear(1, 1), DATA, nn.MSELoss()), {"metrics": {"a": 1}}, ValueError, "'a'"),
        (
            (nn.Linear(1, 1), DATA, nn.MSELoss()),
            {"forward": lambda m, b: m(b[0])},
            ValueError,
            "outputs, targets",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, options, error, text):
    with pytest.raises(lossgap.LossgapError, match=text) as raised:
        measure(*arguments, **options)
    assert isinstance(raised.value, error)


def test_noise_of_a_generator_of_its_own_is_the_same_in_every_measurement():
    model = nn.Sequential(nn.Linear(4, 4), Noisy(), nn.Linear(4, 3))
    first, second = (measure(model, loader("dense", shuffle=False), CROSS_ENTROPY) for _ in "ab")
    assert first.parts == second.parts
    assert first.true_loss == second.true_loss
