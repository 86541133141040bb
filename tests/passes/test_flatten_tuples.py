"""A flattened program gives the parts of what the program gives."""

import numpy as np
import pytest

from ksc.errors import InvalidIRError, KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.types import BoxType, TensorType, TupleType, is_scalar
from ksc.ir.verify import verify
from ksc.passes.flatten_tuples import flat_types, flatten_tuples
from tests.ir.random_ir import ROWS, random_program
from tests.ir.test_round_trip import argument


def parts(value, type_):
    """What a value is taken apart into."""
    if isinstance(type_, TupleType):
        return [part for v, t in zip(value, type_.elems, strict=True) for part in parts(v, t)]
    if isinstance(type_, TensorType) and not is_scalar(type_.elem):
        array = np.empty(np.shape(value) if isinstance(value, np.ndarray) else len(value), dtype=object)
        columns = [[] for _ in flat_types(type_)]
        for at in np.ndindex(array.shape):
            element = value[at] if isinstance(value, np.ndarray) else value[at[0]]
            for column, part in zip(columns, parts(element, type_.elem) or [False], strict=True):
                column.append(np.asarray(part))
        inner = [
            c[0].shape if c else (0,) * (t.rank - array.ndim) for c, t in zip(columns, flat_types(type_), strict=True)
        ]
        return [np.array(c).reshape(array.shape + i) for c, i in zip(columns, inner, strict=True)]
    return [value]


def same(a, b):
    return repr(a) == repr(b) or np.array_equal(a, b, equal_nan=True)


def run(program, args):
    printed = []
    try:
        with np.errstate(all="ignore"):
            return interpret(program, args, output=printed.append), printed
    except KernelRuntimeError:
        return None, printed


def test_random_programs():
    compared = 0
    for seed in range(250):
        program = random_program(seed)
        flat = flatten_tuples(program)
        verify(flat)
        for function in flat.functions.values():
            variables = [*function.params, *(out for eqn in walk(function.body) for out in eqn.outs)]
            assert all(is_flat(var.type) for var in variables)
        args = [[[1.0], [2.0]] if p.type == ROWS else argument(p.type) for p in program.main.params]
        flat_args = [part for arg, p in zip(args, program.main.params, strict=True) for part in parts(arg, p.type)]
        expected, printed = run(program, args)
        given, printed_flat = run(flat, flat_args)
        if expected is not None and given is not None:
            compared += 1
            types = program.main.result_types
            wanted = [part for value, t in zip(expected, types, strict=True) for part in parts(value, t)]
            assert len(wanted) == len(given) and all(map(same, wanted, given))
            assert printed == printed_flat
    assert compared > 40


def is_flat(type_):
    inner = getattr(type_, "value", type_)
    return (
        is_scalar(inner)
        or isinstance(inner, BoxType)
        or (isinstance(inner, TensorType) and is_flat(inner.elem) and is_scalar(inner.elem))
    )


def test_nested_tensors_become_one_of_higher_rank_and_ragged_ones_stop():
    text = "(def f (Vec (Vec Integer)) ((n : Integer)) (build 2 (lam (i : Integer) (constVec (mul i n) i))))"
    program = parse(text)
    flat = flatten_tuples(program)
    assert [str(type_) for type_ in flat.main.result_types] == ["(Tensor 2 Integer)"]
    assert interpret(flat, [0])[0].shape == (2, 0)
    assert [row.tolist() for row in interpret(program, [2])[0]] == [[], [1, 1]]
    with pytest.raises(KernelRuntimeError, match="differ in size"):
        interpret(flat, [2])


def test_the_size_of_a_tensor_of_nothing_stays():
    flat = flatten_tuples(parse("(def f Integer ((n : Integer)) (size (build n (lam (i : Integer) (tuple)))))"))
    assert interpret(flat, [3]) == (3,)


def test_printed_tuples_look_the_same():
    program = parse("(def f Integer ((x : Float)) (print (tuple x (tuple 1 (tuple))) true))")
    printed = [run(p, [0.5])[1] for p in (program, flatten_tuples(program))]
    assert printed[0] == printed[1] == ["(0.5, (1, ()))true"]
    with pytest.raises(InvalidIRError, match="cannot be printed"):
        flatten_tuples(parse("(def f Integer ((v : (Vec (Tuple Float)))) (print v))"))
