"""A language model of diagonal LSTM layers: its loss as one kernel, and the gradient.

The problem is that of the ADBench suite (Srajer, Kukelova, Fitzgibbon, 2018). Weights are vectors, one for each gate of
a layer, so that every step of the sequence is elementwise.

    python lstm.py INSTANCE                   loss and gradient of an instance of ADBench, timed
    python lstm.py --generate L C B PATH      a synthetic instance: L layers, C characters, B bits each
    python lstm.py                            a small synthetic instance, timed
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

import ksc as knossos

sys.path.append(str(Path(__file__).resolve().parents[1] / "adbench"))
from problem import Problem


def lstm_step(x: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, bias: Tensor):
    """The next hidden state and cell of a layer, (b,) each.

    Args:
        x, hidden, cell: (b,).
        weight, bias: (4b,) for the forget, input and output gates and the change.
    """
    w_forget, w_in, w_out, w_change = weight.chunk(4)
    b_forget, b_in, b_out, b_change = bias.chunk(4)
    forget = torch.sigmoid(x * w_forget + b_forget)
    ingate = torch.sigmoid(hidden * w_in + b_in)
    outgate = torch.sigmoid(x * w_out + b_out)
    change = torch.tanh(hidden * w_change + b_change)
    cell = cell * forget + ingate * change
    return outgate * torch.tanh(cell), cell


@knossos.register
def lstm_loss(main: Tensor, extra: Tensor, state: Tensor, sequence: Tensor):
    """How badly each character of a sequence is predicted from those before it, in nats for each bit.

    Args:
        main: (2 layers, 4b) the weights, then the biases, of each layer.
        extra: (3, b) what the input is multiplied with; what the output is multiplied with, and what is added to it.
        state: (2 layers, b) the hidden state, then the cell, of each layer at the start.
        sequence: (characters, b).
    """
    characters, b = sequence.shape
    state = state.clone()
    total = 0.0
    for t in range(characters - 1):
        x = sequence[t] * extra[0]
        for layer in range(main.shape[0] // 2):
            x, cell = lstm_step(x, state[2 * layer], state[2 * layer + 1], main[2 * layer], main[2 * layer + 1])
            state[2 * layer] = x
            state[2 * layer + 1] = cell
        y = x * extra[1] + extra[2]
        total += torch.sum(sequence[t + 1] * (y - torch.log(2.0 + torch.sum(torch.exp(y)))))
    return -total / ((characters - 1) * b)


gradient = knossos.value_and_grad(lstm_loss, argnums=("main", "extra"))

Instance = tuple[Tensor, Tensor, Tensor, Tensor]
"""The arguments of ``lstm_loss``."""


def read(path: str | Path) -> Instance:
    """Read an instance: the numbers of layers, characters and bits, then ``main``, ``extra``, state and sequence."""
    numbers = torch.tensor([float(word) for word in Path(path).read_text().split()], dtype=torch.float64)
    layers, characters, b = (int(size) for size in numbers[:3])
    main, extra, state, sequence = numbers[3:].split([8 * layers * b, 3 * b, 2 * layers * b, characters * b])
    return main.reshape(-1, 4 * b), extra.reshape(3, b), state.reshape(-1, b), sequence.reshape(characters, b)


def generate(layers: int, characters: int, b: int, path: str | Path, seed: int = 0) -> tuple[Path]:
    """Write an instance with weights and bits drawn at random; its path."""
    path = Path(path)
    random = torch.Generator().manual_seed(seed)

    def uniform(*sizes: int) -> Tensor:
        return torch.rand(*sizes, dtype=torch.float64, generator=random)

    bits = (uniform(characters, b) < 0.5).double()
    tables = [uniform(2 * layers, 4 * b), uniform(3, b), uniform(2 * layers, b), bits]
    parts = ["\n".join(" ".join(map(repr, row)) for row in table.tolist()) for table in tables]
    path.write_text("\n\n".join([f"{layers} {characters} {b}", *parts]) + "\n")
    return (path,)


def evaluate(path: str | Path) -> tuple[Tensor, Tensor]:
    """The loss of an instance, (1,), and its gradient by ``main`` and ``extra``, one after the other."""
    value, bars = gradient(*read(path))
    return value.reshape(1), torch.cat([bar.flatten() for bar in bars])


main = Problem(
    about=__doc__,
    sizes=("L", "C", "B"),
    example=(2, 20, 8),
    read=read,
    generate=generate,
    objective=lambda instance: lstm_loss(*instance),
    derivative=lambda instance: gradient(*instance),
    summary=lambda loss: f"loss {loss.item():.6f}",
).main

if __name__ == "__main__":
    main(sys.argv[1:])
