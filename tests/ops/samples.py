"""Inputs for each record: random ones from its domain, its edge points, and those of its Integer and Bool overloads."""

import itertools
import math
import random

from ksc.ir.types import Bool, Float, Integer
from ksc.ops.record import Overload, Primitive, Value

WHOLE = [-(2**63), 2**63 - 1, -(2**62), -17, -5, -2, -1, 0, 1, 2, 3, 7, 19, 2**40]


def random_samples(record: Primitive, count: int = 25) -> list[tuple[Value, ...]]:
    """Arguments drawn from the domain, the same ones each time."""
    draw = random.Random(record.name)
    return [tuple(_draw(draw, bounds) for bounds in record.domain) for _ in range(count)]


def _draw(draw: random.Random, bounds: tuple[Value, Value]) -> Value:
    low, high = bounds
    match low:
        case bool():
            return draw.random() < 0.5
        case int():
            return draw.randint(low, int(high))
        case _:
            return draw.uniform(low, high)


def edge_samples(record: Primitive) -> list[tuple[Value, ...]]:
    """The record's edge points, less those where it fails."""
    return [args for args in record.edges if record.failure is None or not record.failure.fails(*args)]


def samples_of(record: Primitive, overload: Overload) -> list[tuple[Value, ...]]:
    """All samples that fit one overload."""
    if overload is record.overloads[0]:
        return random_samples(record) + edge_samples(record)
    by_type = {Integer: WHOLE, Bool: [False, True], Float: [0.0, 1.5, math.nan]}
    return list(itertools.product(*(by_type[type_] for type_ in overload.args)))
