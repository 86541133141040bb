"""A network with relu3 as its activation, trained on the handwritten digits that scikit-learn ships.

It is trained twice from the same seed, once with the compiled kernel and once with the PyTorch reference: the loss
curves agree, since the function and its derivative do.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from relu3 import relu3_pt, vrelu3
from sklearn.datasets import load_digits
from torch import Tensor, nn
from tqdm import tqdm


class Relu3Reference(nn.Module):
    """The PyTorch reference as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return relu3_pt(x)


def network(activation: nn.Module) -> nn.Sequential:
    """Four linear layers with ``activation`` in between: 64 pixels in, log-probabilities of 10 digits out."""
    return nn.Sequential(
        OrderedDict(
            [
                ("fc1", nn.Linear(64, 256)),
                ("activation1", activation),
                ("fc2", nn.Linear(256, 128)),
                ("bn2", nn.BatchNorm1d(num_features=128)),
                ("activation2", activation),
                ("dropout", nn.Dropout(0.3)),
                ("fc3", nn.Linear(128, 64)),
                ("bn3", nn.BatchNorm1d(num_features=64)),
                ("activation3", activation),
                ("logits", nn.Linear(64, 10)),
                ("logsoftmax", nn.LogSoftmax(dim=1)),
            ]
        )
    )


@dataclass
class Digits:
    """Images as rows of 64 pixels between 0 and 1, and the digit that each one shows."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load_data(test_share: float = 0.2) -> Digits:
    """The 1,797 digits, shuffled the same way each time, with the last ``test_share`` of them held out."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).flatten(1) / 16.0
    labels = torch.tensor(data.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    n_train = round(len(labels) * (1 - test_share))
    return Digits(images[:n_train], labels[:n_train], images[n_train:], labels[n_train:])


@dataclass
class History:
    """The mean loss of each epoch, the share of held-out digits recognised, and the trained model."""

    model: nn.Module
    losses: list[float] = field(default_factory=list)
    accuracy: float = 0.0


def train(
    activation: nn.Module, *, epochs: int = 20, batch_size: int = 64, seed: int = 0, label: str = "training"
) -> History:
    """Train a network with ``activation``; the same seed gives the same weights, batches and dropout."""
    digits = load_data()
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model = network(activation)
        history = History(model)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
        model.train()
        progress = tqdm(range(epochs), desc=label, unit="epoch")
        for _ in progress:
            history.losses.append(train_epoch(model, optimiser, digits, batch_size))
            progress.set_postfix(loss=f"{history.losses[-1]:.4f}")
    history.accuracy = accuracy(model, digits.test_images, digits.test_labels)
    return history


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices as small as these are not worth sharing between threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_epoch(model: nn.Module, optimiser: torch.optim.Optimizer, digits: Digits, batch_size: int) -> float:
    """One pass over the training data; gives the mean loss."""
    total = 0.0
    for images, labels in batches(digits.train_images, digits.train_labels, batch_size):
        optimiser.zero_grad()
        loss = nn.functional.nll_loss(model(images), labels)
        loss.backward()
        optimiser.step()
        total += loss.item() * len(labels)
    return total / len(digits.train_labels)


def batches(images: Tensor, labels: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The data in random order, cut into pieces."""
    for chosen in torch.randperm(len(labels)).split(batch_size):
        yield images[chosen], labels[chosen]


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of ``images`` whose most probable digit is the one in ``labels``."""
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(dim=1) == labels).float().mean().item()


def main() -> None:
    """Train both and compare."""
    kernel = train(vrelu3.nnModule, label="relu3, Knossos")
    reference = train(Relu3Reference(), label="relu3, PyTorch")
    print("epoch  loss with Knossos  loss with PyTorch")
    for epoch, (ours, theirs) in enumerate(zip(kernel.losses, reference.losses, strict=True)):
        print(f"{epoch:5d}  {ours:17.6f}  {theirs:17.6f}")
    print(f"held-out accuracy: {kernel.accuracy:.1%} with Knossos, {reference.accuracy:.1%} with PyTorch")


if __name__ == "__main__":
    main()
