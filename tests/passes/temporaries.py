"""Which tensors a program makes that it does not give as results."""

from ksc.ir.nodes import Block, Eqn, Var
from ksc.ir.types import TensorType

MAKERS = {"build", "for", "while", "call", "reduce"}


def temporaries(program):
    """The tensors made and not handed out, one for each equation that makes one, over all functions."""
    found = []
    for function in program.functions.values():
        placed = set()
        _place(function.body, function.body.results, placed)
        found += [out for out in _made(function.body) if out not in placed]
    return found


def _place(block: Block, results, placed):
    """Mark what becomes part of a result: made in its memory, or changed in place there."""
    placed.update(r for r in results if isinstance(r, Var))
    for eqn in reversed(block.eqns):
        n = _carries(eqn)
        match eqn.op:
            case "update" if eqn.outs[0] in placed:
                placed.add(eqn.args[0])
            case "withacc":
                placed.update(arg for arg, out in zip(eqn.args, eqn.outs, strict=False) if out in placed)
            case "for" | "while":
                inits = eqn.args[len(eqn.args) - n :]
                placed.update(arg for arg, out in zip(inits, eqn.outs, strict=False) if out in placed)
        for inner in eqn.blocks:
            if eqn.op in ("build", "for", "while"):
                # An element that is a tensor is made in its part of the whole, a carry in the place of the last one.
                _place(inner, inner.results, placed)
            elif eqn.op == "if":
                _place(inner, [r for r, out in zip(inner.results, eqn.outs, strict=True) if out in placed], placed)
            elif eqn.op == "withacc":
                outs = eqn.outs[len(eqn.args) :]
                _place(inner, [r for r, out in zip(inner.results, outs, strict=True) if out in placed], placed)
            else:
                _place(inner, (), placed)


def _carries(eqn: Eqn) -> int:
    return eqn.params.get("carries", 0)


def _made(block: Block):
    for eqn in block.eqns:
        if eqn.op in MAKERS:
            yield from (out for out in eqn.outs[_carries(eqn) :] if isinstance(out.type, TensorType))
        for inner in eqn.blocks:
            yield from _made(inner)
