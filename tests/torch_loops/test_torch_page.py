"""The code of docs/pytorch.md runs, one block after the other."""

from pathlib import Path

import lightning
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from fences import blocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pytorch.md"
TRACKERS = '["mlflow", "tensorboard"]'  # which aren't installed beside PyTorch here


def test_the_code_of_the_page_runs(capsys):
    data = TensorDataset(torch.randn(64, 4), torch.randint(0, 3, (64,)))
    names = {
        "Trainer": lambda **options: lightning.Trainer(logger=False, **options),
        "loader": DataLoader(data, batch_size=16),
        "loss_fn": torch.nn.CrossEntropyLoss(),
        "model": torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Linear(4, 3)),
        "torch": torch,
    }
    text = PAGE.read_text(encoding="utf-8")
    assert TRACKERS in text
    for language, line, block in blocks(text):
        if language == "python":
            mended = block.replace(TRACKERS, "[]")
            exec(compile("\n" * (line - 1) + mended, str(PAGE), "exec"), names)
    measured = names["m"]
    assert measured.regularization_gap == pytest.approx(
        sum(part.value for part in measured.parts.values())
    )
    assert str(measured.true_loss) in capsys.readouterr().out
