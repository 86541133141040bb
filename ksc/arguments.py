"""The arguments of a kernel call: bound to the parameters, flattened to leaves, and classified.

A leaf that varies from call to call, a tensor or a number, becomes a parameter of the program. What cannot vary, such
as None, a string or a function, is known when the program is traced and selects it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ksc.errors import ArgumentError
from ksc.frontend.annotations import TensorOf
from ksc.frontend.values import Abstract, Static, Struct, Value
from ksc.ir.types import Bool, Float, Integer, TensorType, Type
from ksc.mapping import Flags, InDims, entry, lane_axes
from ksc.torch.spec import Kind

TYPES: dict[Kind, Type] = {"float": Float, "int": Integer, "bool": Bool}
KINDS: dict[Type, Kind] = {type_: kind for kind, type_ in TYPES.items()}
NUMBER_DTYPES: dict[Kind, torch.dtype] = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}
_WIDENING: tuple[Kind, ...] = ("bool", "int", "float")


Template = Value | TensorOf | None
"""What an annotation says of a parameter: the value, only that it is a tensor, or nothing."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tensor or number of a call.

    Attributes:
        path: how a person names it, such as ``camera.focal``.
        kind: of its elements.
        value: the tensor or number.
        mapped: for each level of the mapping whether it is mapped there.
        order: its axes, the mapped ones first; () for a number or 0-d tensor.
        shared: no level maps it.
    """

    path: str
    kind: Kind
    value: Any
    mapped: Flags = ()
    order: tuple[int, ...] = ()
    shared: bool = False

    @property
    def rank(self) -> int:
        """How many dimensions it has in a lane."""
        return len(self.order) - sum(self.mapped)


def bind(signature: inspect.Signature, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments in the order of the parameters, defaults filled in. Raises ArgumentError where they do not fit."""
    unknown = [key for key in kwargs if key not in signature.parameters]
    if unknown:
        raise ArgumentError(f"{_written(name, signature)}: got an unexpected keyword argument {unknown[0]!r}")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentError(f"{_written(name, signature)}: {error}") from None
    bound.apply_defaults()
    return list(bound.arguments.values())


def _written(name: str, signature: inspect.Signature) -> str:
    # Annotations kept as text would show in quotes.
    return name + str(signature).replace("'", "")


def flatten(
    value: Any,
    template: Template,
    path: str,
    flat: list[Leaf],
    in_dims: tuple[InDims, ...] = (),
    *,
    scalars: bool = False,
) -> Value:
    """The abstract value of one argument, as a lane sees it; its leaves are appended to ``flat``.

    ``template`` is what the annotation says, ``in_dims`` what each level of the mapping says, ``scalars`` that every
    tensor is mapped over all its dimensions. Raises ArgumentError where the value does not fit, or has no place in a
    kernel.
    """
    if isinstance(value, torch.Tensor | bool | int | float):
        return _leaf(value, template, path, flat, in_dims, scalars)
    members = _members(value)
    if members is not None:
        count = len(members)
        parts = _templates(template, value, path, count)
        items = [
            flatten(
                member,
                parts[k],
                f"{path}.{name}",
                flat,
                tuple(entry(dims, k, count, path) for dims in in_dims),
                scalars=scalars,
            )
            for k, (name, member) in enumerate(members)
        ]
        return Struct(type(value), tuple(items), () if type(value) is tuple else tuple(name for name, _ in members))
    if value is None or isinstance(value, str) or callable(value):
        if template is None or (isinstance(template, Static) and template.value is value):
            return Static(value)
        wanted = _annotation(template)
        raise ArgumentError(
            f"argument {path!r} is annotated {wanted}, and {_shown(value)} was given",
            remedy="pass a tensor or a number",
        )
    raise ArgumentError(
        f"argument {path!r} is a {type(value).__name__}, which a kernel cannot take",
        remedy="pass tensors, numbers, tuples, namedtuples or dataclasses of these",
    )


