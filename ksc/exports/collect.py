"""From what a caller wants exported to the programs of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ksc.arguments import NUMBER_DTYPES, Leaf, abstract_leaves, bind, flatten, map_leaves
from ksc.errors import ArgumentError, UnsupportedError
from ksc.exports.model import SUFFIXES, ExportedKernel, Library
from ksc.exports.signature import steps
from ksc.frontend.values import Abstract, Static, Struct, Value
from ksc.ir.types import TensorType
from ksc.kernel import Kernel
from ksc.mapping import permuted
from ksc.specialise import Lanes, Specialisation

Kernels = Any
"""A kernel, a list of them, or a mapping from the names that they are exported by."""


def collect(
    kernels: Kernels,
    *,
    name: str | None,
    example_inputs: Any,
    dtypes: Iterable[torch.dtype],
    derivations: Sequence[str] | None,
    static_sizes: bool,
    maps: bool = False,
) -> Library:
    """The library of these kernels; see ``ksc.exports.export``. With ``maps``, the vmap of a kernel is a derivation.

    Raises ArgumentError, UnsupportedError.
    """
    named = _named(kernels)
    inputs = _inputs(named, kernels, example_inputs)
    wanted = tuple(dict.fromkeys(dtypes))
    for dtype in wanted:
        if dtype not in SUFFIXES:
            raise ArgumentError(f"{dtype} is no dtype of kernels", remedy="float32, float64, float16 or bfloat16")
    if not wanted:
        raise ArgumentError("no dtype is exported", remedy="leave dtypes out for float32")
    found = tuple(
        _exported(as_name, kernel, inputs[as_name], wanted, derivations, static_sizes, maps)
        for as_name, kernel in named.items()
    )
    return Library(identifier_or_refuse(name or found[0].name, "library"), found)


def identifier_or_refuse(name: str, what: str) -> str:
    """``name``, where it is an identifier in C too. Raises ArgumentError."""
    if re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name) is None:
        raise ArgumentError(
            f"{name!r} cannot be the name of an exported {what}",
            remedy="use letters, digits and single underscores, beginning with a letter",
        )
    return name


def _named(kernels: Kernels) -> dict[str, Kernel]:
    if isinstance(kernels, Mapping):
        named = {str(name): _kernel(kernel) for name, kernel in kernels.items()}
    else:
        several = kernels if isinstance(kernels, list | tuple) else [kernels]
        found = [_kernel(kernel) for kernel in several]
        names = list(map(_usual_name, found))
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ArgumentError(
                f"two of the kernels are called {twice[0]}",
                remedy=f'give names: export({{"{twice[0]}": …, "{twice[0]}2": …}}, …)',
            )
        named = dict(zip((_plain(name) for name in names), found, strict=True))
    if not named:
        raise ArgumentError("no kernel is exported")
    return {identifier_or_refuse(name, "kernel"): kernel for name, kernel in named.items()}


def _usual_name(kernel: Kernel) -> str:
    return "_".join((kernel.__name__, *(step.name.replace(" ", "_") for step in kernel.steps)))


def _plain(name: str) -> str:
    """A Python name without what C keeps for itself: underscores at its ends and in pairs."""
    return re.sub("__+", "_", name.strip("_")) if name.isidentifier() and name.isascii() else "kernel"


def _kernel(kernel: Any) -> Kernel:
    derived = getattr(kernel, "__knossos_kernel__", None)
    found = derived() if derived is not None else kernel
    if not isinstance(found, Kernel):
        raise ArgumentError(
            f"{found!r} is not a kernel",
            remedy="export what register, vmap or elementwise gives; the vjp and the jvp of a kernel go with it",
        )
    return found


def _inputs(named: Mapping[str, Kernel], kernels: Kernels, given: Any) -> dict[str, tuple[Any, ...] | None]:
    """The example call of each kernel."""
    if given is None:
        return dict.fromkeys(named)
    if isinstance(kernels, Mapping) or isinstance(given, Mapping):
        if not isinstance(given, Mapping) or not set(given) <= set(named):
            raise ArgumentError(
                "example_inputs do not fit the kernels", remedy=f"give a dict with keys among {', '.join(named)}"
            )
        return {name: tuple(given[name]) if given.get(name) is not None else None for name in named}
    several = list(given) if isinstance(kernels, list | tuple) else [given]
    if len(several) != len(named):
        raise ArgumentError(f"example_inputs are given for {len(several)} kernels, and there are {len(named)}")
    return {name: None if one is None else tuple(one) for name, one in zip(named, several, strict=True)}


def _exported(
    name: str,
    kernel: Kernel,
    inputs: tuple[Any, ...] | None,
    dtypes: tuple[torch.dtype, ...],
    derivations: Sequence[str] | None,
    static_sizes: bool,
    maps: bool,
) -> ExportedKernel:
    if inputs is None:
        special, flat, orders = _any_sizes(kernel), None, None
    else:
        special, found = _like(kernel, inputs, static_sizes)
        flat, orders = tuple(map(_as_tensor, found)), tuple(leaf.order for leaf in found)
    if special.calls_back:
        raise UnsupportedError(
            f"{name} calls back into Python, which is not there where an exported kernel runs",
            remedy="write what the callback does in the kernel, or leave it to the caller",
            span=special.spec.span,
        )
    wanted = special.usual if derivations is None else tuple(dict.fromkeys(("", *derivations)))
    for derivation in wanted:
        letters = [letter for letter, _, _ in steps(special.spec, derivation)]
        if "m" in letters and not (maps and special.takes_tensors):
            raise ArgumentError(
                f"the vmap of {name} is no derivation here", remedy="export knossos.vmap(kernel) instead"
            )
    return ExportedKernel(name, kernel, special, wanted, dtypes, flat, orders)


def _like(kernel: Kernel, inputs: tuple[Any, ...], static_sizes: bool) -> tuple[Specialisation, list[Leaf]]:
    """The program for arguments like these, and these."""
    interface = kernel._interface
    values = bind(interface.signature, kernel.__name__, inputs, {})
    flat: list[Leaf] = []
    in_dims = kernel.mapping.in_dims(len(values))
    params = [
        flatten(value, template, name, flat, dims, scalars=kernel.mapping.lift == "broadcast")
        for value, template, name, dims in zip(values, interface.templates, interface.names, in_dims, strict=True)
    ]
    if static_sizes:
        leaves = iter(flat)
        params = [map_leaves(param, lambda leaf: _with_sizes(leaf, next(leaves))) for param in params]
    return kernel._special(params, tuple(map(Lanes.of, flat))), flat


def _with_sizes(leaf: Abstract, given: Leaf) -> Abstract:
    if not isinstance(leaf.type, TensorType):
        return leaf
    sizes = tuple(given.value.shape[axis] for axis in given.order[sum(given.mapped) :])
    return replace(leaf, type=TensorType(leaf.type.rank, leaf.type.elem, sizes))


def _as_tensor(leaf: Leaf) -> torch.Tensor:
    if isinstance(leaf.value, torch.Tensor):
        value: torch.Tensor = permuted(leaf.value.detach(), leaf.order)
        return value
    return torch.tensor(leaf.value, dtype=NUMBER_DTYPES[leaf.kind])


def _any_sizes(kernel: Kernel) -> Specialisation:
    """The program that the annotations or the latest call tell, for tensors of any sizes but those annotated."""
    special = kernel._annotated()
    templates = kernel._interface.templates
    params = [_forget(param, template) for param, template in zip(special.params, templates, strict=True)]
    known = [[type_ for _, type_ in abstract_leaves(param)] for param in params]
    if known == [[type_ for _, type_ in abstract_leaves(param)] for param in special.params]:
        return special
    return kernel._special(params, special.lanes)


def _forget(param: Value, template: Any) -> Value:
    """The parameter without sizes above 1 that nobody annotated."""
    if isinstance(param, Struct):
        parts = template.items if isinstance(template, Struct) else (None,) * len(param.items)
        return param.with_items(tuple(_forget(item, part) for item, part in zip(param.items, parts, strict=True)))
    if isinstance(param, Static) or not isinstance(param, Abstract) or not isinstance(param.type, TensorType):
        return param
    annotated = template.type.sizes if isinstance(template, Abstract) and isinstance(template.type, TensorType) else ()
    sizes = tuple(
        size if size == 1 or (annotated and annotated[k] == size) else None for k, size in enumerate(param.type.sizes)
    )
    return replace(param, type=TensorType(param.type.rank, param.type.elem, sizes))
