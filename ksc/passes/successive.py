"""Accumulators that several loops add to, one after the other, the first of them to every element.

    x_bar = (withacc zeros (lam x_bar                     a = (withacc zeros (lam x_bar
      (build n (lam i (acc_add x_bar i (f i))))             (build n (lam i (acc_add x_bar i (f i))))))
      s = (reduce add n …)                        ⟶       s = (reduce add n …)
      (build n (lam i (acc_add x_bar i (mul s (g i)))))))  x_bar = (withacc a (lam x_bar
                                                            (build n (lam i (acc_add x_bar i (mul s (g i)))))))

Each addition to all elements is a store then (``ksc.passes.stores``), and the stores are fused: nothing is filled with
zeros, or read to be added to. Where all that is done in a loop over rows, at the row of its iteration, that row is the
iteration's own, and a result of the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ksc.ir.builder import Builder, stack_type
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import (
    clone_block,
    read_vars,
    substitute_eqn,
    with_blocks,
    with_body,
    with_eqns,
    with_functions,
    without_effects,
)
from ksc.ir.types import AccType, Float, Integer, TensorType
from ksc.passes.cost import work
from ksc.passes.fuse.cost import SPLIT


def split_accumulations(program: Program) -> Program:
    """Do so in all functions; the same program where there is nothing to do."""
    return with_functions(program, split_function)


def split_function(function: Function) -> Function:
    """Do so in one function; the same one where there is nothing to do."""
    return with_body(function, _block(function.body, {}))


def _block(block: Block, zeros: Mapping[Var, Sequence[Atom]]) -> Block:
    zeros = dict(zeros)
    eqns = []
    for eqn in block.eqns:
        new = with_blocks(eqn, [_block(inner, zeros) for inner in eqn.blocks])
        if new.op == "withacc":
            new = _split(new, zeros)
        elif new.op == "build" and not new.blocks[0].eqns and new.blocks[0].results == (const(0.0),):
            zeros[new.outs[0]] = new.args
        eqns.append(new)
    return with_eqns(block, eqns)


def _split(eqn: Eqn, zeros: Mapping[Var, Sequence[Atom]]) -> Eqn:
    """The ``withacc`` without the accumulators that can be tensors between what adds to them."""
    (body,) = eqn.blocks
    reads = read_vars(body.eqns)
    kept, gone = [], []
    eqns: Sequence[Eqn] = body.eqns
    for k, (acc, init) in enumerate(zip(body.params, eqn.args, strict=True)):
        split = None
        if isinstance(init, Var) and init in zeros and reads.get(acc, 0) > 1:
            split = _successive(eqns, acc, init, zeros[init])
        if split is None:
            kept.append(k)
        else:
            eqns, final = split
            gone.append((k, final))
    if not gone:
        return eqn
    block = Block(
        tuple(body.params[k] for k in kept), tuple(eqns), (*(final for _, final in gone), *body.results), body.span
    )
    outs = (*(eqn.outs[k] for k in kept), *(eqn.outs[k] for k, _ in gone), *eqn.outs[len(eqn.args) :])
    return Eqn(outs, "withacc", tuple(eqn.args[k] for k in kept), eqn.params, (block,), eqn.span)


def _successive(eqns: Sequence[Eqn], acc: Var, init: Var, sizes: Sequence[Atom]) -> tuple[list[Eqn], Var] | None:
    """The equations with a tensor in the place of an accumulator of zeros after each one that adds to it, and the last
    of these tensors; None where the first does not add to all elements."""
    adding = [eqn for eqn in eqns if acc in read_vars([eqn])]
    if len(adding) == 1:
        return _by_rows(eqns, adding[0], acc, sizes)
    if not _covers(adding[0], acc, sizes, ()):
        return None
    result: list[Eqn] = []
    value = init
    for eqn in eqns:
        if eqn not in adding:
            result.append(eqn)
            continue
        after = Var(acc.name, init.type)
        apart = _apart(eqn, acc, after, None if value is init else value) if _covers(eqn, acc, sizes, ()) else None
        if apart is not None:
            result += apart
        else:
            result.append(_added(eqn, acc, value, after))
        value = after
    return result, value


def _added(eqn: Eqn, acc: Var, before: Var, after: Var) -> Eqn:
    """What an equation adds to an accumulator added to the tensor ``before``, which gives ``after``."""
    own = Var(acc.name, acc.type)
    inner = tuple(Var(out.name, out.type) for out in eqn.outs)
    adding = substitute_eqn(Eqn(inner, eqn.op, eqn.args, eqn.params, eqn.blocks, eqn.span), {acc: own})
    block = Block((own,), (adding,), inner, eqn.span)
    return Eqn((after, *eqn.outs), "withacc", (before,), {}, (block,), eqn.span)


def _apart(loop: Eqn, acc: Var, after: Var, before: Var | None) -> list[Eqn] | None:
    """A loop that adds an element in each iteration as a loop for what else it does, and one that gives ``after``.

    That are the elements, added to those of ``before`` if there are any; None where they cost too much to do apart.
    """
    (body,) = loop.blocks
    add = next((eqn for eqn in body.eqns if eqn.op == "acc_add" and eqn.args[0] is acc), None)
    if add is None:
        return None
    rest = tuple(eqn for eqn in body.eqns if eqn is not add)
    needed = prune_block(Block(body.params, tuple(without_effects(rest)), add.args[-1:], body.span), ())
    left = [eqn for eqn in rest if not eqn.outs or eqn.blocks or eqn.op == "call"]
    if (body.results or left) and work(needed) > SPLIT:
        return None
    copy = clone_block(needed, {})
    if before is not None:
        builder = Builder(add.span)
        builder.eqns = list(copy.eqns)
        (old,) = builder.emit("index", [before, *copy.params], [Float], names=[acc.name])
        copy = builder.block(copy.params, [builder.apply("add", old, *copy.results)], body.span)
    made = Eqn((after,), "build", loop.args, loop.params, (copy,), loop.span)
    if not body.results and not left:
        return [made]
    block = Block(body.params, rest, body.results, body.span)
    return [Eqn(loop.outs, "build", loop.args, loop.params, (block,), loop.span), made]


def _by_rows(eqns: Sequence[Eqn], loop: Eqn, acc: Var, sizes: Sequence[Atom]) -> tuple[list[Eqn], Var] | None:
    """The equations with the rows of an accumulator as results of the one loop that adds to it, at its own index."""
    rank = len(loop.args)
    if loop.op != "build" or loop.params.get("nested") or loop.args != tuple(sizes[:rank]) or rank == len(sizes):
        return None
    (body,) = loop.blocks
    adding = [eqn for eqn in body.eqns if acc in read_vars([eqn])]
    if not all(_adds_at(eqn, acc, body.params, ()) for eqn in adding):
        return None
    row = TensorType(len(sizes) - rank, Float)
    own, start = Var(acc.name, AccType(row)), Var(acc.name, row)
    indices = tuple(Var("i", Integer) for _ in sizes[rank:])
    zeros = Eqn((start,), "build", tuple(sizes[rank:]), {}, (Block(indices, (), (const(0.0),)),), loop.span)
    split = _successive([_to_row(eqn, acc, own, rank) for eqn in body.eqns], own, start, sizes[rank:])
    if split is None:
        return None
    made, final = split
    tensor = Var(acc.name, stack_type(rank, final.type))
    block = Block(body.params, (zeros, *made), (*body.results, final), body.span)
    new = Eqn((*loop.outs, tensor), "build", loop.args, loop.params, (block,), loop.span)
    return [new if eqn is loop else eqn for eqn in eqns], tensor


def _adds_at(eqn: Eqn, acc: Var, index: Sequence[Var], inside: Sequence[Var]) -> bool:
    """Whether all that an equation adds to an accumulator is added at these leading indices and, beyond them, at those
    of loops ``inside``: an index that may be out of range is told by the dimension of the whole."""
    if eqn.op == "acc_add" and eqn.args[0] is acc:
        rest = eqn.args[1 + len(index) : -1]
        return eqn.args[1 : 1 + len(index)] == tuple(index) and bool(rest) and all(at in inside for at in rest)
    if acc in eqn.args:
        return False
    loops = [param for block in eqn.blocks for param in block.params if eqn.op in ("build", "reduce", "for")]
    return all(_adds_at(inner, acc, index, (*inside, *loops)) for block in eqn.blocks for inner in block.eqns)


def _to_row(eqn: Eqn, acc: Var, row: Var, rank: int) -> Eqn:
    """The equation with what it adds to the row of an accumulator added to an accumulator of that row."""
    if eqn.op == "acc_add" and eqn.args[0] is acc:
        return Eqn((), "acc_add", (row, *eqn.args[1 + rank :]), eqn.params, (), eqn.span)
    blocks = tuple(
        Block(block.params, tuple(_to_row(inner, acc, row, rank) for inner in block.eqns), block.results, block.span)
        for block in eqn.blocks
    )
    return Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span) if blocks else eqn


def _covers(eqn: Eqn, acc: Var, sizes: Sequence[Atom], at: Sequence[Var]) -> bool:
    """Whether an equation adds to each element once: loops of these sizes, with an addition at their index."""
    rank = len(eqn.args)
    if eqn.op != "build" or eqn.args != tuple(sizes[:rank]) or eqn.params.get("nested"):
        return False
    (body,) = eqn.blocks
    if read_vars(body.eqns).get(acc) != 1:
        return False
    place = (*at, *body.params)
    if rank < len(sizes):
        return any(_covers(inner, acc, sizes[rank:], place) for inner in body.eqns)
    return any(eqn.op == "acc_add" and eqn.args[:-1] == (acc, *place) for eqn in body.eqns)
