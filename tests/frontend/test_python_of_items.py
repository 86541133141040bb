"""Python on tuples, lists, dataclasses and what iterates over them: PyTorch runs the same program."""

import dataclasses
import functools
import itertools
import operator
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
import torch
from tensor_oracle import check, check_derivatives, described

from ksc.errors import KnossosError
from ksc.frontend import trace

CASES = {}
X = torch.randn(3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def case(fn):
    CASES[fn.__name__] = fn
    return fn


@dataclass(frozen=True)
class Lens:
    focal: float = 2.0
    radial: tuple[float, float] = (0.1, 0.2)

    @property
    def doubled(self):
        return 2.0 * self.focal

    def project(self, x):
        return x * self.focal + self.radial[0]


@dataclass(frozen=True)
class Camera:
    lens: Lens = field(default_factory=Lens)
    shift: float = 1.0
    marks: list = field(default_factory=list)

    @classmethod
    def at(cls, shift):
        return cls(shift=shift)


class Point(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor

    def norm(self):
        return torch.sqrt(self.x**2 + self.y**2)

    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)


LENS = Lens()


def weighted(a, b, c=1.0):
    return a * b + c


@case
def starred_targets(x):
    first, *rest = (x[0], x[1], x[2])
    a, *middle, b = [x[0], x[1], x[2], x[0] * x[1]]
    *head, _ = (x[0], x[1])
    return first * rest[0] + rest[1] * a * b + middle[0] * middle[1] + head[0] + len(rest)


@case
def starred_arguments(x):
    pair = (x[0], x[1])
    first, second = zip(*[(x[0], x[1]), (x[1], x[2])], strict=True)
    named = {"c": x[2] * 3.0}
    return weighted(*pair, c=x[2]) + weighted(*pair, **named) + first[1] * second[1]


@case
def starred_elements(x):
    pair = (x[0], x[1])
    return torch.stack([*pair, x[2], *pair])


@case
def dataclasses_with_factories(x):
    camera = Camera()
    moved = dataclasses.replace(camera, shift=3.0, lens=dataclasses.replace(LENS, focal=5.0))
    return x * camera.lens.focal * Camera.at(4.0).shift + moved.lens.project(x) * moved.lens.doubled + moved.shift


@case
def namedtuples_with_methods(x):
    p = Point(x[0], x[1])
    return (p + p).norm() + p._replace(x=x[2]).norm()


@case
def reduced(x):
    items = [x[0], x[1], x[2]]
    total = functools.reduce(operator.add, items[:2], x[2])
    return functools.reduce(lambda a, b: a * b, items) + total


@case
def combined(x):
    t = x[0]
    for i, j in itertools.product(range(3), range(2)):
        t = t + x[i] * x[j] * (i != j)
    for i, j in itertools.product(range(2), repeat=2):
        t = t + x[i] * x[j]
    for i, j in itertools.combinations(range(3), 2):
        t = t * (x[i] - x[j])
    for a, b in itertools.pairwise([x[0], x[1], x[2]]):
        t = t + a * b
    for a in itertools.chain([x[0]], (x[1],)):
        t = t * a
    for p in itertools.permutations(range(3), 2):
        t = t + x[p[0]] * x[p[1]] ** 2
    for a in itertools.islice([x[0], x[1], x[2]], 1, 3):
        t = t * a
    return t + sum(itertools.accumulate([x[0], x[1]], lambda a, b: a * b))


@case
def extremes(x):
    items = [x[0], x[1], x[2]]
    return max(items, key=lambda a: a * a) * min(items, key=lambda a: -a * a + a) + max([], default=2.0) * x[0]


@case
def extremes_of_pairs(x):
    score, place = max([(x[0], 0), (x[1], 1), (x[2], 2)], key=lambda pair: pair[0])
    return score * (place + 1)


@case
def any_and_all(x):
    if any(row > 0 for row in x) and all(x[i] < 100 for i in range(x.shape[0])):
        return x.sum()
    return x.prod()


@case
def ranges_backwards(x):
    t = x[0]
    for i in range(x.shape[0])[::-1]:
        t = torch.sin(t) * x[i]
    for i in reversed(range(1, x.shape[0])):
        t = t + torch.sin(t) * x[i]
    return t


@case
def messages(x):
    wanted = 3
    assert x.shape[0] == wanted, f"expected {wanted} rows, not {x.shape[0]}"
    assert x.sum() < 1000, f"the sum is {x.sum():.2f}"
    return x * 2.0


@pytest.mark.parametrize("name", CASES)
def test_against_pytorch(name):
    traced = check(CASES[name], X)
    check_derivatives(CASES[name], X, traced=traced)


def test_the_message_of_an_assert_shows_what_depends_on_the_arguments_as_it_is_written():
    program = trace(messages, [described(X)]).program
    found = [eqn.params["message"] for eqn in program.main.body.eqns if eqn.op == "assert"]
    assert found == ["expected 3 rows, not {x.shape[0]}", "the sum is {x.sum()}"]


def given_twice(x):
    named = {"c": x}
    return weighted(x, x, c=x, **named)


REFUSED = {
    "too few items": (lambda x: [a for a, *_, b, c in [(x, x)]], "2 items cannot be unpacked into 3"),
    "a tensor of unknown size": (lambda x: weighted(*x), "depends on the arguments"),
    "a name given twice": (given_twice, "'c' is given twice"),
    "no such field": (lambda x: dataclasses.replace(LENS, size=x).focal, "no field 'size'"),
    "nothing to reduce": (lambda x: functools.reduce(operator.add, []), "no items without a start"),
    "too many combinations": (lambda x: len(itertools.product(range(50), range(50))), "more than 1024 items"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    fn, message = REFUSED[name]
    with pytest.raises(KnossosError, match=message):
        trace(fn, [described(X)])
