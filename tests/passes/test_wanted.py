"""Of a table whose rows are dear, the rows that are read are computed, and the others fail where they failed."""

import numpy as np
import pytest

from ksc.errors import KernelRuntimeError
from ksc.ir import interpret as interpreter
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.wanted import compute_wanted_rows

TABLE = """(def f (Tensor 2 Float) ((x : (Tensor 1 Float)) (length : (Tensor 1 Integer)) (at : (Tensor 1 Integer)))
  (let ((n (size x)) (m (size at))
        ((rows sums) (build :nested false n (lam (j : Integer)
          (let ((k (index j length)) (() (require (lte k 4) "too long"))
                (s (for (i k) ((s (index j x))) (sin (add s (to_float i)))))
                ((row : (Tensor 1 Float 2)) (build 2 (lam (c : Integer) (mul s (to_float c))))))
            (values row s))))))
    {}))"""

READERS = {
    "build": """(build (tuple m 2) (lam ((i : Integer) (c : Integer))
      (let ((r (index i at)) (v (index (tuple r c) rows)) (w (index r sums))) (add v w))))""",
    "two rows": """(build (tuple m 2) (lam ((i : Integer) (c : Integer))
      (let ((r (index i at)) (q (max 0 (sub r 1))) (v (index (tuple r c) rows)) (w (index (tuple q 1) rows)))
        (add v w))))""",
    "for": """(for (i m) ((y (build (tuple m 2) (lam ((i : Integer) (c : Integer)) 0.0))))
      (let ((r (index i at))) (update (tuple i 1) y (index r sums))))""",
}
OTHER_READERS = {
    "given": "rows",
    "its own index": "(build (tuple n 2) (lam ((i : Integer) (c : Integer)) (index (tuple i c) rows)))",
    "a carried index": """(let (((y r) (for (i m) ((y (build (tuple m 2) (lam ((i : Integer) (c : Integer)) 0.0))) (r 0))
        (let ((q (index r at))) (values (update (tuple i 0) y (index q sums)) q))))) y)""",
    "an inner index": """(build (tuple m 2) (lam ((i : Integer) (c : Integer))
      (let ((r (index c at))) (index r sums))))""",
    "a loop that may be empty": """(let ((k (index 0 at))) (build (tuple m k) (lam ((i : Integer) (c : Integer))
      (let ((r (index i at))) (index r sums)))))""",
}

RNG = np.random.default_rng(0)
X = RNG.uniform(size=40)
LENGTH = RNG.integers(0, 5, size=40)


def loops(program, args, monkeypatch):
    """The results, and how many iterations inner loops had."""
    count = 0
    run = interpreter.STRUCTURED_OPS["for"]

    def counted(machine, eqn, values, env):
        nonlocal count
        count += int(values[0]) if eqn.outs and eqn.outs[0].name.startswith("s") else 0
        return (yield from run(machine, eqn, values, env))

    with monkeypatch.context() as patch:
        patch.setattr(interpreter, "STRUCTURED_OPS", {**interpreter.STRUCTURED_OPS, "for": counted})
        return interpret(program, args), count


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("at", [[], [3], [7, 0, 7, 39], list(range(40)) * 4])
def test_the_same_from_fewer_rows(reader, at, monkeypatch):
    program = parse(TABLE.format(READERS[reader]))
    lighter = compute_wanted_rows(program)
    verify(lighter)
    args = X, LENGTH, np.array(at, int)
    values, all_rows = loops(program, args, monkeypatch)
    given, some_rows = loops(lighter, args, monkeypatch)
    np.testing.assert_array_equal(given[0], values[0])
    assert all_rows == LENGTH.sum()
    read = set(at) | ({max(0, i - 1) for i in at} if reader == "two rows" else set())
    assert some_rows == sum(LENGTH[list(read)])


@pytest.mark.parametrize("reader", OTHER_READERS)
def test_other_readers_need_all_rows(reader):
    program = parse(TABLE.format(OTHER_READERS[reader]))
    assert compute_wanted_rows(program) is program


@pytest.mark.parametrize("length, at", [(LENGTH, [3, 40]), (LENGTH, [-1]), (LENGTH + 3, [int(np.argmin(LENGTH))])])
def test_what_fails_still_does(length, at):
    program = parse(TABLE.format(READERS["build"]))
    args = X, length, np.array(at)
    messages = []
    for each in (program, compute_wanted_rows(program)):
        with pytest.raises(KernelRuntimeError) as error:
            interpret(each, args)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_a_cheap_row_is_not_worth_a_mark():
    text = """(def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (at : (Tensor 1 Integer)))
      (let (t (build (size x) (lam (j : Integer) (exp (index j x)))))
        (build (size at) (lam (i : Integer) (index (index i at) t)))))"""
    program = parse(text)
    assert compute_wanted_rows(program) is program
    assert not any(eqn.op == "if" for eqn in walk(program.main.body))
