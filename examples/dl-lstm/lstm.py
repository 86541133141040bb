"""A language model of diagonal LSTM layers: its loss as one kernel, and the gradient.

The problem is that of the ADBench suite (Srajer, Kukelova, Fitzgibbon, 2018). Weights are vectors, one for each gate of
a layer, so that every step of the sequence is elementwise.

    python lstm.py INSTANCE                   loss and gradient of an instance of ADBench, timed
    python lstm.py --generate L C B PATH      a synthetic instance: L layers, C characters, B bits each
    python lstm.py                            a small synthetic instance, timed
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

import ksc as knossos


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


def generate(layers: int, characters: int, b: int, path: str | Path, seed: int = 0) -> None:
    """Write an instance with weights and bits drawn at random."""
    random = torch.Generator().manual_seed(seed)

    def uniform(*sizes: int) -> Tensor:
        return torch.rand(*sizes, dtype=torch.float64, generator=random)

    bits = (uniform(characters, b) < 0.5).double()
    tables = [uniform(2 * layers, 4 * b), uniform(3, b), uniform(2 * layers, b), bits]
    parts = ["\n".join(" ".join(map(repr, row)) for row in table.tolist()) for table in tables]
    Path(path).write_text("\n\n".join([f"{layers} {characters} {b}", *parts]) + "\n")


def evaluate(path: str | Path) -> tuple[Tensor, Tensor]:
    """The loss of an instance, (1,), and its gradient by ``main`` and ``extra``, one after the other."""
    value, bars = gradient(*read(path))
    return value.reshape(1), torch.cat([bar.flatten() for bar in bars])


def milliseconds(run: Callable[[], object]) -> float:
    """The shortest time that a call takes, on one thread."""
    return 1e3 * min(Timer("run()", globals={"run": run}).blocked_autorange(min_run_time=1.0).times)


def report(path: str | Path) -> None:
    """Print the loss of an instance, and what it and its gradient cost."""
    args = read(path)
    print(f"loss {lstm_loss(*args).item():.6f}")
    print(f"objective {milliseconds(lambda: lstm_loss(*args)):.3f} ms")
    print(f"derivative {milliseconds(lambda: gradient(*args)):.3f} ms")


def main(argv: Sequence[str] = ()) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", help="an instance; a small synthetic one where it is left out")
    parser.add_argument("--generate", nargs=4, metavar=("L", "C", "B", "PATH"), help="write a synthetic instance")
    options = parser.parse_args(argv)
    if options.generate:
        layers, characters, b = map(int, options.generate[:3])
        generate(layers, characters, b, options.generate[3])
    elif options.path:
        report(options.path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            generate(2, 20, 8, Path(folder) / "lstm.txt")
            report(Path(folder) / "lstm.txt")


if __name__ == "__main__":
    main(sys.argv[1:])