def key(value: Value) -> Hashable:
    """What tells apart the abstract values that need programs of their own."""
    match value:
        case Abstract(type=type_, tensor=tensor, narrow=narrow):
            return type_, tensor, narrow
        case Struct(cls=cls, items=items, keys=keys):
            return cls, keys, tuple(key(item) for item in items)
        case Static(obj):
            return type(obj), obj
        case _:
            raise TypeError(f"{type(value).__name__} is no argument")


def abstract_leaves(value: Value, path: str = "") -> Iterator[tuple[str, Type]]:
    """The path and type of each leaf, depth first."""
    match value:
        case Abstract(type=type_):
            yield path, type_
        case Struct(items=items, keys=keys):
            for k, item in enumerate(items):
                yield from abstract_leaves(item, f"{path}.{keys[k] if keys else k}")


def rebuild(value: Value, leaves: Iterator[Any]) -> Any:
    """The Python value that an abstract one describes, its leaves taken in order."""
    match value:
        case Abstract():
            return next(leaves)
        case Static(obj):
            return obj
        case Struct(cls=cls, items=items, keys=keys):
            parts = [rebuild(item, leaves) for item in items]
            if cls is dict:
                return dict(zip(keys, parts, strict=True))
            return cls(**dict(zip(keys, parts, strict=True))) if keys else cls(parts)
        case _:
            raise TypeError(f"{type(value).__name__} is no result")


def map_leaves(value: Value, replace: Callable[[Abstract], Value]) -> Value:
    """The same structure with each leaf replaced."""
    match value:
        case Abstract():
            return replace(value)
        case Struct(items=items):
            return value.with_items(tuple(map_leaves(item, replace) for item in items))
        case _:
            return value


def _members(value: Any) -> list[tuple[str, Any]] | None:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple):
        return list(zip(getattr(value, "_fields", map(str, range(len(value)))), value, strict=True))
    return None


def _shown(value: Any) -> str:
    return repr(value) if value is None or isinstance(value, str) else f"a {type(value).__name__}"


def flatten_seeds(seeds: Iterable[Any]) -> list[Any]:
    """The leaves of seeds given in the structure of what they belong to; None stands for what is no float."""
    flat: list[Any] = []
    for seed in seeds:
        if isinstance(seed, tuple):
            flat += flatten_seeds(seed)
        elif dataclasses.is_dataclass(seed) and not isinstance(seed, type):
            flat += flatten_seeds(getattr(seed, field.name) for field in dataclasses.fields(seed))
        elif seed is not None:
            flat.append(seed)
    return flat


def element(type_: Type) -> Type:
    """The type of the elements of a tensor, or the scalar type itself."""
    return type_.elem if isinstance(type_, TensorType) else type_


def _leaf(
    value: Any, template: Template, path: str, flat: list[Leaf], in_dims: tuple[InDims, ...], scalars: bool
) -> Abstract:
    kind = _leaf_kind(value, template, path)
    dims: list[int | None] = []
    for dim in in_dims:
        if isinstance(dim, tuple):
            raise ArgumentError(f"in_dims names parts of argument {path!r}, which has none")
        dims.append(dim)
    shared = len(dims) > 0 and all(dim is None for dim in dims)
    rank = value.dim() if isinstance(value, torch.Tensor) else 0
    # A number is one for all lanes, as is a 0-d tensor.
    mapped, rest = lane_axes(dims if rank else [None] * len(dims), rank, path)
    flags = tuple(rank > 0 and dim is not None for dim in dims)
    flat.append(Leaf(path, kind, value, flags, (*mapped, *rest), shared))
    annotated = isinstance(template, TensorOf) or (isinstance(template, Abstract) and template.is_tensor)
    if scalars and annotated:
        raise ArgumentError(
            f"argument {path!r} is annotated as a tensor, and elementwise maps functions of numbers",
            remedy="annotate it float, or use vmap, which maps over a leading dimension",
        )
    narrow = value.dtype if isinstance(value, torch.Tensor) and kind == "int" and value.dtype != torch.int64 else None
    if scalars or (template is not None and not annotated):
        return Abstract(TYPES[kind], narrow=narrow)
    if annotated and not isinstance(value, torch.Tensor):
        raise ArgumentError(
            f"argument {path!r} is annotated as a tensor, and the {type(value).__name__} {value} was given",
            remedy=f"pass torch.tensor({value}), or annotate it {kind}",
        )
    sizes = [value.shape[axis] for axis in rest]
    known = tuple(1 if size == 1 else None for size in sizes)
    if isinstance(template, Abstract):
        known = _annotated_sizes(template, known, sizes, path)
    if not rest:
        return Abstract(TYPES[kind], tensor=annotated, narrow=narrow)
    return Abstract(TensorType(len(rest), TYPES[kind], known), narrow=narrow)


