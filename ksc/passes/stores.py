"""Stores instead of accumulations where each iteration adds to an element of its own.

    zeros = (build n (lam i 0.0))
    x_bar = (withacc zeros (lam x_bar            ⟶      x_bar = (build n (lam i (mul a (index i y_bar))))
      (build n (lam i (acc_add x_bar i (mul a (index i y_bar)))))))

So the reverse of an elementwise loop is an elementwise loop. The loops may be nested, and what is added to may be
another tensor that was built, which is then read where the sum is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ksc.ir.builder import stack_type
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import assemble, read_vars
from ksc.ir.types import Float
from ksc.passes.cost import work


def turn_accumulations_into_stores(program: Program) -> Program:
    """Replace what can be, in all blocks."""
    functions = {name: store_elements(function) for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def store_elements(function: Function) -> Function:
    """Do so in one function."""
    uses = read_vars(function.body.eqns, function.body.results)
    return Function(function.name, _block(function.body, {}, uses), function.span)


SHARED = 8
"""The cost up to which elements that are made beside others are computed apart, where they are added to."""


@dataclass(frozen=True, slots=True)
class _Start:
    """What an accumulator holds at first: a tensor of these sizes, None standing for zeros."""

    tensor: Var | None
    sizes: tuple[Atom, ...]


def _block(block: Block, built: dict[Var, tuple[Eqn, int]], uses: Mapping[Var, int]) -> Block:
    eqns = []
    for eqn in block.eqns:
        blocks = tuple(_block(inner, built, uses) for inner in eqn.blocks)
        new = Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span)
        if new.op == "withacc":
            new = _stored(new, built, uses)
        # A withacc without accumulators stands for its body, where its results are built.
        made = new.blocks[0].eqns if new.op == "withacc" and not new.args else (new,)
        built.update((out, (one, k)) for one in made if one.op == "build" for k, out in enumerate(one.outs))
        if new.op == "withacc" and not new.args:
            images = dict(zip(new.blocks[0].results, new.outs, strict=True))
            built.update((out, built[var]) for var, out in images.items() if isinstance(var, Var) and var in built)
        eqns.append(new)
    return Block(block.params, tuple(eqns), block.results, block.span)


def _start(init: Atom, built: Mapping[Var, tuple[Eqn, int]], uses: Mapping[Var, int]) -> _Start | None:
    """The start of an accumulator that a store can take the place of.

    A tensor that is read elsewhere, or whose loop has an effect, is there anyhow and is added to where it is.
    """
    if not isinstance(init, Var) or init not in built:
        return None
    eqn, k = built[init]
    (body,) = eqn.blocks
    if len(eqn.outs) == 1 and not body.eqns and body.results == (const(0.0),):
        return _Start(None, eqn.args)
    value = body.results[k]
    pure = not any(not inner.outs or inner.blocks or inner.op == "call" for inner in body.eqns)
    moves = (
        uses.get(init) == 1
        and pure
        and (len(eqn.outs) == 1 or work(prune_block(Block(body.params, body.eqns, (value,), body.span), ())) <= SHARED)
    )
    return _Start(init, eqn.args) if moves and value.type == Float else None


def _stored(eqn: Eqn, built: Mapping[Var, tuple[Eqn, int]], uses: Mapping[Var, int]) -> Eqn:
    (body,) = eqn.blocks
    n = len(eqn.args)
    reads = read_vars(body.eqns)
    eqns = list(body.eqns)
    accs, tensors = [], []
    for k, (param, init) in enumerate(zip(body.params, eqn.args, strict=True)):
        start = _start(init, built, uses)
        tensor = _store(eqns, param, start, start.sizes, ()) if start is not None and reads.get(param) == 1 else None
        if tensor is None:
            accs.append(k)
        else:
            tensors.append((k, tensor))
    params = tuple(body.params[k] for k in accs)
    block = Block(params, tuple(eqns), (*(tensor for _, tensor in tensors), *body.results), body.span)
    outs = (*(eqn.outs[k] for k in accs), *(eqn.outs[k] for k, _ in tensors), *eqn.outs[n:])
    return Eqn(outs, "withacc", tuple(eqn.args[k] for k in accs), eqn.params, (block,), eqn.span)


def _store(eqns: list[Eqn], acc: Var, start: _Start, sizes: Sequence[Atom], at: Sequence[Var]) -> Var | None:
    """Give what is added to ``acc`` as a result of the ``build`` among ``eqns`` that adds it, if there is one.

    ``at`` are the indices of the loops around, ``sizes`` those of the dimensions that are left.
    """
    for position, loop in enumerate(eqns):
        rank = len(loop.args)
        if loop.op != "build" or loop.args != tuple(sizes[:rank]) or loop.params.get("nested"):
            continue
        (body,) = loop.blocks
        place = (*at, *body.params)
        inner = list(body.eqns)
        value: Atom | None
        value = (
            _store(inner, acc, start, sizes[rank:], place) if rank < len(sizes) else _taken(inner, acc, start, place)
        )
        if value is None:
            continue
        tensor = Var(acc.name, stack_type(rank, value.type))
        block = Block(body.params, tuple(inner), (*body.results, value), body.span)
        eqns[position] = Eqn((*loop.outs, tensor), "build", loop.args, loop.params, (block,), loop.span)
        return tensor
    return None


def _taken(eqns: list[Eqn], acc: Var, start: _Start, at: Sequence[Var]) -> Atom | None:
    """Take the addition to ``acc`` at the indices ``at`` out of ``eqns``; the value of the element after it."""
    for k, add in enumerate(eqns):
        if add.op == "acc_add" and add.args[0] is acc and add.args[1:-1] == tuple(at):
            value = add.args[-1]
            if start.tensor is None:
                eqns[k : k + 1] = []
                return value
            before, after = Var(acc.name, Float), Var(acc.name, Float)
            read = Eqn((before,), "index", (start.tensor, *at), span=add.span)
            eqns[k : k + 1] = [read, Eqn((after,), "add", (before, value), span=add.span)]
            return after
    return None
