"""``vjp`` and ``jvp`` inside a kernel: of kernels, as ``kernel.vjp(x, y_bar)``, and the function forms.

The call of the kernel becomes a function of its own, whatever it maps and derives, and that is differentiated.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from ksc.errors import DifferentiationError
from ksc.frontend.derived import derive_call
from ksc.frontend.join import abstract_leaves, atoms_for, generalise, rebuild, template_of
from ksc.frontend.special import Directional, traced_by
from ksc.frontend.tensors.array import same_size, size_of
from ksc.frontend.values import (
    NONE,
    Abstract,
    Array,
    Partial,
    Ref,
    Static,
    Struct,
    Value,
    describe,
    is_none,
    leaves,
    map_leaves,
    scalar_type,
)
from ksc.ir.nodes import PLACEHOLDER, Atom, Program
from ksc.ir.types import Float, TensorType, is_differentiable

if TYPE_CHECKING:
    from ksc.frontend.frame import Frame

Kind = Literal["vjp", "jvp"]


def call_directional(
    frame: Frame, of: Directional, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST
) -> Value:
    """``kernel.vjp(*args, *cotangents)`` or ``kernel.jvp(*args, *tangents)``."""
    if kwargs:
        frame.refuse(node, f"{of.kind}() with arguments by name", "pass them by position", code="KS204")
    count = len(inspect.signature(of.kernel.__wrapped__).parameters)  # type: ignore[attr-defined]
    if len(args) < count:
        reason = f"{of.kind}() of a function of {count} is given {len(args)} arguments"
        frame.refuse(node, reason, "pass all arguments, then the seeds", code="KS204")
    _, derivative = directional(frame, of.kind, Static(of.kernel), args[:count], args[count:], node)
    if of.kind == "vjp" and count == 1:
        assert isinstance(derivative, Struct)
        return derivative.items[0]
    return derivative


def trace_jvp(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    """``knossos.jvp(f, primals, tangents)``."""
    function, primals, tangents = _bound(frame, "jvp", ("f", "primals", "tangents"), args, kwargs, node)
    given = _sequence(frame, primals, node), _sequence(frame, tangents, node)
    return Struct(tuple, directional(frame, "jvp", function, *given, node))


def trace_hvp(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    """``knossos.hvp(f, primals, tangents)``: the jvp of the gradient by all arguments that hold floats."""
    from ksc.frontend.calls import python_constant
    from ksc.functional import grad

    function, primals, tangents = _bound(frame, "hvp", ("f", "primals", "tangents"), args, kwargs, node)
    given = _sequence(frame, primals, node)
    moving = tuple(k for k, value in enumerate(given) if any(True for _ in _floats(value)))
    gradient = grad(python_constant(frame, function, node), moving)  # type: ignore[arg-type]
    seeds = _sequence(frame, tangents, node)
    _, products = directional(frame, "jvp", Static(gradient), given, seeds, node)
    assert isinstance(products, Struct)
    parts = iter(products.items)
    found = tuple(next(parts) if k in moving else NONE for k in range(len(given)))
    return found[0] if len(found) == 1 else Struct(tuple, found)


def trace_vjp(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    """``knossos.vjp(f, *primals)``: the results, and a function of cotangents."""
    from ksc.frontend.calls import call

    if kwargs or not args:
        frame.refuse(node, "vjp() with arguments by name", "pass the function, then its arguments", code="KS204")
    function, *primals = args
    value = call(frame, function, primals, {}, node)
    return Struct(tuple, (value, Partial(Static(_pullback), (function, Struct(tuple, tuple(primals))), {})))


def _pull_back(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    function, primals, *cotangents = args
    if kwargs:
        frame.refuse(node, "a pullback with arguments by name", "pass the cotangents by position", code="KS204")
    _, bars = directional(frame, "vjp", function, _sequence(frame, primals, node), cotangents, node)
    return bars


@traced_by(_pull_back)
def _pullback() -> None:
    """Stands for what ``vjp`` gives besides the results; a call is traced."""


def _bound(
    frame: Frame,
    name: str,
    names: Sequence[str],
    args: Sequence[Value],
    kwargs: Mapping[str, Value],
    node: ast.AST,
) -> list[Value]:
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if len(args) + len(kwargs) != len(names) or set(given) != set(names):
        frame.refuse(node, f"{name}() takes ({', '.join(names)})", "pass these arguments", code="KS204")
    return [given[key] for key in names]


def _sequence(frame: Frame, value: Value, node: ast.AST) -> tuple[Value, ...]:
    if not (isinstance(value, Struct) and value.cls in (tuple, list)):
        frame.refuse(node, f"{describe(value)} stands where a tuple is needed", "pass a tuple", code="KS200")
    return value.items


def directional(
    frame: Frame, kind: str, callee: Value, args: Sequence[Value], seeds: Sequence[Value], node: ast.AST
) -> tuple[Value, Value]:
    """The results of ``callee``, and what its transposed Jacobian, or its Jacobian, makes of ``seeds``.

    That has the structure of the arguments, a tuple of these, or that of the results, None where there is no float.
    Raises TypeMismatchError (KS204, KS208) for seeds that do not fit.
    """
    templates = tuple(generalise(template_of(value)) for value in args)

    def step(program: Program, params: Sequence[Value], result: Value) -> tuple[Program, Value]:
        from ksc.passes import prepare
        from ksc.transforms import jvp, vjp

        own = [leaf for template in templates for leaf in abstract_leaves(template)]
        moving = [k for k, leaf in enumerate(own) if is_differentiable(leaf.type)]
        derived = (vjp if kind == "vjp" else jvp)(prepare(program), wrt=moving, with_value=True)
        like = Struct(tuple, templates) if kind == "vjp" else result
        return derived, Struct(tuple, (result, map_leaves(_derivative, like, "")))

    try:
        lifted, entry = derive_call(frame, callee, templates, [step], _title(callee), node)
    except DifferentiationError as error:
        error.span = error.span or frame.span(node)
        raise
    assert isinstance(entry.result, Struct)
    atoms = [atom for template, value in zip(templates, args, strict=True)
             for atom in atoms_for(frame, template, value, node)]  # fmt: skip
    atoms += lifted.atoms(frame, node)
    like = entry.result.items[0] if kind == "vjp" else Struct(tuple, templates)
    wanted = [leaf for leaf in abstract_leaves(like) if is_differentiable(leaf.type)]
    given = [leaf for seed in seeds for leaf in leaves(seed) if not is_none(leaf)]
    if len(given) != len(wanted):
        what = "cotangent" if kind == "vjp" else "tangent"
        frame.refuse(
            node, f"{len(wanted)} {what}(s) are needed, and {len(given)} are given", "give one each", code="KS204"
        )
    for leaf, seed in zip(wanted, given, strict=True):
        atoms.append(_seed(frame, leaf, seed, node))
    types = [leaf.type for leaf in abstract_leaves(entry.result)]
    outs = frame.emit(node, "call", atoms, types, params={"callee": entry.name}, names=[PLACEHOLDER] * len(types))
    made = rebuild(entry.result, iter(outs))
    assert isinstance(made, Struct)
    value, derivative = made.items
    owners = list(_floats(value)) if kind == "vjp" else [own for arg in args for own in _floats(arg)]
    for owner, seed in zip(owners, given, strict=True):
        _require_sizes(frame, owner, seed, node)
    return value, derivative


def _title(callee: Value) -> str:
    return str(getattr(callee.value, "__name__", "f")) if isinstance(callee, Static) else "f"


def _derivative(leaf: Value, name: str) -> Value:
    return leaf if isinstance(leaf, Abstract) and is_differentiable(leaf.type) else NONE


def _floats(value: Value) -> Iterator[Value]:
    """The leaves that carry a derivative: those that the template of the value is abstract and Float in."""
    for leaf in leaves(value):
        elem = leaf.elem if isinstance(leaf, Ref | Array) else scalar_type(leaf)
        if elem == Float:
            yield leaf


def _seed(frame: Frame, leaf: Abstract, seed: Value, node: ast.AST) -> Atom:
    rank = leaf.type.rank if isinstance(leaf.type, TensorType) else 0
    own = seed.rank if isinstance(seed, Ref | Array) else 0 if scalar_type(seed) is not None else None
    if own != rank or (isinstance(seed, Ref | Array) and rank and seed.elem != Float):
        frame.refuse(
            node, f"{describe(seed)} stands for the derivative of {describe(leaf)}", "use one like it", code="KS208"
        )
    (atom,) = atoms_for(frame, leaf, seed, node)
    return atom


def _require_sizes(frame: Frame, owner: Value, seed: Value, node: ast.AST) -> None:
    if isinstance(owner, Ref | Array) and isinstance(seed, Ref | Array):
        for dim in range(owner.rank):
            same_size(frame, node, size_of(frame, node, owner, dim), size_of(frame, node, seed, dim))
