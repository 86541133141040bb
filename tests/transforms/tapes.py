"""How many numbers the loops of a program stack when it is run by the interpreter."""

from collections import defaultdict

import numpy as np

from ksc.ir import interpret as interpreter


def numbers(value):
    """How many numbers a value holds, boxes opened."""
    if isinstance(value, np.ndarray):
        return sum(map(numbers, value.ravel())) if value.dtype == object else value.size
    if isinstance(value, tuple):
        return sum(map(numbers, value))
    return 0 if value is None else 1


class Tapes:
    """What loops stacked: ``total`` numbers in all, ``peak`` if each loop keeps its last and largest stacks only."""

    def __init__(self):
        self.total = 0
        self.largest = defaultdict(int)

    @property
    def peak(self):
        return sum(self.largest.values())

    def count(self, eqn, values):
        stacked = sum(map(numbers, values[eqn.params["carries"] :]))
        self.total += stacked
        self.largest[eqn] = max(self.largest[eqn], stacked)


def run_counting(program, args, monkeypatch):
    """The results of the program, and what its loops stacked."""
    tapes = Tapes()

    def counting(run):
        def loop(machine, eqn, values, env):
            results = yield from run(machine, eqn, values, env)
            tapes.count(eqn, results)
            return results

        return loop

    ops = {op: counting(interpreter.STRUCTURED_OPS[op]) for op in ("for", "while")}
    with monkeypatch.context() as patch:
        patch.setattr(interpreter, "STRUCTURED_OPS", {**interpreter.STRUCTURED_OPS, **ops})
        results = interpreter.interpret(program, args)
    return results, tapes
