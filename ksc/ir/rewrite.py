"""What transforms and passes share: copying with fresh variables, free variables, effects, the call graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, walk
from ksc.ir.types import BoxType, TensorType, TupleType, Type

Env = dict[Var, Atom]
OnEqn = Callable[[Eqn, Eqn], None]

OWN_EFFECTS = frozenset({"assert", "print"})
"""The ops with an effect that is seen outside of any accumulator."""


def replace(atom: Atom, env: Mapping[Var, Atom]) -> Atom:
    """The atom that ``env`` puts in the place of this one."""
    return env.get(atom, atom) if isinstance(atom, Var) else atom


def fresh(var: Var, env: Env) -> Var:
    """A new variable with the name and type of ``var``, entered in ``env``; one that is there already is kept."""
    known = env.get(var)
    if isinstance(known, Var):
        return known
    new = Var(var.name, var.type)
    env[var] = new
    return new


def clone_eqn(eqn: Eqn, env: Env, on_eqn: OnEqn | None = None) -> Eqn:
    """A copy of an equation that binds new variables and reads what ``env`` says; ``env`` learns the new names.

    A variable that ``env`` maps already keeps that image, also where the equation binds it.
    """
    args = tuple(replace(arg, env) for arg in eqn.args)
    blocks = tuple(clone_block(block, env, on_eqn) for block in eqn.blocks)
    new = Eqn(tuple(fresh(out, env) for out in eqn.outs), eqn.op, args, eqn.params, blocks, eqn.span)
    if on_eqn is not None:
        on_eqn(eqn, new)
    return new


def clone_block(block: Block, env: Env, on_eqn: OnEqn | None = None) -> Block:
    """A copy of a block, see ``clone_eqn``."""
    params = tuple(fresh(param, env) for param in block.params)
    eqns = tuple(clone_eqn(eqn, env, on_eqn) for eqn in block.eqns)
    return Block(params, eqns, tuple(replace(result, env) for result in block.results), block.span)


def clone_function(function: Function, name: str | None = None) -> Function:
    """A copy of a function that shares no variable with it."""
    return Function(name or function.name, clone_block(function.body, {}), function.span)


def substitute_eqn(eqn: Eqn, env: Mapping[Var, Atom]) -> Eqn:
    """The same equation, reading other atoms; what it binds keeps its identity."""
    if not env:
        return eqn
    args = tuple(replace(arg, env) for arg in eqn.args)
    blocks = tuple(substitute_block(block, env) for block in eqn.blocks)
    return Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span)


def substitute_block(block: Block, env: Mapping[Var, Atom]) -> Block:
    """The same block, reading other atoms."""
    eqns = tuple(substitute_eqn(eqn, env) for eqn in block.eqns)
    return Block(block.params, eqns, tuple(replace(result, env) for result in block.results), block.span)


def bound_vars(block: Block) -> set[Var]:
    """Every variable that the block or a block inside it binds."""
    bound = set(block.params)
    for eqn in walk(block):
        bound.update(eqn.outs)
        for inner in eqn.blocks:
            bound.update(inner.params)
    return bound


def bound_in(eqn: Eqn) -> set[Var]:
    """Every variable that the blocks of an equation bind."""
    return set[Var]().union(*map(bound_vars, eqn.blocks))


def read_vars(eqns: Iterable[Eqn], results: Sequence[Atom] = ()) -> dict[Var, int]:
    """How often each variable is read, in order of first reading, blocks inside included."""
    counts: dict[Var, int] = {}

    def read(atoms: Iterable[Atom]) -> None:
        for atom in atoms:
            if isinstance(atom, Var):
                counts[atom] = counts.get(atom, 0) + 1

    def visit(eqn: Eqn) -> None:
        read(eqn.args)
        for block in eqn.blocks:
            for inner in block.eqns:
                visit(inner)
            read(block.results)

    for eqn in eqns:
        visit(eqn)
    read(results)
    return counts


def free_vars(block: Block) -> list[Var]:
    """The variables that a block reads and does not bind, in order of first reading."""
    bound = bound_vars(block)
    return [var for var in read_vars(block.eqns, block.results) if var not in bound]


def free_in(*eqns: Eqn) -> list[Var]:
    """The variables that equations read and do not bind, in order of first reading."""
    return free_vars(Block((), eqns, ()))


def callees(function: Function) -> dict[str, None]:
    """The names of the functions called, or given as derivatives of one that is called, in order of first call."""
    calls = [eqn.params for eqn in walk(function.body) if eqn.op == "call"]
    return {params[role]: None for params in calls for role in ("callee", "rev", "fwd") if role in params}


def rename_functions(program: Program, names: Mapping[str, str]) -> Program:
    """The program with its functions called by other names; ``names`` has one for each."""

    def rename_eqn(eqn: Eqn) -> Eqn:
        params = eqn.params
        if eqn.op == "call":
            renamed = {role: names[params[role]] for role in ("callee", "rev", "fwd") if role in params}
            params = {**params, **renamed}
        return Eqn(eqn.outs, eqn.op, eqn.args, params, tuple(map(rename_block, eqn.blocks)), eqn.span)

    def rename_block(block: Block) -> Block:
        return Block(block.params, tuple(map(rename_eqn, block.eqns)), block.results, block.span)

    functions = {
        names[name]: Function(names[name], rename_block(function.body), function.span)
        for name, function in program.functions.items()
    }
    return Program(functions, names[program.entry], program.boxes)


def recursive_functions(functions: Mapping[str, Function]) -> frozenset[str]:
    """The functions that may call themselves, directly or through others."""
    reach = {name: set(callees(function)) for name, function in functions.items()}
    changed = True
    while changed:
        changed = False
        for calls in reach.values():
            more = set().union(*(reach.get(name, ()) for name in calls)) - calls
            if more:
                calls |= more
                changed = True
    return frozenset(name for name, calls in reach.items() if name in calls)


def effectful_functions(functions: Mapping[str, Function]) -> frozenset[str]:
    """The functions that assert or print, or add to an accumulator of their caller, directly or through others."""
    found: set[str] = set()
    changed = True
    while changed:
        changed = False
        for name, function in functions.items():
            if name not in found and _leaks(function.body, found):
                found.add(name)
                changed = True
    return frozenset(found)


def _leaks(body: Block, effectful: Collection[str]) -> bool:
    accs: list[Atom] = []
    for eqn in walk(body):
        if eqn.op in OWN_EFFECTS or (eqn.op == "call" and eqn.params["callee"] in effectful):
            return True
        if eqn.op == "acc_add":
            accs.append(eqn.args[0])
    return bool(accs) and not (bound_vars(body) - set(body.params)).issuperset(accs)


def without_effects(eqns: Iterable[Eqn]) -> list[Eqn]:
    """The equations without asserts, prints and additions to accumulators opened outside of them.

    For code that is run a second time for its values only.
    """
    return _without_effects(eqns, set())


def _without_effects(eqns: Iterable[Eqn], accs: set[Atom]) -> list[Eqn]:
    kept = []
    for eqn in eqns:
        if eqn.op in OWN_EFFECTS or (eqn.op == "acc_add" and eqn.args[0] not in accs):
            continue
        if eqn.blocks:
            if eqn.op == "withacc":
                accs.update(eqn.blocks[0].params)
            blocks = tuple(
                Block(b.params, tuple(_without_effects(b.eqns, accs)), b.results, b.span) for b in eqn.blocks
            )
            kept.append(Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span))
        else:
            kept.append(eqn)
    return kept


def with_blocks(eqn: Eqn, blocks: Sequence[Block]) -> Eqn:
    """The equation with other blocks; itself where all are the ones that it has."""
    if all(new is old for new, old in zip(blocks, eqn.blocks, strict=True)):
        return eqn
    return Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, tuple(blocks), eqn.span)


def with_eqns(block: Block, eqns: Sequence[Eqn]) -> Block:
    """The block with other equations; itself where all are the ones that it has."""
    if len(eqns) == len(block.eqns) and all(new is old for new, old in zip(eqns, block.eqns, strict=True)):
        return block
    return Block(block.params, tuple(eqns), block.results, block.span)


def with_body(function: Function, body: Block) -> Function:
    """The function with another body; itself where it is the one that it has."""
    return function if body is function.body else Function(function.name, body, function.span)


def with_functions(program: Program, change: Callable[[Function], Function]) -> Program:
    """The program with each function changed; itself where ``change`` gives all of them back."""
    functions = {name: change(function) for name, function in program.functions.items()}
    if all(functions[name] is function for name, function in program.functions.items()):
        return program
    return assemble(functions, program.entry, program.boxes, renew=False)


def assemble(
    functions: Mapping[str, Function], entry: str, boxes: Mapping[str, tuple[Type, ...]], *, renew: bool = True
) -> Program:
    """A program of what the entry reaches: callees before callers, and boxes in use only.

    Every function is copied, as two of them may have variables in common, unless ``renew`` says that it need not be.
    """
    order: dict[str, Function] = {}
    seen: set[str] = set()
    pending: list[tuple[str, bool]] = [(entry, False)]
    while pending:
        name, done = pending.pop()
        if done:
            order[name] = clone_function(functions[name]) if renew else functions[name]
        elif name not in seen:
            seen.add(name)
            pending.append((name, True))
            pending.extend((callee, False) for callee in reversed(callees(functions[name])) if callee not in seen)
    used: dict[str, None] = {}
    for function in order.values() if boxes else ():
        for type_ in _types(function.body):
            _mark_boxes(type_, boxes, used)
    return Program(order, entry, {name: boxes[name] for name in boxes if name in used})


def _types(block: Block) -> Iterable[Type]:
    for var in block.params:
        yield var.type
    for eqn in walk(block):
        for var in eqn.outs:
            yield var.type
        for inner in eqn.blocks:
            for var in inner.params:
                yield var.type
        for arg in eqn.args:
            if isinstance(arg, Const):
                yield arg.type
    for result in block.results:
        yield result.type


def _mark_boxes(type_: Type, boxes: Mapping[str, tuple[Type, ...]], used: dict[str, None]) -> None:
    match type_:
        case BoxType(name=name):
            if name not in used:
                used[name] = None
                for part in boxes[name]:
                    _mark_boxes(part, boxes, used)
        case TensorType(elem=elem):
            _mark_boxes(elem, boxes, used)
        case TupleType(elems=elems):
            for elem in elems:
                _mark_boxes(elem, boxes, used)
        case _:
            return


def unique_name(name: str, taken: Collection[str]) -> str:
    """``name``, with a number behind it where it is taken."""
    candidate, k = name, 2
    while candidate in taken:
        candidate, k = f"{name}${k}", k + 1
    return candidate