def _annotated_sizes(
    template: Abstract, known: tuple[int | None, ...], sizes: Sequence[Any], path: str
) -> tuple[int | None, ...]:
    wanted = template.type.sizes if isinstance(template.type, TensorType) else ()
    if len(wanted) != len(sizes) or any(w is not None and w != s for w, s in zip(wanted, sizes, strict=True)):
        # As a tuple prints, whose "any" has no quotes.
        shown = str(tuple("any" if size is None else size for size in wanted)).replace("'", "")
        raise ArgumentError(
            f"argument {path!r} is annotated as a tensor of sizes {shown}, and one of sizes {tuple(sizes)} was given"
        )
    return tuple(k if w is None else w for w, k in zip(wanted, known, strict=True))


def _annotation(template: Template) -> str:
    if isinstance(template, Abstract) and not template.is_tensor:
        return KINDS[template.type]
    return "torch.Tensor" if isinstance(template, TensorOf | Abstract) else "otherwise"


def _templates(template: Template, value: Any, path: str, count: int) -> Sequence[Template]:
    if template is None:
        return [None] * count
    if isinstance(template, Struct) and isinstance(value, template.cls) and len(template.items) == count:
        return template.items
    wanted = template.cls.__name__ if isinstance(template, Struct) else _noun(template)
    raise ArgumentError(f"argument {path!r} is annotated as a {wanted}, and a {type(value).__name__} was given")


def _noun(template: Template) -> str:
    return (
        "tensor"
        if isinstance(template, TensorOf) or (isinstance(template, Abstract) and template.is_tensor)
        else "number"
    )


def _leaf_kind(value: Any, template: Template, path: str) -> Kind:
    given = _kind_of(value, path)
    if template is None or isinstance(template, TensorOf):
        return given
    if not isinstance(template, Abstract) or element(template.type) not in KINDS:
        raise ArgumentError(f"argument {path!r} is a number or tensor, and its annotation says otherwise")
    wanted = KINDS[element(template.type)]
    # A Python number widens as in Python; a tensor's dtype is the user's choice and is not changed silently.
    widens = not isinstance(value, torch.Tensor) and _WIDENING.index(given) < _WIDENING.index(wanted)
    if wanted == given or widens:
        return wanted
    what = f"a tensor of {value.dtype}" if isinstance(value, torch.Tensor) else f"the {type(value).__name__} {value}"
    dtypes = {"float": "float32", "int": "int64", "bool": "bool"}
    if template.is_tensor:
        sizes = template.type.sizes if isinstance(template.type, TensorType) else ()
        shown = ", ".join("None" if size is None else str(size) for size in sizes) + ("," if len(sizes) == 1 else "")
        extra = "" if given == "float" else f", torch.{dtypes[given]}"
        raise ArgumentError(
            f"argument {path!r} is annotated as a tensor of {wanted} elements, and {what} was given",
            remedy=f"annotate it Annotated[torch.Tensor, ({shown}){extra}], or pass {path}.to(torch.{dtypes[wanted]})",
        )
    raise ArgumentError(
        f"argument {path!r} is annotated {wanted}, and {what} was given",
        remedy=f"convert it, for example with {path}.to(torch.{dtypes[wanted]})",
    )


def _kind_of(value: Any, path: str) -> Kind:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float) or value.dtype.is_floating_point:
        return "float"
    if value.dtype.is_complex:
        raise ArgumentError(
            f"argument {path!r} is a tensor of {value.dtype}; kernels compute with real numbers",
            remedy="pass x.real and x.imag as two arguments",
        )
    return "bool" if value.dtype == torch.bool else "int"
