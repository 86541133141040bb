"""Makes a failing tensor program small, by the edits that ``reduce`` makes of scalar ones."""

from __future__ import annotations

import ast
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

from tests.strategies.reduce import candidates
from tests.strategies.tensors import TensorProgram
from tests.strategies.tensors_cases import TensorCase

ATOMS = ("x", "x[0]", "torch.sum(x)", "0.3", "1", "True", "x.sum() > 0.3")


def reduce_tensors(
    program: TensorProgram, fails: Callable[[TensorProgram], bool], seconds: float = 20.0
) -> TensorProgram:
    """A smaller program for which ``fails`` still holds, as small as can be found in the time given."""
    deadline = time.monotonic() + seconds
    for point in program.points:
        if fails(replace(program, points=(point,))):
            program = replace(program, points=(point,))
            break
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        while time.monotonic() < deadline:
            smaller = _step(program, fails, deadline)
            if smaller is None:
                break
            program = smaller
    return program


def _step(program: TensorProgram, fails: Callable[[TensorProgram], bool], deadline: float) -> TensorProgram | None:
    for source in candidates(program.source, ATOMS):
        candidate = replace(program, source=source)
        if time.monotonic() > deadline:
            return None
        if _runs(candidate) and fails(candidate):
            return candidate
    return None


def _runs(program: TensorProgram) -> bool:
    """Whether PyTorch runs the program; one that loops for ever is cut off by the names that count its loops down."""
    tree = ast.parse(program.source)
    for loop in (node for node in ast.walk(tree) if isinstance(node, ast.While)):
        counted = {
            node.target.id
            for node in loop.body
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
        }
        if not any(name.startswith("fuel") for name in counted):
            return False
    try:
        with TensorCase(program) as case:
            return bool(case.points())
    except Exception:
        return False
