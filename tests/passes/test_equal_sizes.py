"""Integers that were asserted to be equal have one name from there on, and no other place."""

import torch

from ksc.frontend import Abstract, trace
from ksc.ir.nodes import const, walk
from ksc.ir.text import parse
from ksc.ir.types import Float, TensorType
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.cse import eliminate_common_subexpressions
from tests.passes.temporaries import temporaries


def shared(text):
    program = eliminate_common_subexpressions(parse(text))
    verify(program)
    return program.main


def products(function):
    return [eqn.args for eqn in walk(function.body) if eqn.op == "mul"]


def test_the_first_one_or_a_constant_stands_for_both():
    main = shared(
        """
        (def f (Tuple Integer Integer Integer) ((m : Integer) (n : Integer) (k : Integer))
          (let ((before (mul n n))
                (t (and (eq n m) (eq k 3))) (() (require t "n is m, k is 3"))
                (l (add k 1)) (() (require (eq l n) "n is k + 1")))
            (tuple before (mul n l) (mul k k))))
        """
    )
    m, n, _ = main.params
    assert products(main) == [(n, n), (m, m), (const(3), const(3))]


def test_what_a_block_asserts_is_not_known_outside():
    main = shared(
        """
        (def f Integer ((m : Integer) (n : Integer))
          (let ((total (for (i m) ((s 0))
                  (let ((t (eq m n)) (() (require t "n is m"))) (add s (mul n i)))))
                (other (for (i m) ((s 0)) (add s (mul n 2)))))
            (add total (mul n other))))
        """
    )
    m, n = main.params
    first, second, last = products(main)
    assert all(n in args for args in (first, second, last)) and m not in last


def rolled(x):
    for _ in range(3):
        x = torch.cat([x[1:], x[:1]]) * x
    return x


def test_sizes_that_must_agree_are_asked_for_once_and_parts_are_read_where_they_are():
    program = optimise(trace(rolled, [Abstract(TensorType(1, Float))]).program)
    assert sum(eqn.op == "assert" for eqn in walk(program.main.body)) == 1
    assert len(temporaries(program)) <= 2
