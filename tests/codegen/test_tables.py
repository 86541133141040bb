"""Constants that are read at an index of the arguments lie in the program; a tensor that goes elsewhere is its own."""

import torch

import ksc as knossos

NODES = (-0.0, 0.25, float("inf"), -2.0)


@knossos.vmap
def node(x: float, k: int):
    total = 0.0
    for j in range(k):
        total += NODES[j] * x if j != 2 else NODES[-1]
    return total


def test_a_table_needs_no_memory():
    x = torch.linspace(-1.0, 1.0, 9)
    k = torch.arange(9) % 5
    terms = torch.stack([-0.0 * x, 0.25 * x, torch.full_like(x, -2.0), -2.0 * x])
    expected = torch.stack([terms[: int(n), i].sum() for i, n in enumerate(k)])
    torch.testing.assert_close(node(x, k), expected)
    text = node.cpp
    assert "static constexpr float" in text and "-0.0f, 0.25f, ks::inf<float>, -2.0f" in text
    assert "scratch" not in text


@knossos.register
def several(x: torch.Tensor, k: int):
    read = torch.tensor([1.0, 2.0, 4.0])
    changed = torch.tensor([1.0, 2.0, 3.0])
    changed[k] = x[0]
    given = torch.tensor([3.0, 5.0, 7.0])
    row = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[k]
    return read[k] * x, changed, given, row, torch.tensor([4, 5, 6])[k], torch.tensor([True, False, True])[k]


def test_tables_are_read_and_nothing_else():
    x = torch.tensor([2.0, 3.0])
    for _ in range(2):
        read, changed, given, row, number, flag = several(x, 1)
        assert read.tolist() == [4.0, 6.0] and changed.tolist() == [1.0, 2.0, 3.0] and row.tolist() == [3.0, 4.0]
        assert (int(number), bool(flag)) == (5, False)
        assert given.mul_(0.0).tolist() == [0.0, 0.0, 0.0]
    assert several.cpp.count("static constexpr") == 3
