"""A loop that fills a tensor and adds up beside it is two loops.

    (for n 0.0 t0 (lam (j s t) (let (e (exp (index j x))) (tuple (add s e) (update j t e)))))
      ⟶      t = (build n (lam j (exp (index j x))))      s = (for n 0.0 (lam (j s) (add s (index j t))))

The first one is fused, and the other one is a reduction, where what is carried is only combined. Done where neither
needs what the other one carries, no more than one may stop the kernel, and the tensor is filled
(``ksc.passes.fuse.filled``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import (
    Env,
    clone_block,
    read_vars,
    replace,
    substitute_eqn,
    with_blocks,
    with_body,
    with_eqns,
    with_functions,
)
from ksc.ir.types import is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.combining import reduce_combining_loops, reduce_combining_loops_with_rules
from ksc.passes.fuse import fuse
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.filled import Filled, is_tensor_of_numbers
from ksc.passes.fuse.sizes import Place

_PURE = PRIMITIVES.keys() | {"index", "update", "size"}


def part_fills(program: Program) -> Program:
    """Part such loops, and fuse what can be fused now; the same program where there are none."""
    return _parted(program, reduce_combining_loops)


def part_fills_with_rules(program: Program) -> Program:
    """The same for a program that will be differentiated."""
    return _parted(program, reduce_combining_loops_with_rules)


def _parted(program: Program, combine: Callable[[Program], Program]) -> Program:
    parted = with_functions(program, _function)
    return program if parted is program else fuse(combine(parted))


def _function(function: Function) -> Function:
    if not any(eqn.op == "for" and _fills(eqn) for eqn in walk(function.body)):
        return function
    facts, top = Facts.of(function)
    return with_body(function, _block(function.body, top, facts))


def _block(block: Block, place: Place, facts: Facts) -> Block:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        parts = _parts(eqn, place, facts) if eqn.op == "for" and _fills(eqn) else None
        eqns += parts or [with_blocks(eqn, [_block(inner, Place(eqn, place), facts) for inner in eqn.blocks])]
    return with_eqns(block, eqns)


def _fills(loop: Eqn) -> Sequence[int]:
    """Which carries of a loop that does nothing else may be tensors that it fills, if there are others beside them."""
    (body,) = loop.blocks
    carried = range(len(loop.args) - 1)
    fills = [k for k in carried if is_tensor_of_numbers(loop.args[k + 1])]
    plain = loop.params["carries"] == len(loop.outs) and loop.params.get("checkpoint", 1) == 1
    plain = plain and all(is_scalar(loop.args[k + 1].type) for k in carried if k not in fills)
    return fills if plain and len(fills) < len(carried) and all(eqn.op in _PURE for eqn in body.eqns) else ()


def _parts(loop: Eqn, place: Place, facts: Facts) -> list[Eqn] | None:
    """The tensors that a loop fills, and the loop with what else it carries."""
    fills = _fills(loop)
    body = _with_stored_values(loop.blocks[0])
    loop = with_blocks(loop, [body])
    others = [k for k in range(len(loop.outs)) if k not in fills]
    filling = _part(loop, body.eqns, fills)
    built = None if filling is None else Filled(facts).built(_copy(filling))
    if filling is None or built is None:
        return None
    made = {out: eqn for eqn in body.eqns for out in eqn.outs}
    stored: dict[Var, Eqn] = {}
    for k in fills:
        result = body.results[k]
        update = made.get(result) if isinstance(result, Var) else None
        if update is not None and update.op == "update" and update.args[:2] == (body.params[k + 1], body.params[0]):
            value = update.args[-1]
            if len(update.args) == 3 and isinstance(value, Var) and value in made and is_scalar(value.type):
                stored[value] = Eqn((value,), "index", (loop.outs[k], body.params[0]), span=update.span)
    rest = _part(loop, [stored.get(eqn.outs[0], eqn) for eqn in body.eqns], others)
    if rest is None:
        return None
    first = filling.blocks[0].eqns
    second = [eqn for eqn in rest.blocks[0].eqns if eqn not in first and eqn not in stored.values()]
    inside = Place(loop, place)
    if all(any(fails(eqn, inside, facts) for eqn in part) for part in (first, second)):
        return None
    return [built, _copy(rest)]


def _with_stored_values(body: Block) -> Block:
    """The body with what is read where it was just stored as the value that was."""
    env: Env = {}
    eqns: list[Eqn] = []
    updates: dict[Atom, Eqn] = {}
    for eqn in body.eqns:
        new = substitute_eqn(eqn, env)
        update = updates.get(new.args[0]) if new.op == "index" else None
        if update is not None and update.args[1:-1] == new.args[1:]:
            env[new.outs[0]] = update.args[-1]
            continue
        if new.op == "update":
            updates[new.outs[0]] = new
        eqns.append(new)
    return Block(body.params, tuple(eqns), tuple(replace(result, env) for result in body.results), body.span)


def _part(loop: Eqn, eqns: Sequence[Eqn], carries: Sequence[int]) -> Eqn | None:
    """The loop with some of its carries, if it needs no other one for them."""
    (body,) = loop.blocks
    params = (body.params[0], *(body.params[k + 1] for k in carries))
    block = prune_block(Block(params, tuple(eqns), tuple(body.results[k] for k in carries), body.span), ())
    if not read_vars(block.eqns, block.results).keys().isdisjoint({*body.params} - {*params}):
        return None
    args = (loop.args[0], *(loop.args[k + 1] for k in carries))
    outs = tuple(loop.outs[k] for k in carries)
    return Eqn(outs, "for", args, {**loop.params, "carries": len(carries)}, (block,), loop.span)


def _copy(loop: Eqn) -> Eqn:
    return with_blocks(loop, [clone_block(loop.blocks[0], {})])
