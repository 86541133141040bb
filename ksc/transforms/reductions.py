"""Reductions that have no derivative rule of their own, as loops.

(reduce mul n (lam i e))   ⟶   (for n 1.0 (lam (i r) (mul r e)))

and where e is a tensor

                               t = (build n (lam i e))
(reduce mul n (lam i e))   ⟶   (build (size e) (lam j (for n 1.0 (lam (i r) (mul r (index i j t))))))

One that is read only by what has no derivative, as the largest element before ``exp`` is, stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ksc.errors import DifferentiationError
from ksc.ir.builder import Builder, stack_type
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, const, walk
from ksc.ir.types import Bool, Float, Integer, TensorType, Type, is_differentiable, is_scalar
from ksc.ops import PRIMITIVES
from ksc.ops.record import zero

_FLOAT_IDENTITY = {"add": 0.0, "mul": 1.0, "min": math.inf, "max": -math.inf}
_INTEGER_IDENTITY = {"add": 0, "mul": 1, "min": 2**63 - 1, "max": -(2**63)}


def lower_reductions(block: Block, keep: Callable[[Eqn], bool]) -> Block:
    """The body of a function with every ``reduce`` that has a derivative as a loop, but for those to ``keep``."""
    return _lowered(block, keep, _varying(block))


def _varying(body: Block) -> set[Var]:
    """The variables of a function that are read by something through which a derivative may flow."""
    found: set[Var] = set()
    for eqn in walk(body):
        if eqn.op in PRIMITIVES and eqn.outs[0].type == Float:
            partials = zip(eqn.args, PRIMITIVES[eqn.op].partials, strict=True)
            found.update(arg for arg, partial in partials if isinstance(arg, Var) and partial is not zero)
        elif eqn.op not in PRIMITIVES and eqn.op != "size":
            results = (result for block in eqn.blocks for result in block.results)
            found.update(atom for atom in (*eqn.args, *results) if isinstance(atom, Var))
    found.update(result for result in body.results if isinstance(result, Var))
    return found


def _lowered(block: Block, keep: Callable[[Eqn], bool], varying: set[Var]) -> Block:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        blocks = tuple(_lowered(inner, keep, varying) for inner in eqn.blocks)
        new = Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span)
        differentiated = any(is_differentiable(out.type) and out in varying for out in eqn.outs)
        if eqn.op != "reduce" or not differentiated or keep(new):
            eqns.append(new)
        elif any(isinstance(out.type, TensorType) for out in eqn.outs):
            eqns.extend(elementwise(new))
        else:
            eqns.append(as_loop(new))
    return Block(block.params, tuple(eqns), block.results, block.span)


def elementwise(eqn: Eqn) -> list[Eqn]:
    """A ``reduce`` of terms some of which are tensors, as a loop for each element over the terms of all iterations."""
    (body,) = eqn.blocks
    n = len(eqn.args)
    builder = Builder(eqn.span)
    types = [stack_type(n, out.type) for out in eqn.outs]
    names = [out.name for out in eqn.outs]
    terms = builder.emit("build", eqn.args, types, names=names, blocks=[body])
    for out, stacked in zip(eqn.outs, terms, strict=True):
        elem = out.type.elem if isinstance(out.type, TensorType) else out.type
        if not is_scalar(elem):
            raise DifferentiationError(f"a reduction of values of type {out.type} has no derivative", span=eqn.span)
        rank = out.type.rank if isinstance(out.type, TensorType) else 0
        dims = range(n, n + rank)
        sizes = [builder.emit("size", [stacked], [Integer], names=["n"], params={"dim": dim})[0] for dim in dims]
        indices = tuple(Var("i", Integer) for _ in eqn.args)
        at = tuple(Var("j", Integer) for _ in sizes)
        term = Builder(eqn.span)
        (value,) = term.emit("index", [stacked, *indices, *at], [elem], names=[out.name])
        total = Var(out.name, elem) if rank else out
        loop = as_loop(Eqn((total,), "reduce", eqn.args, eqn.params, (term.block(indices, [value]),), eqn.span))
        if rank:
            loop = Eqn((out,), "build", tuple(sizes), {}, (Block(at, (loop,), (total,)),), eqn.span)
        builder.eqns.append(loop)
    return builder.eqns


def as_loop(eqn: Eqn) -> Eqn:
    """A ``reduce`` of scalars as a nest of ``for`` loops in row-major order, one for each size."""
    (body,) = eqn.blocks
    monoid = eqn.params["monoid"]
    inits: list[Atom] = [_identity(monoid, out.type, eqn) for out in eqn.outs]
    depth = len(eqn.args)
    carries = [tuple(Var(out.name, out.type) for out in eqn.outs) for _ in range(depth)]
    innermost = Builder(eqn.span)
    innermost.eqns = list(body.eqns)
    results: list[Atom] = [
        innermost.apply(monoid, carry, term, name=carry.name)
        for carry, term in zip(carries[-1], body.results, strict=True)
    ]
    loop = eqn
    for level in reversed(range(depth)):
        starts = inits if level == 0 else list(carries[level - 1])
        outs = eqn.outs if level == 0 else tuple(Var(out.name, out.type) for out in eqn.outs)
        eqns = tuple(innermost.eqns) if level == depth - 1 else (loop,)
        block = Block((body.params[level], *carries[level]), eqns, tuple(results), body.span)
        params = {"carries": len(starts), "reverse": False}
        loop = Eqn(outs, "for", (eqn.args[level], *starts), params, (block,), eqn.span)
        results = list(outs)
    return loop


def _identity(monoid: str, type_: Type, eqn: Eqn) -> Const:
    if type_ == Bool:
        return const(monoid == "and")
    if type_ == Float:
        return const(_FLOAT_IDENTITY[monoid])
    if type_ == Integer:
        return const(_INTEGER_IDENTITY[monoid])
    raise DifferentiationError(f"a reduction by {monoid} of values of type {type_} has no derivative", span=eqn.span)
