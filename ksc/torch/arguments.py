"""Checks a call's arguments against a kernel's and turns numbers into tensors: the general way, traceable by Dynamo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ksc.errors import ArgumentError
from ksc.torch.devices import ACCELERATORS
from ksc.torch.spec import OpSpec

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def prepare(spec: OpSpec, args: tuple[Any, ...]) -> list[Any]:
    """The tensors to call the primal operator with; a number where its schema has one.

    Raises ArgumentError for a wrong count, a wrong dtype or device, a tensor where a number belongs, or shapes that do
    not fit together.
    """
    if len(args) != len(spec.args):
        names = ", ".join(arg.name for arg in spec.args)
        raise ArgumentError(f"{spec.title} takes {len(spec.args)} argument(s) ({names}), and {len(args)} were given")
    check_dtypes(spec, args)
    check_shapes(spec, args)
    dtype = promoted_dtype(args, spec)
    return [
        _as_number(value) if arg.is_number else as_tensor(arg.kind, value, dtype)
        for arg, value in zip(spec.args, args, strict=True)
    ]


def prepare_seeds(spec: OpSpec, primals: list[Any], seeds: tuple[Any, ...], *, forward: bool) -> list[torch.Tensor]:
    """The tensors for the tangents (one per float argument) or cotangents (one per float result) of a call.

    Raises ArgumentError for a wrong count, or a seed that has not the shape of what it belongs to.
    """
    what = "tangent" if forward else "cotangent"
    owners = spec.float_args if forward else spec.float_results
    if len(seeds) != len(owners):
        raise ArgumentError(f"{spec.title} takes {len(owners)} {what}(s), and {len(seeds)} were given")
    expected = [primals[k].shape for k in owners] if forward else _result_shapes(spec, primals)
    devices = {primal.device for primal in primals if isinstance(primal, torch.Tensor)}
    prepared = []
    for seed, owner, shape in zip(seeds, owners, expected, strict=True):
        name = spec.args[owner].name if forward else _result_name(spec, owner)
        if isinstance(seed, torch.Tensor):
            if seed.dtype not in _FLOATS:
                raise ArgumentError(
                    f"the {what} of {name} in {spec.title} is {seed.dtype}: a float tensor belongs there"
                )
            if seed.shape != shape:
                raise ArgumentError(
                    f"the {what} of {name} in {spec.title} has shape {tuple(seed.shape)}, "
                    f"and should have {tuple(shape)}"
                )
            _check_device(spec, f"the {what} of {name}", seed)
            if seed.dim() > 0 and seed.device not in devices:
                raise ArgumentError(f"the {what} of {name} in {spec.title} is on {seed.device}, the arguments are not")
        elif spec.lift == "tensor" and len(shape) > 0:
            raise ArgumentError(
                f"the {what} of {name} in {spec.title} is of type {type(seed).__name__}: "
                f"a tensor of shape {tuple(shape)} belongs there"
            )
        prepared.append(as_tensor("float", seed, promoted_dtype(tuple(primals), spec)))
    return prepared


def _result_shapes(spec: OpSpec, primals: list[Any]) -> list[Sequence[Any]]:
    """The shape of each float result."""
    if spec.shapes is None:
        full: torch.Size = torch.broadcast_shapes(*(primal.shape for primal in primals))  # type: ignore[no-untyped-call]
        return [full] * len(spec.float_results)
    sizes = [primal.shape if isinstance(primal, torch.Tensor) else () for primal in primals]
    shapes = spec.shapes.evaluate(sizes, {k: primals[k] for k, arg in enumerate(spec.args) if arg.is_number})
    return [shapes[k] for k in spec.float_results]


def _result_name(spec: OpSpec, position: int) -> str:
    return "the result" if len(spec.results) == 1 else f"result {position}"


def check_dtypes(spec: OpSpec, args: tuple[Any, ...]) -> None:
    """Raises ArgumentError where a value is not of its argument's kind, not where kernels run, or not with others."""
    placed: tuple[str, torch.device] | None = None
    for arg, value in zip(spec.args, args, strict=True):
        if isinstance(value, torch.Tensor):
            dtype = value.dtype
            if arg.kind == "float" and dtype not in _FLOATS:
                raise ArgumentError(
                    f"the argument {arg.name} of {spec.title} is a tensor of {dtype}: a float tensor belongs there",
                    remedy=f"{arg.name}.to(torch.float32)",
                )
            if arg.kind == "int" and dtype not in _INTEGERS:
                raise ArgumentError(
                    f"the argument {arg.name} of {spec.title} is {dtype}: an integer tensor belongs there"
                )
            if arg.kind == "bool" and dtype != torch.bool:
                raise ArgumentError(f"the argument {arg.name} of {spec.title} is {dtype}: a bool tensor belongs there")
            _check_device(spec, f"the argument {arg.name}", value)
            if value.dim() > 0:
                placed = placed or (arg.name, value.device)
                first, device = placed
                if value.device != device:
                    raise ArgumentError(
                        f"the arguments {first} and {arg.name} of {spec.title} are on {device} and {value.device}",
                        remedy="move them to one device",
                    )
        elif not _is_number(arg.kind, value):
            raise ArgumentError(
                f"the argument {arg.name} of {spec.title} is of type {type(value).__name__}: "
                f"a tensor or {_article(arg.kind)} belongs there"
            )


