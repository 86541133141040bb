"""Making a kernel takes steps in proportion to its size: twice the program, about twice the calls of each stage."""

import sys

import pytest

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.frontend import Abstract, trace
from ksc.ir.nodes import walk
from ksc.ir.types import Float, TensorType
from ksc.passes import PIPELINE, optimise, prepare
from ksc.passes.fuse import chain
from ksc.passes.fuse.facts import Facts
from ksc.transforms import vjp

HEAD = "import math\n\nimport torch\n\n"
VECTOR = TensorType(1, Float)
MATRIX = TensorType(2, Float)


def program_of(tmp_path, params, lines, result):
    """The function ``f`` of these statements, from a file of its own."""
    file = tmp_path / f"program{len(lines)}.py"
    body = "".join(f"    {line}\n" for line in lines)
    file.write_text(f"{HEAD}def f({params}):\n{body}    return {result}\n")
    namespace = {}
    exec(compile(file.read_text(), file, "exec"), namespace)
    return namespace["f"]


SHAPES = {
    "statements": ("x: float, y: float", [Float, Float], ["x = x * y + {k}.5", "y = y - x / 3.0"], "x + y"),
    "branches": (
        "x: float, y: float",
        [Float, Float],
        ["if x > {k}.0:", "    x = x * y", "else:", "    y = y - x"],
        "x + y",
    ),
    "loops": (
        "x: torch.Tensor, s: float",
        [VECTOR, Float],
        ["for i in range(x.shape[0]):", "    s = s * x[i] + {k}.0"],
        "s",
    ),
    "slices": ("x: torch.Tensor", [VECTOR], ["x = torch.cat([x[1:] * x[:-1], x[:1]])"], "torch.sum(x)"),
    "tensors": ("x: torch.Tensor", [VECTOR], ["x = torch.sin(x) * torch.sum(x) + {k}.0"], "torch.sum(x)"),
}


def calls(step, *args):
    """What a step gives, and how many functions were called meanwhile."""
    number = 0

    def count(frame, event, arg):
        nonlocal number
        number += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result = step(*args)
    finally:
        sys.setprofile(before)
    return result, number


def stages(tmp_path, shape, size):
    params, types, lines, result = SHAPES[shape]
    written = [line.format(k=k) for k in range(size) for line in lines]
    return stages_of(program_of(tmp_path, params, written, result), types)


def stages_of(fn, types):
    """The calls of each stage of making the vjp of a function, and the equations of that."""
    counts = {}
    traced, counts["trace"] = calls(trace, fn, [Abstract(type_) for type_ in types])
    program, counts["prepare"] = calls(prepare, traced.program)
    program, counts["vjp"] = calls(vjp, program)
    for step in PIPELINE:
        program, counts[step.name] = calls(step.run, program)
    unit = Unit("f", [("", program)], "float64", "tensor" if VECTOR in types else "elementwise")
    _, counts["generate"] = calls(generate, unit)
    return counts, sum(1 for _ in walk(program.main.body))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "slices"])
def test_twice_the_program_takes_twice_the_steps(shape, tmp_path):
    small, few = stages(tmp_path, shape, 12)
    large, many = stages(tmp_path, shape, 24)
    assert many < 2.2 * few
    slow = {name: (small[name], large[name]) for name in small if large[name] > 2.5 * small[name] + 2000}
    assert slow == {}


NESTS = {
    "while": (
        "x: float",
        [Float],
        "s = x",
        ["j{k} = 0", "while j{k} < 3 and s < 9.0:"],
        ["s = s + math.sin(s)"],
        "j{k} += 1",
    ),
    "for": (
        "x: torch.Tensor",
        [VECTOR],
        "s = x[0]",
        ["for i{k} in range(x.shape[0]):"],
        ["s = s * x[i{k}]"],
        "s = s + 1.0",
    ),
    "if": ("x: float", [Float], "s = x", ["if s < {k}.0:"], ["s = s + math.sin(s)"], "s = s * x"),
    "carried tensor": (
        "x: torch.Tensor",
        [VECTOR],
        "s = torch.zeros_like(x)",
        ["for i{k} in range(x.shape[0]):"],
        ["s = s * x[i{k}] + torch.sin(s)"],
        "s = s + 1.0",
    ),
}


