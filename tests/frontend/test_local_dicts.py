"""Dicts that change: Python and PyTorch run the same program."""

import pytest
import torch
from orders import check_orders
from tensor_oracle import described

from ksc.errors import KnossosError
from ksc.frontend import trace

CASES = {}
X = torch.randn(3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def case(fn):
    CASES[fn.__name__] = fn
    return fn


@case
def entries_are_written(x):
    d = {"a": x[0] * 2.0, "b": x[1] * 3.0}
    d["c"] = x[2]
    d["a"] = d["a"] * d["c"]
    d["b"] += 1
    if "c" in d and "z" not in d:
        d["z"] = x[0]
    t = 0.0
    for key, value in d.items():
        t = t * 2.0 + value * d[key]
    return t + d.get("q", 1.0) + len(d) + d.setdefault("w", x[0]) * d.pop("w") + len(d)


@case
def entries_are_updated(x):
    d = {"a": torch.zeros_like(x)}
    d["a"][0] = x[0] * x[1]
    d["a"] += x
    d.update(b=x * 2.0)
    d.update({"c": x * x})
    e = {**d, "b": x * 5.0}
    return d["a"], d["b"] * e["b"] * e["c"]


@case
def carried_by_a_loop(x):
    acc = {"sum": 0.0, "product": 1.0}
    for i in range(x.shape[0]):
        acc["sum"] = acc["sum"] + x[i] * acc["product"]
        acc["product"] = acc["product"] * x[i]
    return acc["sum"] * acc["product"]


@case
def written_on_one_side(x):
    d = {"s": x[0]}
    if x[1] > 0:
        d["s"] = x[1] * 2.0
    else:
        d["s"] = x[2] * d["s"]
    return d["s"] * x


@case
def seen_under_another_name(x):
    d = {"s": x[0]}
    e = d
    e["s"] = x[1] * x[2]
    nested = {"inner": d}
    nested["inner"]["s"] = nested["inner"]["s"] * 2.0
    return d["s"]


@case
def one_of_two(x):
    a, b = {"s": x[0]}, {"s": x[1]}
    chosen = a if x[2] > 0 else b
    return chosen["s"] * x


@case
def passed_to_a_function(x):
    def scale(d):
        d["s"] = d["s"] * 2.0
        return d["s"]

    d = {"s": x[0]}
    return scale(d) * d["s"] * x


@pytest.mark.parametrize("name", CASES)
def test_against_pytorch(name):
    check_orders(CASES[name], X)


def changes_one_of_two(x):
    a, b = {"s": x[0]}, {"s": x[1]}
    chosen = a if x[2] > 0 else b
    chosen["s"] = x[2]
    return a["s"]


def grows_in_a_loop(x):
    d = {0: x[0]}
    for i in range(x.shape[0]):
        d[i] = x[i]
    return d[0]


def other_keys_on_each_side(x):
    d = {"s": x[0]}
    if x[1] > 0:
        d["t"] = x[1]
    return d["s"]


REFUSED = {
    "a dict that may be another": (changes_one_of_two, "or a part of it, which line"),
    "a key that depends on the arguments": (grows_in_a_loop, "must be known at compile time"),
    "keys that differ": (other_keys_on_each_side, "on one path"),
    "a key that is missing": (lambda x: {"s": x}.pop("t"), "no key 't'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    fn, message = REFUSED[name]
    with pytest.raises(KnossosError, match=message):
        trace(fn, [described(X)])


def test_a_dict_that_is_an_argument_is_not_changed():
    def write(d):
        d["s"] = d["s"] * 2.0
        return d["s"]

    with pytest.raises(KnossosError, match=r"work on a copy: `d = dict\(d\)`"):
        trace(write, [{"s": described(X)}])