def _article(kind: str) -> str:
    return "an int" if kind == "int" else f"a {kind}"


def _is_number(kind: str, value: object) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if kind == "int":
        return isinstance(value, int | torch.SymInt)
    return isinstance(value, float | int | torch.SymFloat | torch.SymInt)


def _check_device(spec: OpSpec, what: str, value: torch.Tensor) -> None:
    if value.device.type not in ("cpu", "meta", *ACCELERATORS):
        raise ArgumentError(
            f"{what} of {spec.title} is on {value.device}: kernels run on the CPU, and on GPUs with CUDA",
            remedy="move it with .cpu()",
        )


def check_shapes(spec: OpSpec, args: tuple[Any, ...]) -> None:
    """Raises ArgumentError where the shapes do not fit the way in which the function is lifted."""
    if spec.lift == "tensor":
        _check_tensors(spec, args)
        return
    mapped: list[tuple[str, torch.Size]] = []
    for arg, value in zip(spec.args, args, strict=True):
        if not isinstance(value, torch.Tensor):
            continue
        if (arg.shared or spec.lift == "scalar") and value.dim() != 0:
            raise ArgumentError(
                f"the argument {arg.name} of {spec.title} has shape {tuple(value.shape)}: a number belongs there",
                remedy="map over it with ksc.vmap" if spec.lift == "scalar" else None,
            )
        if not arg.shared:
            mapped.append((arg.name, value.shape))
    for name, shape in mapped[1:]:
        first, first_shape = mapped[0]
        if spec.lift == "same" and shape != first_shape:
            raise ArgumentError(
                f"the arguments {first} and {name} of {spec.title} have shapes {tuple(first_shape)} "
                f"and {tuple(shape)}: tensors that are mapped together have one shape",
                remedy="expand them first, share one with in_dims=None, or use ksc.elementwise, which broadcasts",
            )
    if spec.lift == "broadcast" and len(mapped) > 1 and not _broadcastable([shape for _, shape in mapped]):
        listed = ", ".join(f"{name} {tuple(shape)}" for name, shape in mapped)
        raise ArgumentError(f"the arguments of {spec.title} do not broadcast: {listed}")


def _check_tensors(spec: OpSpec, args: tuple[Any, ...]) -> None:
    for arg, value in zip(spec.args, args, strict=True):
        shape = value.shape if isinstance(value, torch.Tensor) else ()
        if len(shape) != len(arg.sizes):
            what = f"has shape {tuple(shape)}" if isinstance(value, torch.Tensor) else "is a number"
            wanted = f"a tensor of {len(arg.sizes)} dimension(s)" if arg.sizes else "a number"
            raise ArgumentError(f"the argument {arg.name} of {spec.title} {what}: {wanted} belongs there")
        for dim, (size, only) in enumerate(zip(shape, arg.sizes, strict=True)):
            if only is not None and size != only:
                raise ArgumentError(
                    f"the argument {arg.name} of {spec.title} has shape {tuple(shape)}: "
                    f"the size of dimension {dim} is to be {only}"
                )


def _as_number(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value


def _broadcastable(shapes: list[torch.Size]) -> bool:
    rank = max(len(shape) for shape in shapes)
    for back in range(1, rank + 1):
        size = 1
        for shape in shapes:
            if back > len(shape) or shape[-back] == 1:
                continue
            if size != 1 and size != shape[-back]:
                return False
            size = shape[-back]
    return True


def promoted_dtype(args: tuple[Any, ...], spec: OpSpec) -> torch.dtype:
    """PyTorch's promotion: float tensors with dimensions decide, else those without, else the default dtype."""
    floats = [i for i in spec.float_args if isinstance(args[i], torch.Tensor)]
    deciding = [args[i] for i in floats if args[i].dim() > spec.args[i].lanes] or [args[i] for i in floats]
    if not deciding:
        return torch.get_default_dtype()
    dtype: torch.dtype = deciding[0].dtype
    for tensor in deciding[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def as_tensor(kind: str, value: Any, float_dtype: torch.dtype) -> torch.Tensor:
    """A tensor as it is; a number as a 0-d tensor that does not promote the others."""
    if isinstance(value, torch.Tensor):
        return value
    dtype = {"float": float_dtype, "int": torch.int64, "bool": torch.bool}[kind]
    return torch.scalar_tensor(value, dtype=dtype)
