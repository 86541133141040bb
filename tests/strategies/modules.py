"""Source text as a module: the way it is, and once more with torch numbers in the place of floats."""

from __future__ import annotations

import ast
import builtins
import itertools
import linecache
import math
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

_numbers = itertools.count()


class SourceModule:
    """A module made of ``source``, to be used as a context: ``inspect`` finds the source of its functions."""

    def __init__(self, source: str) -> None:
        self.name = f"random_program_{next(_numbers)}"
        self.file = f"<{self.name}>"
        self.source = source

    def __enter__(self) -> ModuleType:
        linecache.cache[self.file] = (len(self.source), None, self.source.splitlines(keepends=True), self.file)
        module = ModuleType(self.name)
        sys.modules[self.name] = module
        exec(compile(self.source, self.file, "exec"), module.__dict__)
        return module

    def __exit__(self, *_: object) -> None:
        del linecache.cache[self.file]
        del sys.modules[self.name]


def torch_function(source: str, entry: str) -> Callable[..., Any]:
    """The function ``entry`` of the module ``source`` over 0-d tensors of float64.

    Python runs it and takes its branches, and torch differentiates what was computed: an oracle for derivatives of every
    order that shares nothing with the compiler.
    """
    namespace: dict[str, Any] = {"__name__": "torch_twin", "__builtins__": _BUILTINS}
    tree = ast.fix_missing_locations(_ForTorch().visit(ast.parse(source)))
    exec(compile(tree, "<torch twin>", "exec"), namespace)
    return namespace[entry]


class _ForTorch(ast.NodeTransformer):
    """``x += e`` as ``x = x + e``, for it would change every other name of the tensor; ``//`` and ``%``, which torch
    does not differentiate with respect to both sides, as functions."""

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.Assign:
        assert isinstance(node.target, ast.Name)
        value = self.visit(ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value))
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        name = {ast.FloorDiv: "floor_div", ast.Mod: "mod"}.get(type(node.op))
        return node if name is None else ast.Call(ast.Name(name, ast.Load()), [node.left, node.right], [])


def _plain(x: Any) -> Any:
    return x.item() if isinstance(x, torch.Tensor) else x


def _tensor(x: Any) -> torch.Tensor:
    return x if isinstance(x, torch.Tensor) else torch.tensor(float(x), dtype=torch.float64)


def _lift(fn: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda *args: fn(*map(_tensor, args))


def _whole(fn: Callable[[Any], int]) -> Callable[[Any], int]:
    return lambda x: fn(_plain(x))


def _floor_div(a: Any, b: Any) -> Any:
    return _plain(a) // _plain(b)


def _mod(a: Any, b: Any) -> Any:
    if not (isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor)):
        return a % b
    return a - b * _floor_div(a, b)


def _fmod(a: Any, b: Any) -> Any:
    x, y = _plain(a), _plain(b)
    return a - b * round((x - math.fmod(x, y)) / y)


def _float(x: Any) -> Any:
    return x if isinstance(x, torch.Tensor) and x.is_floating_point() else float(_plain(x))


_TORCH_NAMES = (
    "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp exp2 expm1 log log2 log10 log1p sqrt erf erfc "
    "lgamma atan2 hypot copysign pow"
)
_MATH = SimpleNamespace(
    **{name: _lift(getattr(torch, name)) for name in _TORCH_NAMES.split()},
    cbrt=_lift(lambda x: torch.sign(x) * torch.abs(x) ** (1 / 3)),
    fmod=_fmod,
    fabs=_lift(torch.abs),
    degrees=_lift(lambda x: x * (180.0 / math.pi)),
    floor=_whole(math.floor),
    ceil=_whole(math.ceil),
    trunc=_whole(math.trunc),
    pi=math.pi,
)


def _import(name: str, *args: Any) -> Any:
    return _MATH if name == "math" else builtins.__import__(name, *args)


_BUILTINS = {
    **vars(builtins),
    "__import__": _import,
    "float": _float,
    "int": _whole(int),
    "round": _whole(round),
    "floor_div": _floor_div,
    "mod": _mod,
    "divmod": lambda a, b: (_floor_div(a, b), _mod(a, b)),
}
