"""What loops keep of every iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ksc.codegen.cpp.expr import Expr
from ksc.codegen.cpp.memory import allocate, element_sizes
from ksc.codegen.cpp.printer import Context, Printer
from ksc.codegen.cpp.types import cpp_type
from ksc.codegen.cpp.writer import line_of
from ksc.ir.nodes import Atom, Const, Eqn, Var
from ksc.ir.types import TensorType

Form = Literal["elements", "parts", "stack", "tape"]


@dataclass(frozen=True, slots=True)
class Stack:
    """The tensor that holds one result of all iterations.

    Its ``form`` says how it takes them: by element, as a part of a tensor whose sizes are known beforehand, as a part
    of one whose sizes the first iteration decides, or at the end of one that grows.
    """

    name: str
    form: Form
    out: Var

    @property
    def in_parts(self) -> bool:
        """Whether the place of each iteration's tensor is known beforehand."""
        return self.form == "parts"

    def put(self, p: Printer, eqn: Eqn, atom: Atom, indices: str, at: Context) -> None:
        """Keep what an iteration gives, at ``indices``: ``(i, j)``, or ``[k]`` in the order of memory."""
        together = p.walk is not None and p.walk.together
        if p.walk is not None and self.form in ("elements", "tape"):
            p.walk.write("keeps what each iteration gives", eqn.span)
        value = p.value(atom)
        line = line_of(eqn.span)
        if p.packing is not None and p.packing.loop is eqn:
            self._put_rows(p, eqn, atom, at)
            return
        if self.form in ("stack", "tape") and not is_flat(atom, eqn):
            value = p.fitting(atom, self.out)
        match self.form:
            case "elements":
                text = f"{self.name}{indices} = {value.text};"
                if together:
                    text = f"ks::store(rt, {self.name}{indices}, {value.text});"
                    p.needs_runtime = True
            case "parts":
                p.needs_runtime = True
                text = f"ks::put(rt, {self.name}.part{indices}, {value.text}, {line});"
            case "stack":
                text = f"{self.name}.put({value.text}, {line}, {indices[1:-1]});"
            case "tape":
                flat = is_flat(atom, eqn)
                text = f"{self.name}.push({value.text});" if flat else f"{self.name}.push({value.text}, {line});"
        at.writer.statement(text, value.span or p.given_at or eqn.span, value.folded)

    def _put_rows(self, p: Printer, eqn: Eqn, atom: Atom, at: Context) -> None:
        """Keep what iterations give that run side by side."""
        value = p.value(atom)
        assert p.packing is not None
        where = f"{self.name}, {p.value(p.packing.index).text}, {p.packing.count}"
        text = f"ks::put_rows({where}, {value.text});"
        if isinstance(atom.type, TensorType):
            p.needs_runtime = True
            text = f"ks::put_rows(rt, {where}, {value.text}, {line_of(eqn.span)});"
        elif isinstance(atom, Const) or not p.varies(atom):
            text = f"ks::put_rows({where}, {cpp_type(atom.type, p.float_type)}({value.text}));"
        at.writer.statement(text, value.span or p.given_at or eqn.span, value.folded)


def is_flat(element: Atom, eqn: Eqn) -> bool:
    """Whether each element is stored as it is, rather than as further dimensions of the tensor."""
    return not isinstance(element.type, TensorType) or bool(eqn.params.get("nested", False))


def stack(p: Printer, eqn: Eqn, k: int, sizes: Sequence[Expr], element: Atom, at: Context) -> Stack:
    """Declare the tensor for the k-th result of a loop whose counts are ``sizes``."""
    out = eqn.outs[k]
    leading = [size.text for size in sizes]
    counts = eqn.args[: len(sizes)]
    # A loop whose count is negative does nothing; a tensor of a negative size is an error.
    clipped = eqn.op == "for" and not p.in_range.is_size(counts[0])
    if is_flat(element, eqn):
        name = allocate(p, eqn, k, leading, at)
        p.in_range.tensor(out, counts, clipped=clipped)
        return Stack(name, "elements", out)
    assert isinstance(element.type, TensorType)
    inner = element_sizes(p, eqn, element)
    if inner is not None:
        name = allocate(p, eqn, k, leading + [size.text for size in inner], at)
        clipped = clipped or not all(size.atom is None or p.in_range.is_size(size.atom) for size in inner)
        p.in_range.tensor(out, [*counts, *(size.atom for size in inner)], clipped=clipped)
        return Stack(name, "parts", out)
    name = p.declare(out, at)
    p.needs_runtime = True
    elem = cpp_type(element.type.elem, p.width(out))
    head = f"ks::stack<{elem}, {len(sizes)}, {element.type.rank}> {name}"
    at.writer.statement(f"{head}(rt, {', '.join(leading)});", eqn.span)
    p.in_range.tensor(out, counts, clipped=clipped)
    return Stack(name, "stack", out)


def place_stacked(p: Printer, eqn: Eqn, stacks: Sequence[Stack | None], index: str) -> set[int]:
    """Have what a loop stacks, and nothing else reads, made where it is kept; which of the ``stacks`` those are."""
    (body,) = eqn.blocks
    if p.packing is not None or p.walk is not None:
        return set()
    placed = set()
    for n, (kept, atom) in enumerate(zip(stacks, body.results[eqn.params["carries"] :], strict=True)):
        if kept is None or not kept.in_parts or not isinstance(atom, Var) or p.analysis.single_use(atom) is None:
            continue
        maker = next((inner for inner in body.eqns if atom in inner.outs), None)
        if maker is None:
            continue
        k = maker.outs.index(atom)
        place = f"{kept.name}.part({index})"
        stacked = maker.op == "for" and k >= maker.params["carries"]
        if stacked or (maker.op == "build" and (id(maker), k) not in p.places):
            p.places[id(maker), k] = partial(_there, place)
            placed.add(n)
    return placed


def _there(place: str, _: Sequence[str]) -> str:
    return place


def tape(p: Printer, eqn: Eqn, k: int, element: Atom, counts: Sequence[Atom], at: Context) -> Stack:
    """Declare the tensor for the k-th result of a ``while``; ``counts`` holds its trip count if that is known."""
    out = eqn.outs[k]
    assert isinstance(out, Var) and isinstance(out.type, TensorType)
    name = p.declare(out, at)
    p.needs_runtime = True
    elem = cpp_type(out.type.elem, p.width(out))
    extra = "" if is_flat(element, eqn) else f", {out.type.rank - 1}"
    at.writer.line(f"ks::tape<{elem}{extra}> {name}(rt);", eqn.span)
    p.in_range.tensor(out, counts)
    return Stack(name, "tape", out)
