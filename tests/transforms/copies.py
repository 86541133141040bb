"""How many numbers a program copies when each tensor is changed in place at its last use."""

import numpy as np

from ksc.ir import interpret as interpreter
from ksc.ir.nodes import Var
from ksc.ir.rewrite import read_vars
from ksc.ir.types import TensorType


def copying(program):
    """The equations that have to copy a tensor before they change it, with the positions of those arguments."""
    found = {}

    def visit(block, owned, live):
        owned = {*owned, *(out for eqn in block.eqns for out in eqn.outs)}
        live = {*live, *(result for result in block.results if isinstance(result, Var))}
        for eqn in reversed(block.eqns):
            for inner in eqn.blocks:
                if eqn.op == "if":
                    visit(inner, owned - live, live)
                elif eqn.op == "withacc":
                    visit(inner, owned - live, live)
                else:
                    visit(inner, set(inner.params), set())
            match eqn.op:
                case "update":
                    changed = [0]
                case "withacc":
                    changed = list(range(len(eqn.args)))
                case "for" | "while":
                    body, n = eqn.blocks[-1], eqn.params["carries"]
                    first = len(eqn.args) - n
                    carries = body.params[len(body.params) - n :]
                    changed = [first + k for k in range(n) if body.results[k] is not carries[k]]
                case _:
                    changed = []
            copied = [
                k
                for k in changed
                if isinstance(eqn.args[k].type, TensorType)
                and (eqn.args[k] in live or eqn.args[k] not in owned or eqn.args.count(eqn.args[k]) > 1)
            ]
            if copied:
                found[eqn] = copied
            live.update(read_vars([eqn]))

    for function in program.functions.values():
        visit(function.body, set(), set())
    return found


def count_copies(program, args, monkeypatch):
    """The numbers copied, by equation, when the interpreter runs the program."""
    found = copying(program)
    counts = dict.fromkeys(found, 0)

    def note(eqn, values):
        counts[eqn] = counts.get(eqn, 0) + sum(np.size(values[k]) for k in found.get(eqn, ()))

    def plain(machine, eqn, values):
        note(eqn, values)
        return update(machine, eqn, values)

    def structured(run):
        def op(machine, eqn, values, env):
            note(eqn, values)
            return (yield from run(machine, eqn, values, env))

        return op

    update = interpreter.PLAIN_OPS["update"]
    ops = {op: structured(interpreter.STRUCTURED_OPS[op]) for op in ("for", "while", "withacc")}
    with monkeypatch.context() as patch:
        patch.setattr(interpreter, "PLAIN_OPS", {**interpreter.PLAIN_OPS, "update": plain})
        patch.setattr(interpreter, "STRUCTURED_OPS", {**interpreter.STRUCTURED_OPS, **ops})
        interpreter.interpret(program, args)
    return counts
