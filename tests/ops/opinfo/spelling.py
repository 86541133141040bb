"""A sample input of an operator as a function in Python source, as a user would write the call.

The tensors of the sample become parameters, ``t0`` and so on; all else is written out as literals:

    def kernel(t0, t1):
        return torch.add(t0, t1, alpha=2)
"""

from __future__ import annotations

import itertools
import linecache
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import torch
from torch.nn import functional

OWNERS = {
    "torch": torch,
    "F": functional,
    "torch.special": torch.special,
    "torch.linalg": torch.linalg,
    "torch.fft": torch.fft,
}


def unsigned_pairs(pairs: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """What is the same of all eigenvectors, whose signs are not determined."""
    values, vectors = pairs
    return values, vectors.abs()


def unsigned_triplets(triplets: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """What is the same of all singular vectors, of which two change their signs together."""
    u, s, vh = triplets
    return u.abs(), s, vh.abs(), u @ vh


NAMESPACE = {
    "torch": torch,
    "F": functional,
    "math": math,
    "unsigned_pairs": unsigned_pairs,
    "unsigned_triplets": unsigned_triplets,
}
DTYPES = (torch.float64, torch.float32, torch.int64, torch.bool)
WIDENED = (torch.int32, torch.int16, torch.int8, torch.uint8)
"""Widths of integers that become int64 at the boundary of a kernel."""

_OPERATORS = {
    "__radd__": "{1} + {0}",
    "__rmul__": "{1} * {0}",
    "__rsub__": "{1} - {0}",
    "__rdiv__": "{1} / {0}",
    "__rmod__": "{1} % {0}",
    "__rpow__": "{1} ** {0}",
    "__rand__": "{1} & {0}",
    "__ror__": "{1} | {0}",
    "__rxor__": "{1} ^ {0}",
    "__rmatmul__": "{1} @ {0}",
    "__getitem__": "{0}[{1}]",
    "T": "{0}.T",
    "H": "{0}.H",
    "mT": "{0}.mT",
    "mH": "{0}.mH",
    "einsum": "torch.einsum({1}, {0})",
    "where": "torch.where({1}, {0}, {2})",
    "nn.functional.embedding": "F.embedding({1}, {0}{more})",
    "item": "{0}.item()",
    "linalg.eigh": "unsigned_pairs(torch.linalg.eigh(({0} + {0}.mT) / 2{more}))",
    "linalg.svd": "unsigned_triplets(torch.linalg.svd({0}{more}))",
    "linalg.lstsq": "torch.linalg.lstsq({0}, {1}{more}).solution",
}
"""The spelling of operators whose function is not one that a user calls."""

_WRAPPED = (
    "nn.functional.scaled_dot_product_attention nn.functional.dropout nn.functional.dropout2d nn.functional.dropout3d "
    "nn.functional.alpha_dropout nn.functional.embedding_bag nn.functional.multi_head_attention_forward normal "
    "bernoulli multinomial randn randn_like rand_like randint randint_like"
).split()
"""Operators whose function wraps the one of the same name."""


_TRIANGLES = {"cholesky_solve": 1}


class UnspelledError(Exception):
    """A sample has an argument that no parameter or literal of a kernel stands for."""


@dataclass(frozen=True)
class Form:
    """A way to call an operator: a template with the arguments by number, or a path of a function or method.

    ``symmetric`` holds for an operator of symmetric matrices, whose derivative is defined for such alone;
    ``triangle`` is which argument is a triangle, of whose other half PyTorch has derivatives that mean nothing.
    """

    template: str = ""
    path: str = ""
    method: str = ""
    inplace: bool = False
    symmetric: bool = False
    triangle: int | None = None

    def __str__(self) -> str:
        return self.template or self.path or f"Tensor.{self.method}"

    def expression(self, args: list[str], kwargs: dict[str, str]) -> str:
        named = [f"{key}={text}" for key, text in kwargs.items()]
        if self.template:
            count = sum(f"{{{k}}}" in self.template for k in range(len(args)))
            more = "".join(f", {text}" for text in [*args[count:], *named])
            if more and "{more}" not in self.template:
                raise UnspelledError("more arguments than the operator has")
            return self.template.format(*args, more=more)
        if self.path:
            return f"{self.path}({', '.join([*args, *named])})"
        return f"{args[0]}.{self.method}({', '.join([*args[1:], *named])})"


@dataclass
class Call:
    """A call as a function with source, and the tensors for its parameters."""

    source: str
    args: list[torch.Tensor]
    function: FunctionType = field(init=False)

    def __post_init__(self) -> None:
        self.function = compiled(self.source)


_serial = itertools.count()


def compiled(source: str) -> FunctionType:
    """The function ``kernel`` of a piece of source that tracebacks and the frontend can read again."""
    file = f"<sample {next(_serial)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = dict(NAMESPACE)
    exec(compile(source, file, "exec"), namespace)
    function: FunctionType = namespace["kernel"]
    return function


def forms(op: Any) -> Iterator[Form]:
    """The ways to call an operator: function or operator sign, method, method in place."""
    if op.name in _OPERATORS:
        yield Form(template=_OPERATORS[op.name])
    elif path := _path(op):
        symmetric = getattr(op.gradcheck_wrapper, "__name__", "") == "gradcheck_wrapper_hermitian_input"
        yield Form(path=path, symmetric=symmetric, triangle=_TRIANGLES.get(op.name))
    if _is_method(op.method_variant):
        yield Form(method=op.method_variant.__name__, triangle=_TRIANGLES.get(op.name))
    if _is_method(op.inplace_variant):
        yield Form(method=op.inplace_variant.__name__, inplace=True)


def _path(op: Any) -> str | None:
    for owner, where in OWNERS.items():
        for name in (op.name.rpartition(".")[2], getattr(op.op, "__name__", "")):
            if name and getattr(where, name, None) is op.op:
                return f"{owner}.{name}"
    if op.name in _WRAPPED:
        return str(op.name).replace("nn.functional", "F") if "." in op.name else f"torch.{op.name}"
    return None


def _is_method(method: Callable[..., Any] | None) -> bool:
    name = getattr(method, "__name__", "")
    return name.isidentifier() and not name.startswith("_") and hasattr(torch.Tensor, name)


def spelled(form: Form, sample: Any) -> Call | UnspelledError:
    """The call that a sample input of PyTorch makes, in one form."""
    tensors: list[torch.Tensor] = []
    try:
        args = [_text(arg, tensors) for arg in (sample.input, *sample.args)]
        named = {key: value for key, value in sample.kwargs.items() if key != "dtype" or not _is_default(value)}
        kwargs = {key: _text(value, tensors) for key, value in named.items()}
        if len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) > 1:
            raise UnspelledError("floats of different widths, which a kernel never sees")
        if form.method and not isinstance(sample.input, torch.Tensor):
            raise UnspelledError("a method of a number")
        if form.triangle is not None:
            args[form.triangle] += (
                ".triu()" if sample.kwargs.get("upper") or any(arg is True for arg in sample.args) else ".tril()"
            )
        if form.symmetric:
            args[0] = "((t0 + t0.mT) / 2)"
        if form.inplace:
            args[0] = "y"
            body = f"    y = t0.clone()\n    {form.expression(args, kwargs)}\n    return y\n"
        else:
            body = f"    return {form.expression(args, kwargs)}\n"
    except UnspelledError as why:
        return why
    names = ", ".join(f"t{k}" for k in range(len(tensors)))
    return Call(f"def kernel({names}):\n{body}", tensors)


def _is_default(dtype: object) -> bool:
    """Whether it is the dtype of new tensors, which is left to the caller."""
    return dtype == torch.get_default_dtype()


def _text(value: Any, tensors: list[torch.Tensor]) -> str:
    """An argument as a parameter or literal; what stands for parameters is appended to ``tensors``."""
    match value:
        case torch.Tensor():
            tensors.append(_tensor(value))
            return f"t{len(tensors) - 1}"
        case bool() | int() | str() | None:
            return repr(value)
        case float():
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        case torch.Size() | tuple():
            return f"({''.join(_text(item, tensors) + ', ' for item in value)})"
        case list():
            return f"[{', '.join(_text(item, tensors) for item in value)}]"
        case slice():
            return f"slice({', '.join(_text(part, tensors) for part in (value.start, value.stop, value.step))})"
        case torch.dtype() as dtype:
            like = next((k for k, tensor in enumerate(tensors) if tensor.dtype == dtype), None)
            return f"t{like}.dtype" if like is not None and dtype.is_floating_point else repr(dtype)
        case torch.layout() | torch.memory_format():
            return repr(value)
        case torch.device():
            return repr(str(value))
    if value is Ellipsis:
        return "..."
    raise UnspelledError(f"an argument of type {type(value).__name__}")


def _tensor(tensor: torch.Tensor) -> torch.Tensor:
    if type(tensor) is not torch.Tensor and type(tensor) is not torch.nn.Parameter:
        raise UnspelledError(f"a {type(tensor).__name__}")
    if tensor.layout != torch.strided or tensor.is_conj() or tensor.is_neg() or tensor.device.type != "cpu":
        raise UnspelledError(f"a tensor of layout {tensor.layout} on {tensor.device}")
    if tensor.dtype in WIDENED:
        tensor = tensor.long()
    if tensor.dtype not in DTYPES:
        raise UnspelledError(f"a tensor of {tensor.dtype}")
    return tensor.detach()
