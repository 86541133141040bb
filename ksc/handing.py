"""Which of its results the reverse of a kernel is handed: those that spare it work, as PyTorch's own backward has them.

    y = (tanh x)        x_bar = (mul y_bar (sub 1.0 (mul (tanh x) (tanh x))))        [rev f]
                        x_bar = (mul y_bar (sub 1.0 (mul y y)))                      [resrev f]

What it spares is counted in the derivatives before they are optimised: loops, calls, and functions that cost much.
Where that is nothing, or the optimised derivative has more of these, no result is kept.
"""

from __future__ import annotations

from collections.abc import Callable

from ksc.derive import derive
from ksc.ir.nodes import Program, walk
from ksc.ir.types import is_differentiable
from ksc.passes import prepare
from ksc.passes.cost import burden
from ksc.passes.dce import remove_dead_code
from ksc.passes.simplify import simplify
from ksc.torch.spec import backward_derivation


def handed_results(program: Program, optimised: Callable[[str], Program]) -> str:
    """A digit for each result that has a cotangent, 1 where the reverse is to be handed that result; "" where none is.

    ``optimised`` gives the optimised program of a derivation. Raises what the transform does.
    """
    count = sum(map(is_differentiable, program.main.result_types))
    if count == 0 or not any(is_differentiable(param.type) for param in program.main.params):
        return ""
    cotangents = "1" * count
    program = prepare(program)
    handed = derive(program, "r", prepared=False)
    digits = _read(handed, len(program.main.params), count)
    least = _burden(handed)
    if "1" not in digits or least >= _burden(derive(program, "v", prepared=False)):
        return ""
    for k in range(count):
        fewer = digits[:k] + "0" + digits[k + 1 :]
        if digits[k] == "1" and "1" in fewer:
            without = derive(program, f"r{fewer}{cotangents}", prepared=False)
            digits = fewer if _burden(without) <= least else digits
    return digits if burden(optimised(backward_derivation(digits))) <= burden(optimised("v")) else ""


def _read(handed: Program, first: int, count: int) -> str:
    """Which of the results that a program takes from parameter ``first`` on it reads, apart from their sizes."""
    read = {arg for eqn in walk(handed.main.body) if eqn.op != "size" for arg in eqn.args}
    return "".join("01"[param in read] for param in handed.main.params[first : first + count])


def _burden(program: Program) -> int:
    """What is to compute, but for tensors of which nothing but the sizes are read."""
    return burden(remove_dead_code(simplify(program)))
