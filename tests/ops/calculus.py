"""Derivatives of straight-line code, read directly from the records: the smallest forward and reverse mode there is."""

from collections.abc import Sequence

from ksc.ir.builder import Builder, Expr
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var
from ksc.ir.types import Float, Type
from ksc.ops import PRIMITIVES, Primitive, primitive
from ksc.ops.record import Value


def application(record: Primitive, types: Sequence[Type]) -> Block:
    """The block that applies a record to its parameters."""
    builder = Builder()
    params = [Var(f"a{k}", type_) for k, type_ in enumerate(types)]
    result = builder.apply(record.name, *params)
    return builder.block(params, [result])


def _sum(terms: Sequence[Expr | None]) -> Expr | None:
    present = [term for term in terms if term is not None]
    return sum(present[1:], present[0]) if present else None


def _atom(value: Expr | None) -> Atom:
    return Const(0.0, Float) if value is None else value.atom


def tangent(block: Block, wrt: int) -> Block:
    """The derivative of the block's only result with respect to one parameter, as a block of the same parameters."""
    builder = Builder()
    builder.eqns.extend(block.eqns)
    assert all(eqn.op in PRIMITIVES for eqn in block.eqns)
    tangents: dict[Var, Expr | None] = {block.params[wrt]: Expr(builder, Const(1.0, Float))}
    for eqn in block.eqns:
        args = [Expr(builder, arg) for arg in eqn.args]
        terms = []
        for k, arg in enumerate(eqn.args):
            incoming = tangents.get(arg) if isinstance(arg, Var) else None
            if incoming is not None and eqn.outs[0].type == Float:
                terms.append(primitive(eqn.op).apply_partial(k, args, Expr(builder, eqn.outs[0]), incoming))
        tangents[eqn.outs[0]] = _sum(terms)
    (result,) = block.results
    return builder.block(block.params, [_atom(tangents.get(result) if isinstance(result, Var) else None)])


def gradient(block: Block) -> Block:
    """The derivatives with respect to all Float parameters by reverse accumulation."""
    builder = Builder()
    builder.eqns.extend(block.eqns)
    bars: dict[Var, list[Expr | None]] = {}
    (result,) = block.results
    if isinstance(result, Var):
        bars[result] = [Expr(builder, Const(1.0, Float))]
    for eqn in reversed(block.eqns):
        incoming = _sum(bars.get(eqn.outs[0], []))
        if incoming is None:
            continue
        args = [Expr(builder, arg) for arg in eqn.args]
        for k, arg in enumerate(eqn.args):
            if isinstance(arg, Var) and arg.type == Float:
                term = primitive(eqn.op).apply_partial(k, args, Expr(builder, eqn.outs[0]), incoming)
                bars.setdefault(arg, []).append(term)
    floats = [param for param in block.params if param.type == Float]
    return builder.block(block.params, [_atom(_sum(bars.get(param, []))) for param in floats])


def run(block: Block, args: Sequence[Value]) -> tuple[Value, ...]:
    """The block's results for these arguments, from the reference interpreter."""
    return interpret(Program({"f": Function("f", block)}, "f"), args)


def path_taken(block: Block, args: Sequence[Value]) -> Block:
    """The straight-line code that these arguments run through: every ``if`` replaced by the side that is taken."""
    eqns: list[Eqn] = []
    renamed: dict[Var, Atom] = {}

    def resolved(atom: Atom) -> Atom:
        return renamed.get(atom, atom) if isinstance(atom, Var) else atom

    def inline(inner: Block) -> list[Atom]:
        for eqn in inner.eqns:
            atoms = tuple(resolved(arg) for arg in eqn.args)
            if eqn.op == "if":
                (holds,) = run(Block(block.params, tuple(eqns), (atoms[0],)), args)
                results = inline(eqn.blocks[0 if holds else 1])
                renamed.update(zip(eqn.outs, results, strict=True))
            else:
                eqns.append(Eqn(eqn.outs, eqn.op, atoms, eqn.params, eqn.blocks, eqn.span))
        return [resolved(atom) for atom in inner.results]

    results = inline(block)
    return Block(block.params, tuple(eqns), tuple(results))
