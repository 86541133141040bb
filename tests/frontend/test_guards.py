"""What a trace remembers of the world outside, the signature of a function, and where its source is found."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from oracle import described, run_traced

import ksc.frontend as frontend
from ksc.errors import ArgumentError, UnsupportedError
from ksc.frontend import NO_DEFAULT, Abstract, Static, Struct, signature, trace
from ksc.ir.types import Bool, Float, Integer

scale = 2.0


class Pair(NamedTuple):
    x: float
    n: int = 3


@dataclass(frozen=True)
class Body:
    mass: float
    place: tuple[float, float]


def scaled(x: float):
    return x * scale


def stale(traced):
    return [guard.name for guard in traced.guards if not guard.holds()]


def test_a_changed_global_is_noticed(monkeypatch):
    traced = trace(scaled, [Abstract(Float)])
    assert stale(traced) == []
    monkeypatch.setitem(globals(), "scale", 3.0)
    assert stale(traced) == ["scale"]


def test_a_changed_cell_is_noticed():
    factor = 2.0

    def f(x: float):
        return x * factor

    traced = trace(f, [Abstract(Float)])
    assert stale(traced) == []
    factor = 3.0
    assert stale(traced) == ["factor"]


def test_a_shadowed_builtin_is_noticed(monkeypatch):
    def f(x: float):
        return abs(x)

    traced = trace(f, [Abstract(Float)])
    monkeypatch.setitem(globals(), "abs", float)
    assert stale(traced) == ["abs"]


def test_new_code_of_a_callee_is_noticed(monkeypatch):
    def g(x):
        return x + 1

    traced = trace(lambda x: g(x), [Abstract(Float)])
    g.__code__ = (lambda x: x + 2).__code__
    assert stale(traced) == ["__code__"]


def test_signature():
    def f(a: float, b: int = 2, /, c: Pair = Pair(1.0), *, d: bool = False, e: Body, t: torch.Tensor, u=None):  # noqa: B008
        return a

    read = signature(f)
    assert read.names == ("a", "b", "c", "d", "e", "t", "u")
    templates = [parameter.template for parameter in read.parameters]
    assert templates[:2] == [Abstract(Float), Abstract(Integer)]
    assert templates[2].cls is Pair
    assert templates[2].items == (Abstract(Float), Abstract(Integer))
    assert templates[3] == Abstract(Bool)
    assert templates[4].cls is Body
    assert templates[4].items[1].items == (Abstract(Float), Abstract(Float))
    assert templates[5:] == [None, None]
    assert [parameter.is_tensor for parameter in read.parameters].index(True) == 5
    assert read.parameters[0].default is NO_DEFAULT
    assert read.parameters[1].default == 2
    assert [parameter.keyword_only for parameter in read.parameters] == [False] * 3 + [True] * 4
    bound = read.bind((1.0,), {"e": 5, "t": 6})
    assert list(bound.items()) == [
        ("a", 1.0),
        ("b", 2),
        ("c", Pair(1.0)),
        ("d", False),
        ("e", 5),
        ("t", 6),
        ("u", None),
    ]
    for args, kwargs in (((), {}), ((1, 2, 3, 4), {}), ((1,), {"zz": 1}), ((1,), {"a": 1}), ((1,), {"d": True})):
        with pytest.raises(TypeError):
            read.bind(args, kwargs)


def test_parameters_of_a_trace():
    def f(p: Pair, k, flag=True, *, mode="x"):
        return p.x * k if flag and mode == "y" else p.n * 1.0

    pair = Struct(Pair, (Abstract(Float), Abstract(Integer)), ("x", "n"))
    traced = trace(f, [pair, Static(3)], name="other")
    assert [param.type for param in traced.program.main.params] == [Float, Integer]
    assert [param.name for param in traced.program.main.params] == ["p_x", "p_n"]
    assert traced.program.entry == "other"
    assert list(traced.params) == ["p", "k", "flag", "mode"]
    by_name = trace(f, {"k": Abstract(Float), "p": pair, "mode": Static("y")})
    assert run_traced(by_name, (Pair(2.0, 1), 4.0)) == 8.0
    for wrong in (
        [pair],
        [pair, Static(1), Static(2), Static(3), Static(4)],
        {"p": pair, "k": Static(1), "z": Static(1)},
    ):
        with pytest.raises(ArgumentError):
            trace(f, wrong)


def test_source_of_a_notebook_cell():
    source = "def cell(x: float) -> float:\n    # ünïcode\n    y = 'ä' and x.foo\n    return y\n"
    name = "<ipython-input-1>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope = {}
    exec(compile(source, name, "exec"), scope)
    with pytest.raises(UnsupportedError) as caught:
        trace(scope["cell"], [Abstract(Float)])
    assert (caught.value.span.file, caught.value.span.line, caught.value.span.col) == (name, 3, 16)
    assert str(caught.value).splitlines()[2].index("^") - 4 == source.splitlines()[2].index("x.foo")


def test_edited_source_is_refused():
    source = "def other(x):\n    return x\n"
    linecache.cache["<edited>"] = (len(source), None, source.splitlines(keepends=True), "<edited>")
    scope = {}
    exec(compile("def first(x):\n    return x\n", "<edited>", "exec"), scope)
    with pytest.raises(UnsupportedError, match="edited"):
        trace(scope["first"], [Abstract(Float)])


def test_results_are_rebuilt():
    traced = trace(lambda x: (x, Pair(x, 2), {"k": [x, None]}, "tag"), [described(1.0)])
    assert run_traced(traced, (1.5,)) == (1.5, Pair(1.5, 2), {"k": [1.5, None]}, "tag")


def test_nothing_is_exported_by_accident():
    assert all(hasattr(frontend, name) for name in frontend.__all__)
