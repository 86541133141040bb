"""An LSTM (Hochreiter and Schmidhuber, 1997) as one kernel, and a character model that is trained with it."""

import torch
from torch import Tensor, nn
from tqdm import tqdm

import ksc as knossos

TEXT = """\
the loom of king minos held a labyrinth of thread, and every thread that went in came out again another way.
who follows the thread forward finds the centre; who follows it backward finds the door.
forward and backward are one path, walked twice, and the second walk remembers the first.
"""


def lstm_cell(x: Tensor, h: Tensor, c: Tensor, w_x: Tensor, w_h: Tensor, bias: Tensor):
    """One step for a batch: the next hidden state and cell.

    Args:
        x: (batch, inputs) the input of this step.
        h, c: (batch, hidden) the hidden state and the cell.
        w_x, w_h, bias: (4 hidden, inputs), (4 hidden, hidden), (4 hidden,); the gates in the order of ``nn.LSTM``:
            input, forget, cell, output.
    """
    gates = x @ w_x.T + h @ w_h.T + bias
    i, f, g, o = gates.chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@knossos.register
def lstm(xs: Tensor, h: Tensor, c: Tensor, w_x: Tensor, w_h: Tensor, bias: Tensor):
    """All steps of a sequence: the hidden states (time, batch, hidden), and the last hidden state and cell.

    Args:
        xs: (time, batch, inputs).
        h, c, w_x, w_h, bias: as in ``lstm_cell``.
    """
    out = torch.zeros(xs.shape[0], h.shape[0], h.shape[1])
    for t in range(xs.shape[0]):
        h, c = lstm_cell(xs[t], h, c, w_x, w_h, bias)
        out[t] = h
    return out, h, c


class CharacterModel(nn.Module):
    """Predicts the next character: an embedding, an LSTM, and a linear layer."""

    def __init__(self, characters: int, hidden: int = 48) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, hidden)
        scale = hidden**-0.5
        self.w_x = nn.Parameter(torch.empty(4 * hidden, hidden).uniform_(-scale, scale))
        self.w_h = nn.Parameter(torch.empty(4 * hidden, hidden).uniform_(-scale, scale))
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        self.logits = nn.Linear(hidden, characters)

    def forward(self, codes: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (time, batch, characters) for codes (time, batch), and the last state."""
        out, h, c = lstm(self.embed(codes), h, c, self.w_x, self.w_h, self.bias)
        return self.logits(out), h, c


class Alphabet:
    """The characters of a text, numbered."""

    def __init__(self, text: str) -> None:
        self.characters = sorted(set(text))

    def encode(self, text: str) -> Tensor:
        return torch.tensor([self.characters.index(character) for character in text])

    def decode(self, codes: list[int]) -> str:
        return "".join(self.characters[code] for code in codes)


def train(
    text: str = TEXT, *, rounds: int = 120, length: int = 32, batch: int = 8, hidden: int = 48, seed: int = 0
) -> tuple[CharacterModel, list[float]]:
    """Train a model on stretches of ``text``; the model, and the cross entropy in nats of each round."""
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    alphabet = Alphabet(text)
    codes = alphabet.encode(text)
    model = CharacterModel(len(alphabet.characters), hidden)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    zeros = torch.zeros(batch, hidden)
    losses = []
    for _ in tqdm(range(rounds), desc="training"):
        starts = torch.randint(len(codes) - length - 1, (batch,), generator=random)
        stretches = torch.stack([codes[start : start + length + 1] for start in starts], dim=1)
        logits, _, _ = model(stretches[:-1], zeros, zeros)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), stretches[1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return model, losses


@torch.no_grad()
def write_on(model: CharacterModel, start: str, count: int, text: str = TEXT) -> str:
    """What the model takes for the likeliest ``count`` characters after ``start``."""
    alphabet = Alphabet(text)
    hidden = model.w_h.shape[1]
    h = c = torch.zeros(1, hidden)
    codes = alphabet.encode(start)[:, None]
    written = []
    for _ in range(count):
        logits, h, c = model(codes, h, c)
        codes = logits[-1:].argmax(dim=2)
        written.append(int(codes))
    return start + alphabet.decode(written)


def main() -> None:
    """Train, and let the model go on with a beginning."""
    model, losses = train()
    print(f"cross entropy {losses[0]:.2f} -> {losses[-1]:.2f} nats a character")
    print(write_on(model, "the loom of ", 60))


if __name__ == "__main__":
    main()
