"""Lists, dicts and open dataclasses from outside: read like constants, guarded by what they hold, never changed."""

import functools
from dataclasses import dataclass, field

import pytest
import torch
from tensor_oracle import check, check_derivatives, described

import ksc as knossos
from ksc.errors import KnossosError
from ksc.frontend import trace

BONES = [("wrist", -1), ("thumb", 0), ("index", 0), ("tip", 2)]
CONFIG = {"rate": 0.1, "steps": 3, "nested": {"sizes": [1, 2]}, "name": "plain"}
EMPTY = []


@dataclass
class Settings:
    gain: float = 2.0
    order: list = field(default_factory=lambda: [2, 0, 1])


SETTINGS = Settings()


def x():
    return torch.linspace(-1.0, 1.5, 6, dtype=torch.float64)


def chain(x):
    places = []
    for k, (_, parent) in enumerate(BONES):
        places.append(x[k] if parent < 0 else x[k] * places[parent])
    return torch.stack(places)


def configured(x):
    total = x
    for _ in range(CONFIG["steps"]):
        total = total - CONFIG["rate"] * total**2
    for key, value in CONFIG["nested"].items():
        total = total * len(value) + len(key)
    return total if CONFIG.get("name") == "plain" else x


def from_an_object(x):
    return torch.stack([x[k] * SETTINGS.gain for k in SETTINGS.order])


def added(x):
    parents = [parent for _, parent in BONES] + [1]
    bones = list(BONES)
    bones.append(("more", 3))
    return x * parents[-1] + len(bones) + BONES.copy().pop()[1]


def in_a_loop(x):
    total = 0.0
    for i in range(x.shape[0]):
        order = SETTINGS.order
        total = total + x[i] * order[1 + order[0] % 2] + BONES[2][1] * x[0]
    return total


def weighted(weights, x):
    return sum(w * x[k] for k, w in enumerate(weights))


partial = functools.partial(weighted, [1.0, 0.5])


def through_a_partial(x):
    return partial(x)


@pytest.mark.parametrize("fn", [chain, configured, from_an_object, added, in_a_loop, through_a_partial])
def test_against_torch(fn):
    check_derivatives(fn, x(), traced=check(fn, x()))


def stale(traced):
    return [guard for guard in traced.guards if not guard.holds()]


@pytest.mark.parametrize(
    ("fn", "change"),
    [
        (chain, lambda: BONES.append(("end", 1))),
        (chain, lambda: BONES.__setitem__(1, ("thumb", -1))),
        (configured, lambda: CONFIG.update(rate=0.25)),
        (configured, lambda: CONFIG["nested"]["sizes"].append(1)),
        (configured, lambda: CONFIG["nested"].update(other=[])),
        (from_an_object, lambda: setattr(SETTINGS, "gain", 3.0)),
        (from_an_object, lambda: SETTINGS.order.reverse()),
        (through_a_partial, lambda: partial.args[0].append(2.0)),
    ],
)
def test_a_change_is_noticed(fn, change, monkeypatch):
    monkeypatch.setitem(globals(), "BONES", list(BONES))
    monkeypatch.setitem(globals(), "CONFIG", {**CONFIG, "nested": {"sizes": [1, 2]}})
    monkeypatch.setitem(globals(), "SETTINGS", Settings())
    monkeypatch.setitem(globals(), "partial", functools.partial(weighted, [1.0, 0.5]))
    traced = trace(fn, [described(x())])
    assert not stale(traced)
    change()
    assert stale(traced)
    check(fn, x())


def test_calls_see_changes():
    rates = [0.5, {"power": 2}]

    @knossos.register
    def scaled(x: float):
        return rates[0] * x ** rates[1]["power"]

    for _ in range(3):
        assert scaled(3.0) == 4.5
    rates[1]["power"] = 3
    assert scaled(3.0) == 13.5
    rates[0] = 1.0
    for _ in range(2):
        assert scaled(3.0) == 27.0


def appended(x):
    EMPTY.append(x)
    return x


def replaced(x):
    CONFIG["rate"] = 2.0
    return x


def changed_under_another_name(x):
    bones = BONES
    bones[0] = ("wrist", 1)
    return x


def changed_on_one_path(x):
    bones = [("wrist", 0), *BONES[1:]] if x[0] > 0 else BONES
    bones[0] = ("wrist", 1)
    return x * bones[0][1]


def changed_in_a_loop(x):
    for _ in range(x.shape[0]):
        order = SETTINGS.order
        order[0] = 1
    return x


def grows(weights, x):
    weights.append(x[0])
    return x * len(weights)


def changed_by_a_callee(x):
    return grows(EMPTY, x)


def changed_through_a_partial(x):
    return functools.partial(grows, EMPTY)(x)


growing = functools.partial(grows, [])


def changed_in_a_partial(x):
    return growing(x)


def with_default(x, kept=[]):  # noqa: B006
    kept.append(x)
    return x * len(kept)


def changed_default(x):
    return with_default(x)


@pytest.mark.parametrize(
    "fn",
    [
        appended,
        replaced,
        changed_under_another_name,
        changed_on_one_path,
        changed_in_a_loop,
        changed_by_a_callee,
        changed_through_a_partial,
        changed_in_a_partial,
        changed_default,
    ],
)
def test_changes_are_refused(fn):
    with pytest.raises(KnossosError) as caught:
        trace(fn, [described(x())])
    assert caught.value.code == "KS120", caught.value
