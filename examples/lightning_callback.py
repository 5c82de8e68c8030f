"""The true loss in a training of Lightning: python examples/lightning_callback.py."""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lossgap.torch import LightningTrueLoss


class Classifier(lightning.LightningModule):
    """A dense network with dropout."""

    def __init__(self) -> None:
        """Build it."""
        super().__init__()
        self.net = nn.Sequential(nn.Dropout(0.4), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        self.loss_fn = nn.CrossEntropyLoss()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape ``(n_samples, 10)``."""
        return self.net(x)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Compute the loss, and log its mean over the epoch."""
        x, y = batch
        loss = self.loss_fn(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Use Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


lightning.seed_everything(0, verbose=False)
digits = load_digits()
x = torch.tensor(digits.data / 16, dtype=torch.float32)
loader = DataLoader(TensorDataset(x, torch.tensor(digits.target)), batch_size=32, shuffle=True)
model = Classifier()
callback = LightningTrueLoss(model.loss_fn, reported="train_loss")
trainer = lightning.Trainer(
    max_epochs=5,
    callbacks=[callback],
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, loader)

for m in callback.measurements:
    dropout = m.parts["dropout"].value
    print(f"epoch {m.epoch + 1}  true {m.true_loss:.4f}  dropout {dropout:+.4f}")
