"""The callback for Lightning, in real trainings."""

import csv
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lossgap
from lossgap.torch import LightningTrueLoss

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning[.]"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning[.]"),
    pytest.mark.filterwarnings("ignore::FutureWarning:lightning[.]"),
    # Of Lightning's own, told at the caller's line.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:The number of training batches.*"),
]
CROSS_ENTROPY = nn.CrossEntropyLoss()


class Classifier(pl.LightningModule):
    """A network with dropout and batch normalization, and an L2 penalty in its loss."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
        )

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        x, y = batch
        penalty = 0.01 * sum(p.square().sum() for p in self.parameters())
        loss = CROSS_ENTROPY(self(x), y) + penalty
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.01)


class WithItsLoss(Classifier):
    """Says itself what its loss on the data is."""

    def lossgap_loss(self, batch):
        return CROSS_ENTROPY(self(batch[0]), batch[1])


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(60, 4, generator=generator), torch.randint(0, 3, (60,), generator=generator)


def fit(folder, *callbacks, module=Classifier, epochs=3, **options):
    """Train, and return the trainer."""
    pl.seed_everything(0, verbose=False)
    loader = DataLoader(TensorDataset(*data()), batch_size=16, shuffle=True)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=pl.loggers.CSVLogger(str(folder), flush_logs_every_n_steps=1),
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(module(), loader)
    return trainer


def test_every_logger_gets_the_true_loss_and_the_gap(tmp_path):
    callback = LightningTrueLoss(CROSS_ENTROPY, options={"l2": 0.01})
    trainer = fit(tmp_path, callback)
    x, y = data()
    with torch.no_grad():
        expected = float(CROSS_ENTROPY(trainer.model.eval()(x), y))
    last = callback.measurements[-1]
    assert last.true_loss == pytest.approx(expected, rel=1e-5)
    assert list(last.parts) == ["penalty", "dropout", "batch_norm", "drift"]
    assert (last.epoch, last.step) == (2, 12)
    with Path(trainer.logger.log_dir, "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["true_loss"]]
    assert [float(row["true_loss"]) for row in rows] == pytest.approx(
        [m.true_loss for m in callback.measurements], rel=1e-6
    )
    for row in rows:
        gap = float(row["train_loss"]) - float(row["true_loss"])
        assert float(row["regularization_gap"]) == pytest.approx(gap, abs=1e-6)
        parts = sum(float(row[f"gap_{name}"]) for name in last.parts)
        assert parts == pytest.approx(gap, abs=1e-5)


def test_the_training_is_bit_identical(tmp_path):
    plain = fit(tmp_path / "a").model.state_dict()
    measured = fit(tmp_path / "b", LightningTrueLoss(CROSS_ENTROPY)).model.state_dict()
    assert all(torch.equal(plain[name], measured[name]) for name in plain)


def test_the_module_says_its_loss_itself(tmp_path):
    own, given = LightningTrueLoss(), LightningTrueLoss(CROSS_ENTROPY)
    fit(tmp_path / "a", own, module=WithItsLoss)
    fit(tmp_path / "b", given, module=WithItsLoss)
    for one, other in zip(own.measurements, given.measurements, strict=True):
        assert one.true_loss == pytest.approx(other.true_loss, rel=1e-6)
        assert one.parts.keys() == other.parts.keys()


def test_other_callbacks_can_monitor_it(tmp_path):
    stopping = pl.callbacks.EarlyStopping("true_loss", patience=0, min_delta=100.0)
    callback = LightningTrueLoss(CROSS_ENTROPY, parts=False)
    fit(tmp_path, callback, stopping, epochs=5)
    assert len(callback.measurements) == 2


def test_it_measures_every_so_many_epochs_and_the_batches_of_the_trainer(tmp_path):
    callback = LightningTrueLoss(CROSS_ENTROPY, every=2, parts=False)
    fit(tmp_path, callback, epochs=4, limit_train_batches=2)
    assert [m.epoch for m in callback.measurements] == [1, 3]
    assert [m.n_samples for m in callback.measurements] == [32, 32]


def test_a_module_without_a_loss_is_refused_before_the_training(tmp_path):
    with pytest.raises(lossgap.LossgapError, match="lossgap_loss"):
        fit(tmp_path, LightningTrueLoss())
    with pytest.raises(lossgap.LossgapError, match="every"):
        LightningTrueLoss(CROSS_ENTROPY, every=0)
