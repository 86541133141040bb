"""``ksc build``: compile a kernel ahead of time."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import time
import typing
from typing import TYPE_CHECKING, Any

from ksc.cli.target import TargetError, add_target, load_kernel

if TYPE_CHECKING:
    from ksc.kernel import Kernel

DTYPES = ("float16", "bfloat16", "float32", "float64")
DEFAULT_DTYPE = "float32"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("build", help="compile a kernel ahead of time")
    add_target(parser)
    parser.add_argument(
        "--dtype",
        action="append",
        choices=DTYPES,
        help=f"what the floats are; may be given several times (default: {DEFAULT_DTYPE})",
    )
    parser.add_argument("--json", action="store_true", help="for a program to read")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile for each dtype and say where the source lies."""
    kernel = load_kernel(args.target)
    report = []
    for dtype in dict.fromkeys(args.dtype or [DEFAULT_DTYPE]):
        start = time.perf_counter()
        kernel.compile(example_inputs(kernel, dtype))
        seconds = time.perf_counter() - start
        report.append({"dtype": dtype, "source": str(kernel.source_path), "seconds": round(seconds, 3)})
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for built in report:
            print(f"{built['dtype']:<9} {built['seconds']:6.2f} s  {built['source']}")
    return 0


def example_inputs(kernel: Kernel, dtype: str) -> tuple[Any, ...]:
    """Arguments of the types that the parameters are annotated with, their floats being of ``dtype``.

    Raises TargetError where an annotation is missing or does not say enough.
    """
    parameters = inspect.signature(kernel.__wrapped__, eval_str=True).parameters.values()
    in_dims = kernel.lift.in_dims
    dims = in_dims if isinstance(in_dims, tuple) else (in_dims,) * len(parameters)
    mapped = [kernel.lift.mode != "scalar" and dim is not None for dim in dims]
    return tuple(
        _example(parameter.annotation, parameter.name, (2,) if lanes else (), dtype)
        for parameter, lanes in zip(parameters, mapped, strict=True)
    )


def _example(annotation: Any, name: str, shape: tuple[int, ...], dtype: str) -> Any:
    import torch

    scalars = {float: getattr(torch, dtype), int: torch.int64, bool: torch.bool}
    if annotation in scalars:
        return torch.ones(shape, dtype=scalars[annotation])
    if annotation is inspect.Parameter.empty:
        raise TargetError(f"parameter {name} has no type", remedy=f"annotate it, such as {name}: float")
    if typing.get_origin(annotation) is tuple and Ellipsis not in typing.get_args(annotation):
        return tuple(_example(part, name, shape, dtype) for part in typing.get_args(annotation))
    if dataclasses.is_dataclass(annotation) or hasattr(annotation, "_fields"):
        members = typing.get_type_hints(annotation)
        return annotation(**{key: _example(part, f"{name}.{key}", shape, dtype) for key, part in members.items()})
    raise TargetError(
        f"parameter {name} has the type {annotation}, from which no example can be made",
        remedy="call kernel.compile(example_inputs) from Python",
    )
