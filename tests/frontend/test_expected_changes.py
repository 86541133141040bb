"""Loops are traced once as a rule, since their syntax tells what they change; and where it does not tell, rightly."""

import pytest
import torch
from tensor_oracle import check

from ksc.frontend import Abstract, trace
from ksc.frontend.carry import Loop
from ksc.ir.types import Float, TensorType

CASES = {}
MATRIX = TensorType(2, Float)


def tensor(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def case(*args):
    def enter(fn):
        CASES[fn.__name__] = fn, args
        return fn

    return enter


@case(tensor(4))
def bound_to_itself(x):
    y = x.clone()
    z = y
    for i in range(x.shape[0]):
        y = y.add_(x[i])
        z[i] = z[i] * 2.0
    return y + z


@case(tensor(4))
def two_names_of_one_tensor(x):
    y = x.clone()
    z = y
    for i in range(x.shape[0]):
        y = z
        y[i] += 1.0
    return y * z


@case(tensor(4))
def swapped(x):
    a, b = x.clone(), x * 2.0
    for i in range(x.shape[0]):
        a, b = b, a
        x = x + a * b[i]
    return x + a - b


@case(tensor(4))
def written_on_a_side_that_is_never_taken(x):
    y, other = x.clone(), x.clone()
    writes = False
    for i in range(x.shape[0]):
        if writes:
            y[i] = 7.0
        other = other + y[i]
    return y + other


@case(tensor(4))
def written_after_it_was_bound_in_the_loop(x):
    y = x.clone()
    s = torch.zeros_like(x)
    for i in range(x.shape[0]):
        t = y if i >= 0 else s
        y = y * 0.5
        y[i] = x[i]
        s += t
    return s, y


@case(tensor(3))
def bound_on_one_side_and_written(x):
    y = x.clone()
    for i in range(x.shape[0]):
        if x[i] > 0.0:
            y = y * 2.0
        for j in range(i):
            y[j] = y[j] + x[i]
    return y


@case(tensor(3))
def made_in_each_iteration(x):
    out = x.clone()
    for i in range(x.shape[0]):
        row = torch.zeros(x.shape[0], dtype=x.dtype)
        for j in range(x.shape[0]):
            part = row
            for k in range(j):
                part = part + x[k] * x[i]
            row[j] = torch.sum(part)
        out[i] = torch.prod(row) + i
    return out


@pytest.mark.parametrize("name", CASES)
def test_what_a_loop_changes_is_found_whatever_its_syntax_tells(name):
    fn, args = CASES[name]
    check(fn, *args)


SHAPES = {
    "numbers": ("s = 0.0", "s = s + x[{last}, 0]", "return s"),
    "elements": ("s = x.clone()", "s[{last}, 0] += x[0, {last}]", "return s"),
    "tensors": ("s = x * 1.0", "s = s + x[{last}]", "return s"),
    "locals": ("out = x.clone()", "t{depth} = x[{last}]", "return out"),
}


def bodies_traced(shape, depth, tmp_path, monkeypatch):
    """How many bodies are traced for ``depth`` loops, one in the other."""
    first, inner, last = SHAPES[shape]
    lines = ["import torch", "def f(x):", f"    {first}"]
    for k in range(depth):
        pad = "    " * (k + 1)
        lines += [f"{pad}for i{k} in range(x.shape[0]):", f"{pad}    {inner.format(last=f'i{k}', depth=k)}"]
    if shape == "locals":
        lines += ["    " * (depth + 1) + "out[i0] = " + " + ".join(f"t{k}" for k in range(depth))]
    file = tmp_path / f"{shape}{depth}.py"
    file.write_text("\n".join([*lines, f"    {last}", ""]))
    namespace = {}
    exec(compile(file.read_text(), file, "exec"), namespace)
    found = []
    plain = Loop._trace
    monkeypatch.setattr(Loop, "_trace", lambda self, start: found.append(1) or plain(self, start))
    trace(namespace["f"], [Abstract(MATRIX)])
    return len(found)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bodies_that_are_traced_grow_with_the_depth_of_the_nest(shape, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        counts = [bodies_traced(shape, depth, tmp_path, patch) for depth in range(1, 6)]
    assert all(number <= 2 * depth for depth, number in enumerate(counts, 1)), counts
