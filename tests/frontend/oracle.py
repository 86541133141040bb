"""Python itself as the oracle of the frontend: the function is run, and its trace is interpreted."""

import dataclasses
import math

from ksc.frontend import Abstract, Struct, signature, trace
from ksc.ir.interpret import interpret
from ksc.ir.verify import verify


def flatten(value):
    """The numbers of a Python value, depth first."""
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in flatten(item)]
    if isinstance(value, dict):
        return flatten(list(value.values()))
    if dataclasses.is_dataclass(value):
        return flatten([getattr(value, field.name) for field in dataclasses.fields(value)])
    return [value]


def described(value):
    """The description of an argument like ``value``: every number in it depends on the call."""
    from ksc.ir.types import Bool, Float, Integer

    if isinstance(value, bool):
        return Abstract(Bool)
    if isinstance(value, int):
        return Abstract(Integer)
    if isinstance(value, float):
        return Abstract(Float)
    if dataclasses.is_dataclass(value):
        keys = tuple(field.name for field in dataclasses.fields(value))
        return Struct(type(value), tuple(described(getattr(value, key)) for key in keys), keys)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(described, value))
    return type(value)(map(described, value))


def run_traced(traced, args):
    """The Python result of a trace for Python arguments."""
    results = iter(interpret(traced.program, flatten(args)))
    return traced.rebuild(results)


def same(a, b):
    """Whether two results agree: the same structure, and numbers equal to a few units in the last place."""
    if isinstance(a, float | int) and isinstance(b, float | int):
        if isinstance(a, bool) != isinstance(b, bool):
            return False
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        if a == 0 and b == 0:
            return math.copysign(1, a) == math.copysign(1, b)
        return a == b or math.isclose(a, b, rel_tol=1e-13, abs_tol=0)
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    return all(map(same, flatten(a), flatten(b))) if dataclasses.is_dataclass(a) else a == b


def check(fn, inputs, **statics):
    """Trace ``fn`` for each kind of input, and compare with Python on each."""
    assert signature(fn) is not None
    for args in inputs:
        args = args if isinstance(args, tuple) else (args,)
        traced = trace(fn, [described(arg) for arg in args])
        verify(traced.program)
        expected = fn(*args)
        found = run_traced(traced, args)
        assert same(found, expected), f"{fn.__name__}{args}: {found} but Python gives {expected}"
