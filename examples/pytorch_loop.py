"""The true loss in a loop of plain PyTorch: python examples/pytorch_loop.py."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lossgap.torch

torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.data / 16, dtype=torch.float32)
y = torch.tensor(digits.target)
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
model = nn.Sequential(nn.Dropout(0.4), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(5):
    model.train()
    total = 0.0
    for batch_x, batch_y in loader:
        penalty = 1e-4 * sum(p.square().sum() for p in model.parameters())
        loss = loss_fn(model(batch_x), batch_y) + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch_x)
    reported = total / len(x)
    m = lossgap.torch.measure(model, loader, loss_fn, l2=1e-4, reported_loss=reported, epoch=epoch)
    causes = "  ".join(f"{name} {part.value:+.4f}" for name, part in m.parts.items())
    print(f"epoch {epoch + 1}  reported {m.reported_loss:.4f}  true {m.true_loss:.4f}  {causes}")
