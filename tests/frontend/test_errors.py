"""Every refusal, with its whole message: the user's file, line, caret, reason, and what to write instead.

The messages are golden files; lines count from the first one of the function, so that cases can be added anywhere.
"""

import cmath
import dataclasses
import functools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ksc.errors import KnossosError
from ksc.frontend import Abstract, trace
from ksc.frontend.codes import CODES
from ksc.ir.types import Bool, Float, Integer

CASES = {}
TYPES = {float: Float, int: Integer, bool: Bool}


def case(fn):
    assert fn.__name__ not in CASES
    CASES[fn.__name__] = fn
    return fn


weights = [1.0, 2.0]
table = {float: 1.0}
names = {"a", "b"}
array = np.ones(3)
tensor = torch.ones(3)
layer = torch.nn.Linear(1, 1)
counter = 0


@dataclasses.dataclass
class Open:
    x: float


@dataclasses.dataclass(frozen=True)
class Closed:
    x: float


@dataclasses.dataclass
class Checked:
    x: float

    def __post_init__(self):
        assert self.x


class Plain:
    def __init__(self, x):
        self.x = x


plain_object = Plain(1.0)


def starred(*values):
    return values[0]


def wrapper(fn):
    @functools.wraps(fn)
    def inner(*args, **kwargs):
        return fn(*args, **kwargs)

    return inner


@wrapper
def wrapped(x):
    return x


def endless(n):
    return n * endless(n - 1)


def annotated_wrong(n: int) -> int:
    return n * 0.5


# Statements.


@case
def try_except(x: float):
    try:
        return 1 / x
    except ZeroDivisionError:
        return 0.0


@case
def raise_exception(x: float):
    if x < 0:
        raise ValueError("negative")
    return x


@case
def with_block(x: float):
    with torch.no_grad():
        return x


@case
def yield_value(x: float):
    yield x


@case
def yield_from(x: float):
    y = yield from (x,)
    return y


@case
async def async_function(x: float):
    return x


@case
def async_inner(x: float):
    async def g():
        return x

    return x


@case
def global_write(x: float):
    global counter
    counter = 1
    return x


@case
def nonlocal_write(x: float):
    total = 0.0

    def add():
        nonlocal total
        total = total + x

    add()
    return total


@case
def class_definition(x: float):
    class Local:
        pass

    return x


@case
def delete(x: float):
    y = x
    del y
    return x


@case
def match_statement(n: int):
    match n:
        case 0:
            return 1
        case _:
            return 2


@case
def import_inside(x: float):
    import math as m

    return m.sin(x)


@case
def inner_decorator(x: float):
    @functools.cache
    def f(t):
        return t

    return f(x)


@case
def attribute_write(x: float):
    p = Open(x)
    p.x = 2.0
    return p.x


@case
def element_write(x: float):
    values = (x, x)
    values[0] = 1.0
    return values[0]


@case
def augmented_element(x: float):
    values = (x, x)
    values[0] += 1.0
    return values[0]


@case
def append(x: float, n: int):
    values = []
    for i in range(n):
        values.append(x * i * len(values))
    return values[0]


# Calls and parameters.


@case
def star_parameter(x: float, *rest):
    return x


@case
def keyword_parameter(x: float, **options):
    return x


@case
def star_argument(x: float):
    return max(*x)


@case
def double_star_argument(x: float):
    return dict(**x)


@case
def star_target(x: float):
    first, second, *rest = (x,)  # noqa: F841
    return first


@case
def star_element(x: float):
    return (*x, x)


@case
def call_of_starred(x: float):
    return starred(x)


@case
def call_of_wrapper(x: float):
    return wrapped(x)


@case
def print_call(x: float):
    print(x)  # noqa: T201
    return x


@case
def unknown_call(x: float):
    return np.sin(x)


@case
def complex_call(x: float):
    return cmath.sin(x)


@case
def open_file(x: float):
    return float(open("weights.txt").read())


@case
def call_of_number(x: float):
    return x(1.0)


@case
def too_few_arguments(x: float):
    def f(a, b):
        return a + b

    return f(x)


@case
def too_many_arguments(x: float):
    return math.sin(x, x)


@case
def wrong_keyword(x: float):
    def f(a):
        return a

    return f(b=x)


@case
def argument_twice(x: float):
    def f(a):
        return a

    return f(x, a=x)


@case
def plain_class(x: float):
    return Plain(x).x


@case
def post_init(x: float):
    return Checked(x).x


@case
def missing_field(x: float):
    return Closed().x


@case
def recursion_without_an_end(n: int):
    return endless(n)


@case
def local_recursion_with_capture(n: int):
    k = n * 2

    def f(m: int) -> int:
        return k if m == 0 else f(m - 1)

    return f(n)


@case
def error_in_callee(x: float):
    def deep(t):
        return t.foo

    return deep(x)


# Names and captured objects.


@case
def unknown_name(x: float):
    return x + undefined_name  # noqa: F821


@case
def unbound_on_one_path(x: float):
    if x > 0:
        y = x
    return y


@case
def unbound_after_loop(n: int):
    for i in range(n):
        last = i * 2
    return last


