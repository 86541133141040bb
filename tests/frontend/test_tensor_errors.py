"""Refusals of programs with tensors, with their whole message; lines count from the first one of the function."""

import re
from pathlib import Path
from typing import Annotated

import pytest
import torch

from ksc.errors import KernelRuntimeError, KnossosError
from ksc.frontend import Abstract, trace
from ksc.frontend.codes import CODES
from ksc.ir.interpret import interpret
from ksc.ir.types import Bool, Float, Integer, TensorType

CASES = {}
TENSOR = {rank: Abstract(TensorType(rank, Float)) for rank in (1, 2, 3)}
INTEGERS = Abstract(TensorType(1, Integer))
MASK = Abstract(TensorType(1, Bool))
NUMBER, COUNT, CONDITION = Abstract(Float), Abstract(Integer), Abstract(Bool)
FIXED = Abstract(TensorType(2, Float, (3, 4)))


def case(*args):
    def enter(fn):
        assert fn.__name__ not in CASES
        CASES[fn.__name__] = fn, args
        return fn

    return enter


@case(TENSOR[1])
def argument_written(x):
    x[0] = 1.0
    return x


@case(TENSOR[1])
def made_with_requires_grad(x):
    return x + torch.zeros_like(x, requires_grad=True)


@case(TENSOR[1])
def made_in_another_layout(x):
    return x.new_full((3,), 2.0, layout=torch.sparse_coo) + x


@case(TENSOR[2])
def view_of_argument_written(x):
    row = x[0]
    row += 1.0
    return x


@case(TENSOR[1])
def argument_in_place_method(x):
    return x.mul_(2.0)


@case(TENSOR[1], CONDITION)
def maybe_argument_written(x, c):
    y = x if c else x * 2
    y[0] = 1.0
    return y


@case(TENSOR[1])
def best_of_a_table_that_is_filled(x):
    table = x.clone()
    best = 0.0
    for i in range(1, x.shape[0]):
        table[i] = table[i - 1] * x[i]
        if table[i] > best:
            best = table[i]
    return best


@case(TENSOR[1], CONDITION)
def read_after_a_maybe_alias_was_written(x, c):
    a, b = x + 1, x + 2
    y = a if c else b
    y[0] = 9.0
    return a


@case(TENSOR[1], COUNT)
def read_after_a_loop_maybe_wrote(x, n):
    a = x * 2
    b = a
    for _ in range(n):
        b[0] = b[0] + 1.0
        b = b * 2
    return a


@case([TENSOR[1]])
def list_argument_changed(xs):
    xs.append(xs[0])
    return xs[1]


@case(TENSOR[1], COUNT)
def list_grows_at_run_time(x, n):
    xs = []
    for i in range(n):
        if i > 2:
            xs.append(x * i)
    return torch.stack(xs)


@case(TENSOR[1])
def comprehension_over_rows(x):
    return torch.stack([v * 2 for v in x if v > 0])


@case(TENSOR[1], MASK)
def mask_read(x, m):
    return x[m].sum()


@case(TENSOR[1], MASK, TENSOR[1])
def mask_written_with_values(x, m, v):
    y = x.clone()
    y[m] = v
    return y


@case(FIXED)
def index_out_of_range(x):
    return x[3]


@case(FIXED)
def negative_index_out_of_range(x):
    return x[0, -5]


@case(TENSOR[2])
def dimension_out_of_range(x):
    return torch.sum(x, 2)


@case(TENSOR[1])
def too_many_indices(x):
    return x[0, 0]


@case(TENSOR[1], NUMBER)
def float_index(x, i):
    return x[i]


@case(TENSOR[1])
def negative_step(x):
    return x[::-1]


@case(TENSOR[2])
def view_of_transposed(x):
    return x.T.view(-1)


@case(FIXED)
def reshape_to_another_count(x):
    return x.reshape(5, 2)


@case(TENSOR[1])
def expanded_written(x):
    y = x.sum().expand(4)
    y += 1.0
    return y


@case(TENSOR[1])
def unbind_of_unknown_size(x):
    return x.unbind()[0]


@case(TENSOR[1])
def truth_of_tensor(x):
    return x if x > 0 else -x


@case(TENSOR[1])
def tensor_in_list_written(x):
    y = x.clone()
    y[0] = [1.0]
    return y


@case(FIXED)
def sizes_that_differ(x):
    y = torch.zeros(2)
    return x + y


@case(FIXED)
def written_sizes_that_differ(x):
    y = x.clone()
    y[0] = torch.zeros(3)
    return y


@case(INTEGERS)
def float_into_integers(x):
    y = x.clone()
    y /= 2
    return y


@case(TENSOR[2], CONDITION)
def ranks_that_differ(x, c):
    y = x if c else x[0]
    return y


