"""What iterations are said to cost, which decides how many parts a loop is divided into."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.cli.target import import_file
from ksc.codegen.cpp.work import WORTH_DIVIDING
from ksc.paths import prelude_dir

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@knossos.vmap
def summed(x: Tensor):
    return torch.sum(torch.exp(x))


@knossos.vmap
def decayed(x: Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        total = torch.exp(0.5 * total + x[i])
    return total


@knossos.register
def looked_up(x: Tensor, places: Tensor[torch.int64]):
    return torch.stack([2.0 * x[places[i]] for i in range(places.shape[0])])


@knossos.register
def doubled(x: Tensor):
    return 2.0 * x


def work(kernel: knossos.Kernel, derivation: str, *args: Tensor, **sizes: int) -> int:
    """The cost of an iteration of the costliest loop that is divided; ``sizes`` are those it mentions, 1 by default."""
    dtype = args[0].dtype
    kernel(*args)
    text = kernel._latest.source(derivation, dtype).text
    costs = re.findall(r"ks::parallel[^(]*\(rt, [^,]+, ([^,]+),\s+\[=\]", text)
    costs = [re.sub(r"\w+\.size\[1\]", "d", cost) for cost in costs]
    names = dict.fromkeys(re.findall(r"[a-z]\w*", " ".join(costs)), 1) | sizes
    return max(eval(cost, {"__builtins__": {}}, names) for cost in costs)


def is_divided(n: int, cost: int) -> bool:
    return n * cost >= WORTH_DIVIDING


def test_the_bound_is_that_of_the_prelude() -> None:
    text = (prelude_dir() / "ks" / "parallel.h").read_text()
    (alone,) = re.findall(r"work_alone = (\d+);", text)
    (part,) = re.findall(r"work_per_part = (\d+) \* work_alone;", text)
    assert 2 * int(part) * int(alone) == WORTH_DIVIDING


@pytest.mark.parametrize("derivation", ["", "v"])
def test_blocks_that_fill_registers_are_many_before_they_are_divided(derivation: str) -> None:
    vsqrl = import_file(EXAMPLES / "dl-capsule" / "sqrl.py").vsqrl
    cost = work(vsqrl, derivation, torch.ones(3, 4, 4))
    assert not is_divided(4_000, cost)
    assert is_divided(20_000, cost)


def test_a_mixture_is_divided() -> None:
    gmm = import_file(EXAMPLES / "ml-gmm" / "gmm.py").gmm_objective
    tables = torch.ones(2), torch.ones(2, 3), torch.ones(2, 6), torch.ones(5, 3)
    args = *(table.double() for table in tables), 1.0, 0
    cost = work(gmm, "v", *args, components=25, d=10, t=10, t3=45)
    assert is_divided(1_000, cost)
    assert not is_divided(10, cost)


def test_a_loop_that_waits_for_itself_costs_more_than_one_that_fills_registers() -> None:
    x = torch.ones(3, 20)
    assert work(decayed, "", x, d=1_000) > 8 * work(summed, "", x, d=1_000)


def test_numbers_twice_as_long_cost_twice_as_much() -> None:
    x = torch.ones(3, 20)
    assert work(summed, "", x.double(), d=1_000) == pytest.approx(2 * work(summed, "", x, d=1_000), rel=0.01)


def test_what_is_looked_up_is_read_one_by_one() -> None:
    x = torch.ones(3)
    assert work(looked_up, "", x, torch.tensor([0, 2])) > 3 * work(doubled, "", x)