@case
def unbound_at_first(x: float):
    y = z + x  # noqa: F821
    z = y  # noqa: F841
    return y


@case
def captured_list(x: float):
    weights[0] = x
    return x


@case
def captured_dict(x: float):
    return x * len(table)


@case
def captured_array(x: float):
    return x * array[0]


@case
def captured_tensor(x: float):
    return x * tensor[0]


@case
def captured_module(x: float):
    return layer(x)


@case
def captured_set(x: float):
    return x * len(names)


@case
def captured_object(x: float):
    return x * plain_object.x


@case
def unknown_attribute(x: float):
    return math.sinn(x)


@case
def attribute_of_number(x: float):
    return x.is_integer()


@case
def unknown_field(x: float):
    return Closed(x).y


# Constants needed.


@case
def index_of_a_number(x: float, n: int):
    return x[n]


@case
def dynamic_index(n: int):
    return (math.sin, math.cos)[n](1.0)


@case
def dynamic_slice(n: int):
    return (1.0, 2.0, 3.0)[:n]


@case
def dynamic_comprehension(n: int):
    return sum([i for i in range(n) if i > 2])


@case
def dynamic_condition_in_comprehension(x: float):
    return sum(v for v in (1.0, x) if v > 0)


@case
def dynamic_key(n: int):
    return {n: 1.0}


@case
def iterate_over_number(x: float):
    for v in x:  # noqa: B007
        pass
    return x


@case
def sort_values(x: float):
    return sorted((x, 1.0))[0]


@case
def f_string(x: float):
    name = f"{x:.2f}"
    return len(name)


@case
def string_of_value(x: float):
    return len(str(x))


@case
def string_arithmetic(x: float):
    return "a" + x


@case
def set_display(x: float):
    return len({1.0, 2.0})


@case
def complex_number(x: float):
    return x * 1j


@case
def slice_of_number(x: float):
    return x[0:1]


@case
def unroll_too_much(x: float):
    for value in tuple(range(2000)):
        x = x + value
    return x


@case
def python_raises(x: float):
    return x + (1.0, 2.0)[5]


@case
def zero_step(n: int):
    s = 0
    for i in range(0, n, 0):
        s += i
    return s


@case
def identity_of_numbers(x: float, y: float):
    return 1.0 if x is y else 0.0


# Types.


@case
def branch_types(x: float, n: int):
    if x > 0:
        y = x
    else:
        y = n
    return y


@case
def ternary_types(x: float, n: int):
    return n if x > 0 else x


@case
def return_types(x: float, b: bool):
    if b:
        return x, x
    return x


@case
def missing_return(x: float):
    if x > 0:
        return x


@case
def loop_types(x: float, n: int):
    s = n
    for _ in range(n):
        s = s * x
    return s


@case
def loop_grows(x: float, n: int):
    t = (x,)
    for _ in range(n):
        t = t + t
    return t


@case
def none_in_arithmetic(x: float):
    y = None
    return x + y


@case
def tuple_in_arithmetic(x: float):
    return (x, x) * x


@case
def matmul_of_numbers(x: float):
    return x @ x


@case
def bits_of_float(x: float):
    return x & 1


@case
def integer_power(n: int, m: int):
    return n**m


@case
def range_of_float(x: float):
    s = 0.0
    for i in range(x):
        s += i
    return s


@case
def large_constant(n: int):
    return n + 2**64


@case
def unpack_count(x: float):
    a, b = (x, 1.0, 2.0)
    return a + b


@case
def functions_differ(x: float):
    f = math.sin if x > 0 else math.cos
    return f(x)


@case
def wrong_annotation(n: int):
    return annotated_wrong(n)


@case
def function_returned(x: float):
    return lambda t: t + x


@case
def length_of_number(x: float):
    return len(x)


def message_of(fn):
    """The whole message of the error that tracing ``fn`` raises, and the error."""
    args = [TYPES[annotation] for name, annotation in fn.__annotations__.items() if name != "return"]
    with pytest.raises(KnossosError) as caught:
        trace(fn, [Abstract(type_) for type_ in args])
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", []), ""])
    text = text.replace(__file__, "FILE")
    return re.sub(r"(\bline |FILE:)(\d+)", lambda match: match[1] + relative(int(match[2])), text), caught.value


def relative(line):
    """A line counted from the first one of the function around it."""
    lines = Path(__file__).read_text().splitlines()
    first = max(k for k, text in enumerate(lines[:line], 1) if re.match(r"(async )?def ", text))
    return str(line - first + 1)


@pytest.mark.parametrize("name", CASES)
def test_message(name, golden):
    text, error = message_of(CASES[name])
    assert error.code in CODES
    assert error.span is not None
    assert error.span.file == __file__
    assert error.remedy
    golden.check(text)


def test_many_constructs_are_covered():
    assert len(CASES) >= 40


def test_function_without_source():
    scope = {}
    exec("def generated(x):\n    return x", scope)
    for fn in (scope["generated"], math.sin, len, int):
        with pytest.raises(KnossosError, match="KS109") as caught:
            trace(fn, [Abstract(Float)])
        assert caught.value.remedy
