"""Where tensors are made: in scratch memory, in the memory of a larger tensor, or where the caller wants the result.

Scratch memory of a loop's iteration is given back at its end, so a long loop needs no more than one iteration. What
outlives the iteration, a ``ks::tape``, ``ks::stack``, ``ks::folded`` or ``ks::carried``, sees to its own memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ksc.codegen.cpp.lanes import drop_idle_scratch
from ksc.codegen.cpp.printer import Context, Printer
from ksc.codegen.cpp.storage import holds_memory
from ksc.codegen.cpp.types import cpp_type, declaration
from ksc.ir.nodes import Atom, Block, Eqn, Var, const
from ksc.ir.rewrite import bound_in
from ksc.ir.types import TensorType, Type, is_scalar


@dataclass(frozen=True, slots=True)
class Size:
    """A size that is known where a tensor is made: its text, and its atom if there is one."""

    text: str
    atom: Atom | None = None


def allocate(p: Printer, eqn: Eqn, k: int, sizes: Sequence[str], at: Context) -> str:
    """Declare the tensor that is the k-th result of the equation, of uninitialised elements; its name."""
    out = eqn.outs[k]
    assert isinstance(out.type, TensorType)
    p.needs_runtime = True
    place = p.places.get((id(eqn), k))
    name = p.declare(out, at)
    head = declaration(out.type, name, p.width(out))
    if place is None:
        at.writer.statement(f"{head}(rt, {', '.join(sizes)});", eqn.span)
    elif isinstance(place, int):
        elem = cpp_type(out.type.elem, p.width(out))
        at.writer.statement(f"{head} = ks::result<{elem}>(rt, {place}, {', '.join(sizes)});", eqn.span)
    else:
        at.writer.statement(f"{head} = {place(sizes)};", eqn.span)
    return name


def element_sizes(p: Printer, eqn: Eqn, atom: Atom, within: frozenset[Var] = frozenset()) -> list[Size] | None:
    """The sizes of a tensor that a block of ``eqn`` gives, where they are known before the equation; else None.

    What is bound ``within`` an equation around is not known either.
    """
    assert isinstance(atom.type, TensorType)
    if all(size is not None for size in atom.type.sizes):
        return [Size(str(size), const(size or 0)) for size in atom.type.sizes]
    assert isinstance(atom, Var)
    inner = within | bound_in(eqn)
    if atom not in inner:
        text = p.value(atom).text
        return [Size(f"{text}.size[{k}]") for k in range(atom.type.rank)] if text.isidentifier() else None
    maker = next((e for e in eqn.blocks[-1].eqns if atom in e.outs), None)
    root = p.storage.root(atom)
    if root is not atom and root in inner:
        return element_sizes(p, eqn, root, within)
    if maker is None:
        return None
    if maker.op == "update" or (maker.op == "withacc" and atom in maker.outs[: len(maker.args)]):
        return element_sizes(p, eqn, maker.args[maker.outs.index(atom)], within)
    if maker.op in ("for", "while") and (id(maker), maker.outs.index(atom)) in p.storage.steady:
        first = len(maker.args) - int(maker.params["carries"])
        return element_sizes(p, eqn, maker.args[first + maker.outs.index(atom)], within)
    if maker.op == "for" and maker.outs.index(atom) >= maker.params["carries"]:
        return _stacked_sizes(p, maker, maker.outs.index(atom), inner)
    if maker.op == "reduce":
        (body,) = maker.blocks
        term = body.results[maker.outs.index(atom)]
        row = next((e for e in body.eqns if term in e.outs), None)
        if row is None or row.op != "build" or len(row.args) != atom.type.rank or not inner.isdisjoint(row.args):
            return None
        return element_sizes(p, maker, term, inner)
    if maker.op != "build" or any(size in inner for size in maker.args if isinstance(size, Var)):
        return None
    sizes = [Size(p.value(size).text, size) for size in maker.args]
    result = maker.blocks[0].results[maker.outs.index(atom)]
    if isinstance(result.type, TensorType) and not maker.params.get("nested", False):
        rest = element_sizes(p, maker, result, inner)
        return None if rest is None else sizes + rest
    return sizes


def _stacked_sizes(p: Printer, loop: Eqn, k: int, inner: frozenset[Var]) -> list[Size] | None:
    """The sizes of what a loop stacks, where they are known outside of the equation that it is in."""
    count, result = loop.args[0], loop.blocks[0].results[k]
    if count in inner or not p.in_range.is_size(count) or loop.params.get("nested", False):
        return None
    sizes = [Size(p.value(count).text, count)]
    if not isinstance(result.type, TensorType):
        return sizes
    rest = element_sizes(p, loop, result, inner)
    return None if rest is None else sizes + rest


def place_in(
    p: Printer, block: Block, atom: Atom, place: Callable[[Sequence[str]], str], *, sides: bool = False
) -> set[Var]:
    """Have what a block gives made at ``place`` at once, where a loop in it makes it.

    With ``sides`` it may be one on a side of the block's last ``if``. ``place`` gives the text for the place from those
    of the sizes. Gives the results, of the block or of a side, that are made there.
    """
    if not isinstance(atom, Var):
        return set()
    root = p.storage.root(atom)
    live = [eqn for eqn in block.eqns if p.analysis.is_live(eqn)]
    maker = next((eqn for eqn in live if root in eqn.outs), None)
    if maker is None or root in p.storage.frozen:
        return set()
    k = maker.outs.index(root)
    if sides and maker.op == "if" and maker is live[-1] and atom is root and not p.analysis.is_settled(maker):
        return set().union(*(place_in(p, side, side.results[k], place, sides=True) for side in maker.blocks))
    if maker.op not in ("build", "reduce") or (id(maker), k) in p.places:
        return set()
    if maker.op == "reduce" and element_sizes(p, maker, maker.blocks[0].results[k]) is None:
        return set()
    p.places[id(maker), k] = place
    return {atom}


def place_results(p: Printer, block: Block, results: Sequence[Atom]) -> None:
    """Have tensors that become the results of an entry made where the caller wants them."""
    pending = [(block, k, atom) for k, atom in enumerate(results)]
    while pending:
        around, k, atom = pending.pop()
        if not isinstance(atom, Var) or not isinstance(atom.type, TensorType) or not is_scalar(atom.type.elem):
            continue
        root = p.storage.root(atom)
        maker = next((e for e in around.eqns if root in e.outs and p.analysis.is_live(e)), None)
        if maker is None:
            continue
        n = maker.outs.index(root)
        if maker.op == "if":
            pending += [(side, k, side.results[n]) for side in maker.blocks]
        elif maker.op == "withacc" and n >= len(maker.args):
            (body,) = maker.blocks
            pending.append((body, k, body.results[n - len(maker.args)]))
        elif _is_made_once(p, maker, n) and (id(maker), n) not in p.places:
            p.places[id(maker), n] = k


def _is_made_once(p: Printer, eqn: Eqn, n: int) -> bool:
    match eqn.op:
        case "build" | "callback" | "reduce":
            return True
        case "for":
            return n >= int(eqn.params["carries"]) or (
                (id(eqn), n) in p.storage.steady and (id(eqn), n + 1) in p.storage.copied
            )
        case "while":
            return (id(eqn), n) in p.storage.steady and (id(eqn), n) in p.storage.copied
        case "update" | "withacc":
            return (id(eqn), n) in p.storage.copied
        case _:
            return False


# Scratch memory.


def winds_back(p: Printer, eqn: Eqn) -> bool:
    """Whether iterations of a loop need memory, of which nothing is needed after them."""
    *_, body = eqn.blocks
    kept = [result.type for result in body.results] + [param.type for param in body.params]
    if eqn.params.get("nested", False) and eqn.op != "reduce" and any(_is_tensor(result) for result in body.results):
        return False
    if any(refers(type_) for type_ in kept) or any(_stores_reference(inner) for inner in _inside(p, eqn)):
        return False
    return allocates_in(p, eqn)


def allocates_in(p: Printer, eqn: Eqn) -> bool:
    """Whether iterations of a loop need memory."""
    return any(_allocates(p, inner) for inner in _inside(p, eqn))


def open_scratch(p: Printer, at: Context) -> None:
    """Give back at the end of the iteration what it allocates."""
    p.needs_runtime = True
    at.writer.line(f"ks::scratch {at.scope.declare('scratch')}(rt);")


@contextmanager
def scratch(p: Printer, eqn: Eqn, at: Context) -> Iterator[None]:
    """Give back at the end of an iteration of a loop, printed meanwhile, what it allocates, if it does."""
    if not winds_back(p, eqn):
        yield
        return
    needed, opened = p.needs_runtime, len(at.writer.lines)
    open_scratch(p, at)
    yield
    if drop_idle_scratch(at.writer, opened):
        p.needs_runtime = needed


def is_carried(p: Printer, eqn: Eqn, k: int) -> bool:
    """Whether a carry is a tensor that iterations make in scratch memory, from which it has to be saved."""
    type_ = eqn.outs[k].type
    return isinstance(type_, TensorType) and (id(eqn), k) not in p.storage.steady and winds_back(p, eqn)


def _inside(p: Printer, eqn: Eqn) -> Iterator[Eqn]:
    for block in eqn.blocks:
        for inner in block.eqns:
            if p.analysis.is_live(inner):
                yield inner
                yield from _inside(p, inner)


def _allocates(p: Printer, eqn: Eqn) -> bool:
    match eqn.op:
        case "build":
            return not all(out in p.tables for out in eqn.outs)
        case "box":
            return True
        case "for" | "while":
            stacks = len(eqn.outs) > eqn.params["carries"]
            return stacks or any(key == id(eqn) for key, _ in p.storage.copied)
        case "reduce" | "callback":
            return any(isinstance(out.type, TensorType) for out in eqn.outs)
        case "call":
            return p.callees[eqn.params["callee"]].needs_runtime
        case _:
            return any(key == id(eqn) for key, _ in p.storage.copied)


def refers(type_: Type) -> bool:
    """Whether the elements of a value of the type refer to other memory."""
    return holds_memory(type_.elem) if isinstance(type_, TensorType) else holds_memory(type_)


def _is_tensor(atom: Atom) -> bool:
    return isinstance(atom.type, TensorType)


def _stores_reference(eqn: Eqn) -> bool:
    return eqn.op == "update" and isinstance(eqn.args[0].type, TensorType) and holds_memory(eqn.args[0].type.elem)