@case(TENSOR[2])
def unknown_method(x):
    return x.frobnicate()


@case(TENSOR[2])
def shape_changed_in_place(x):
    return x.clone().t_()


@case(TENSOR[2])
def data_of_tensor(x):
    return x.data


@case(TENSOR[1])
def annotated_rank(x: Annotated[torch.Tensor, (3, 3)]):
    return x


@case(FIXED)
def annotated_size(x: Annotated[torch.Tensor, (3, 3)]):
    return x


@case(TENSOR[1], NUMBER)
def number_or_tensor_under_two_names(x, s):
    total = s
    for i in range(x.shape[0]):
        before = total
        total += x[i]
        total = total + before
    return total


def relative(line):
    lines = Path(__file__).read_text().splitlines()
    first = max(k for k, text in enumerate(lines[:line], 1) if re.match(r"def ", text))
    return str(line - first + 1)


@pytest.mark.parametrize("name", CASES)
def test_message(name, golden):
    fn, args = CASES[name]
    with pytest.raises(KnossosError) as caught:
        trace(fn, list(args))
    error = caught.value
    assert error.code in CODES
    assert error.span is not None
    assert error.remedy
    text = "\n".join([str(error), *getattr(error, "__notes__", []), ""]).replace(__file__, "FILE")
    golden.check(re.sub(r"(\bline |FILE:)(\d+)", lambda match: match[1] + relative(int(match[2])), text))


def read_at(x, i):
    return x[i]


def read_inside_a_slice(x, i):
    return x[1:3][i]


def written_at(x, i):
    y = x * 2
    y[i] = 1.0
    return y


@pytest.mark.parametrize("fn", [read_at, read_inside_a_slice, written_at])
@pytest.mark.parametrize("i", [7, -8, 100])
def test_an_index_out_of_range_stops_at_its_line(fn, i):
    traced = trace(fn, [TENSOR[1], COUNT])
    with pytest.raises(KernelRuntimeError) as caught:
        interpret(traced.program, [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], i])
    assert caught.value.span is not None
    assert caught.value.span.file == __file__
    assert caught.value.span.text.strip().startswith(("return x[", "y[i]"))


def test_an_element_that_is_read_later_stops_at_its_index():
    def later(x, i):
        y = x[i]
        z = x[0] * 2
        return y * z

    with pytest.raises(KernelRuntimeError) as caught:
        interpret(trace(later, [TENSOR[1], COUNT]).program, [[1.0, 2.0], 2])
    assert caught.value.span.text.strip() == "y = x[i]"


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda xs, w_x: xs @ w_x.T, "xs.shape[1] and w_x.shape[1] must agree"),
        (lambda xs, w_x: (xs * 2) + w_x[1:], "xs.shape[0] and a computed size must agree"),
        (lambda xs, w_x: xs.sum(0) + torch.zeros(3), "xs.shape[1] must be 3"),
    ],
)
def test_messages_call_sizes_by_their_tensors(fn, message):
    with pytest.raises(KernelRuntimeError) as caught:
        interpret(trace(fn, [TENSOR[2], TENSOR[2]]).program, [[[1.0, 2.0]] * 2, [[3.0] * 4] * 2])
    assert caught.value.message == message


def test_messages_call_sizes_by_the_users_names():
    def scaled(x, y):
        n = x.shape[0]
        return x + y[: n - 1] * n

    with pytest.raises(KernelRuntimeError) as caught:
        interpret(trace(scaled, [TENSOR[1], TENSOR[1]]).program, [[1.0, 2.0], [3.0, 4.0]])
    assert caught.value.message == "n (x.shape[0]) and a computed size must agree"


def test_sizes_are_named_after_their_tensors_unless_the_user_names_them():
    def named(x, y, z, w):
        n, m = x.shape
        return x.sum() / (n * m) + y.sum(0)[0] + z.sum() + w.mean()

    program = trace(named, [TENSOR[2], TENSOR[2], TENSOR[1], TENSOR[3]]).program
    sizes = [eqn.outs[0].name for eqn in program.main.body.eqns if eqn.op == "size"]
    assert set(sizes) == {"n", "m", "y_rows", "y_cols", "z_size", "w_size0", "w_size1", "w_size2"}


def test_sizes_that_differ_at_run_time_stop_the_kernel():
    def added(x: Annotated[torch.Tensor, ("n",)], y: Annotated[torch.Tensor, ("n",)]):
        return x + y

    traced = trace(added, [TENSOR[1], TENSOR[1]])
    assert list(interpret(traced.program, [[1.0, 2.0], [3.0, 4.0]])[0]) == [4.0, 6.0]
    with pytest.raises(KernelRuntimeError, match="must agree"):
        interpret(traced.program, [[1.0, 2.0], [3.0]])
