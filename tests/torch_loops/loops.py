"""Ten models of plain PyTorch, with the loop that trains them."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.data import DataLoader, Dataset, TensorDataset


class Gru(nn.Module):
    """A recurrent network with dropout between its layers."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 6, num_layers=2, dropout=0.4, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Encoder(nn.Module):
    """A transformer's encoder: the fast path of evaluation mode skips its dropout modules."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.encoder(x).mean(dim=1))


class Shared(nn.Module):
    """One block used twice, and one buffer that two modules have."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.2))
        self.other = nn.BatchNorm1d(4)
        self.other.running_mean = self.block[1].running_mean
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.other(self.block(self.block(x))))


class TwoInputs(nn.Module):
    """Two inputs, one of them integers."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.drop = nn.Dropout1d(0.3)
        self.head = nn.Linear(7, 3)

    def forward(self, x, index):
        return self.head(torch.cat([self.drop(x), self.embed(index)], dim=1))


class Noisy(nn.Module):
    """Looks at ``self.training``, draws by three libraries, and keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)
        self.register_buffer("seen", torch.zeros(()))
        self.last = None
        self.history = []

    def forward(self, x):
        self.last, self.n_calls = x, getattr(self, "n_calls", 0) + 1
        self.history.append(len(x))
        self.seen = self.seen + len(x)
        if not self.training:
            return x
        factor = 1 + 0.1 * (random.random() + np.random.random())  # noqa: NPY002 - what loops draw from
        return factor * x + 0.5 * torch.randn(x.shape, generator=self.generator) + torch.rand(())


def _frozen():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
    model[0].requires_grad_(requires_grad=False)
    return model


def _convolution():
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.3)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    )


def _spectral():
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(4, 6)), nn.RReLU(), nn.Linear(6, 3)
    )


MODELS = {
    "dense": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3)),
    "convolution and batch norm": _convolution,
    "GRU": Gru,
    "transformer": Encoder,
    "frozen submodules": _frozen,
    "shared modules": Shared,
    "two inputs": TwoInputs,
    "a module of one's own": lambda: nn.Sequential(nn.Linear(4, 4), Noisy(), nn.Linear(4, 3)),
    "parametrized": _spectral,
    "nothing but layers": lambda: nn.Linear(4, 3),
}
_SHAPES = {"convolution and batch norm": (1, 6, 6), "GRU": (5, 3), "transformer": (5, 8)}


class Augmented(Dataset):
    """Adds noise of a generator of its own."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.noise = np.random.default_rng(0)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        x, *rest = self.dataset[index]
        return x + torch.tensor(self.noise.normal(0, 0.1, x.shape), dtype=x.dtype), *rest


def tensors(name, n=50):
    """Return inputs and targets for a model: the last one are the targets."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, *_SHAPES.get(name, (4,)), generator=generator)
    y = torch.randint(0, 3, (n,), generator=generator)
    index = [torch.randint(0, 5, (n,), generator=generator)] if name == "two inputs" else []
    return [x, *index, y]


def loader(name, **options):
    """Return a loader that shuffles, with a last batch that is smaller."""
    return DataLoader(
        TensorDataset(*tensors(name)), **{"batch_size": 16, "shuffle": True} | options
    )


def build(name):
    """Build a model with the modes of a training."""
    torch.manual_seed(0)
    model = MODELS[name]().train()
    if name == "frozen submodules":
        model[1].eval()
    return model


def train(model, batches, between=None, epochs=2):
    """Train with Adam from fixed seeds; ``between`` is called in mid-epoch and at its end.

    Returns all that a training leaves, and what it saw on the way.
    """
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1)
    losses = []
    for epoch in range(epochs):
        for number, (*inputs, targets) in enumerate(batches):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(*inputs), targets)
            if between is not None and number == 1:
                between(epoch)  # between the forward and the backward pass
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        if between is not None:
            between(epoch)
    return {
        "losses": losses,
        "weights": list(model.state_dict().values()),
        "optimizer": [v for s in optimizer.state.values() for v in s.values()],
        "torch": torch.get_rng_state(),
        "python": random.random(),
        "numpy": np.random.random(),  # noqa: NPY002
        "modes": [module.training for module in model.modules()],
        "gradients": [p.grad for p in model.parameters()],
    }


def same(one, other):
    """Tell whether two trainings left the same, to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
