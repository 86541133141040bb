"""Stores instead of accumulations where each iteration adds to an element of its own.

    zeros = (build n (lam i 0.0))
    x_bar = (withacc zeros (lam x_bar            ⟶      x_bar = (build n (lam i (mul a (index i y_bar))))
      (build n (lam i (acc_add x_bar i (mul a (index i y_bar)))))))

So the reverse of an elementwise loop is an elementwise loop.
"""

from __future__ import annotations

from ksc.ir.builder import stack_type
from ksc.ir.nodes import Block, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import assemble, read_vars


def turn_accumulations_into_stores(program: Program) -> Program:
    """Replace what can be, in all blocks."""
    functions = {
        name: Function(name, _block(function.body, {}), function.span) for name, function in program.functions.items()
    }
    return assemble(functions, program.entry, program.boxes, renew=False)


def _block(block: Block, zeros: dict[Var, Eqn]) -> Block:
    eqns = []
    for eqn in block.eqns:
        blocks = tuple(_block(inner, zeros) for inner in eqn.blocks)
        new = Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span)
        if eqn.op == "build" and not blocks[0].eqns and blocks[0].results == (const(0.0),):
            zeros[eqn.outs[0]] = new
        eqns.append(_stored(new, zeros) if eqn.op == "withacc" else new)
    return Block(block.params, tuple(eqns), block.results)


def _stored(eqn: Eqn, zeros: dict[Var, Eqn]) -> Eqn:
    (body,) = eqn.blocks
    n = len(eqn.args)
    reads = read_vars(body.eqns)
    eqns = list(body.eqns)
    accs, tensors = [], []
    for k, (param, init) in enumerate(zip(body.params, eqn.args, strict=True)):
        start = zeros.get(init) if isinstance(init, Var) else None
        tensor = _store(eqns, param, start) if start is not None and reads.get(param) == 1 else None
        if tensor is None:
            accs.append(k)
        else:
            tensors.append((k, tensor))
    params = tuple(body.params[k] for k in accs)
    block = Block(params, tuple(eqns), (*(tensor for _, tensor in tensors), *body.results))
    outs = (*(eqn.outs[k] for k in accs), *(eqn.outs[k] for k, _ in tensors), *eqn.outs[n:])
    return Eqn(outs, "withacc", tuple(eqn.args[k] for k in accs), eqn.params, (block,), eqn.span)


def _store(eqns: list[Eqn], acc: Var, start: Eqn) -> Var | None:
    """Give what is added to ``acc`` as a result of the ``build`` among ``eqns`` that adds it, if there is one."""
    for position, loop in enumerate(eqns):
        if loop.op != "build" or loop.args != start.args:
            continue
        (body,) = loop.blocks
        for k, add in enumerate(body.eqns):
            if add.op == "acc_add" and add.args[0] is acc and add.args[1:-1] == body.params:
                value = add.args[-1]
                block = Block(body.params, body.eqns[:k] + body.eqns[k + 1 :], (*body.results, value))
                tensor = Var(acc.name, stack_type(len(body.params), value.type))
                outs = (*loop.outs, tensor)
                eqns[position] = Eqn(outs, "build", loop.args, loop.params, (block,), loop.span)
                return tensor
    return None