@pytest.mark.parametrize("nest", NESTS)
def test_what_is_nested_deeper_is_not_gone_through_twice_for_each_level(nest, tmp_path):
    params, types, start, heads, first, last = NESTS[nest]

    def nested(depth):
        lines = [start]
        for k in range(depth):
            lines += ["    " * k + head.format(k=k) for head in heads]
            lines += ["    " * (k + 1) + line.format(k=k) for line in first]
        lines += ["    " * (k + 1) + last.format(k=k) for k in reversed(range(depth))]
        return stages_of(program_of(tmp_path, params, lines, "s"), types)

    (small, few), (large, many) = nested(4), nested(7 if nest == "carried tensor" else 8)
    growth = many / few
    assert growth < 5
    slow = {name: (small[name], large[name]) for name in small if large[name] > 1.8 * growth * small[name] + 2000}
    assert slow == {}


def test_sizes_of_slices_of_slices_are_not_followed_along_every_way(tmp_path):
    """Each slice doubles the ways from its size to that of the first: what is asked of sizes grows with their number,
    at each place anew, so with its square at most.
    """
    small, few = stages(tmp_path, "slices", 4)
    large, many = stages(tmp_path, "slices", 8)
    assert many < 2.5 * few
    assert {name: (small[name], large[name]) for name in small if large[name] > 5 * small[name] + 2000} == {}


def test_layers_whose_sizes_are_asserted_equal(tmp_path):
    """Each assert of two sizes is one more rule about sizes, and may stand before the loops of the layers before it."""

    def layers(size):
        weights = ", ".join(f"w{k}: torch.Tensor, b{k}: torch.Tensor" for k in range(size))
        lines = [f"x = torch.relu(x @ w{k} + b{k})" for k in range(size)]
        types = [MATRIX, *[MATRIX, VECTOR] * size]
        return stages_of(program_of(tmp_path, f"x: torch.Tensor, {weights}", lines, "torch.mean(x * x)"), types)

    (small, few), (large, many) = layers(4), layers(8)
    assert many < 2.2 * few
    assert {name: (small[name], large[name]) for name in small if large[name] > 2.5 * small[name] + 2000} == {}


def test_the_reverse_of_a_list_of_elements_grows_with_the_list(tmp_path):
    """Each iteration adds to the cotangent of one item alone, not zeros to all others."""

    def lines(size):
        items = ", ".join(f"x[{k}] * {k}.5" for k in range(size))
        fn = program_of(tmp_path, "x: torch.Tensor", [f"y = torch.stack([{items}])"] + ["pass"] * size, "y")
        program = optimise(vjp(prepare(trace(fn, [Abstract(VECTOR)]).program)))
        return generate(Unit("f", [("", program)], "float64", "tensor")).text.count("\n")

    assert lines(60) < 2.2 * lines(30)


def test_fusion_ends_where_nothing_is_fused(tmp_path, monkeypatch):
    """A program that is fused already is looked at once."""
    fn = program_of(tmp_path, "x: torch.Tensor", ["x = torch.sin(x) + 1.0"], "torch.sum(x)")
    program = prepare(trace(fn, [Abstract(VECTOR)]).program)
    rounds = []
    plain = chain.merge_rows
    monkeypatch.setattr(chain, "merge_rows", lambda *args: rounds.append(args) or plain(*args))
    chain.fuse(program)
    assert len(rounds) == 1


def test_facts_are_found_once_a_round(tmp_path, monkeypatch):
    """What is fused already has one round: its facts are found before it and after, as asserts and sizes are resolved,
    and once for views, other elements and rows. Functions that are as they were are not looked at.
    """
    fn = program_of(tmp_path, "x: torch.Tensor", ["x = torch.sin(x) + 1.0"], "torch.sum(x)")
    program = prepare(trace(fn, [Abstract(VECTOR)]).program)
    found = []
    plain = Facts.of.__func__
    monkeypatch.setattr(Facts, "of", classmethod(lambda cls, function: found.append(function) or plain(cls, function)))
    chain.fuse(program)
    assert len(found) == 3
    again = chain.fuse(program, since=program)
    assert len(found) == 3
    assert again.main is program.main
