"""Derivations: a string of letters names what is made of a program, and a pipeline of transforms makes it.

One letter a transform, the leftmost applied first: ``v`` the vjp, ``j`` the jvp, ``b`` the vjp together with the value,
``m`` the vmap over a new first dimension, ``r`` the vjp that is handed results beside the arguments.
``""`` is the program itself, ``vj`` the jvp of its vjp. Digits after ``v`` or ``j`` say of each cotangent or tangent
that it would take whether it is taken (1) or zero (0): zero times an infinite derivative is then no NaN. Digits after
``m`` say of each argument whether it is mapped (1) or shared by all lanes (0). Those after ``r`` say of each result
that has a cotangent whether it is handed over, and then of each whether its cotangent is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ksc.ir.nodes import Block, Eqn, Function, Program, Var
from ksc.ir.rewrite import callees
from ksc.ir.types import is_differentiable
from ksc.passes import PIPELINE, Pass, optimise, preparation, prepare
from ksc.passes.forget_rules import forget_rules
from ksc.passes.quotients import gives_quotients, read_quotients
from ksc.passes.seed_sizes import state_cotangent_sizes, state_tangent_sizes
from ksc.timings import timed
from ksc.torch.spec import derivation_steps
from ksc.transforms import jvp, vjp, vmap

_TRANSFORMS = {"v": "vjp", "b": "vjp with the value", "j": "jvp", "m": "vmap", "r": "vjp with results at hand"}


def derive(program: Program, derivation: str, *, prepared: bool = True) -> Program:
    """The program that ``derivation`` makes of ``program``, not yet optimised.

    Where it is not ``prepared``, nothing is fused before it is differentiated: every statement keeps its own equations.
    """
    steps = list(derivation_steps(derivation))
    for k, (letter, seeds) in enumerate(steps, 1):
        program = prepare(program) if prepared else program
        with timed(f"transform {_TRANSFORMS[letter]}"):
            program = _transformed(program, letter, seeds, is_last=k == len(steps))
    return program


def stages(program: Program, derivation: str, last: Sequence[Pass] = ()) -> Iterator[tuple[str, Program]]:
    """What ``program`` is after each pass and transform on its way to the optimised ``derivation``, with a title.

    ``last`` are the passes that a code generator runs before it prints. The last program is the one that it prints.
    """
    yield "as traced", program
    steps = list(derivation_steps(derivation))
    for k, (letter, seeds) in enumerate(steps, 1):
        for step in preparation(program):
            program = step.run(program)
            yield f"{step.name}: {step.why}", program
        program = _transformed(program, letter, seeds, is_last=k == len(steps))
        yield _TRANSFORMS[letter], program
    program = forget_rules(program)
    for step in (*PIPELINE, *last):
        program = step.run(program)
        yield f"{step.name}: {step.why}", program


def _transformed(program: Program, letter: str, seeds: str, *, is_last: bool) -> Program:
    if letter == "j":
        params = [i for i, param in enumerate(program.main.params) if is_differentiable(param.type)]
        wrt = _chosen(params, seeds) if seeds else params
        return state_tangent_sizes(jvp(program, wrt=wrt), wrt, len(program.main.params))
    if letter == "m":
        return vmap(program, [0 if digit == "1" else None for digit in seeds] if seeds else None)
    results = [i for i, type_ in enumerate(program.main.result_types) if is_differentiable(type_)]
    if letter == "r":
        found = _reading_quotients(program, results, seeds) if is_last else None
        return found or _handed(program, results, seeds, with_value=False)
    source = _with_results(program, _chosen(results, seeds)) if seeds else program
    return state_cotangent_sizes(source, vjp(source, with_value=letter == "b"))


def _handed(program: Program, results: list[int], seeds: str, *, with_value: bool) -> Program:
    """The vjp that is handed results, of those at these positions."""
    count = len(results)
    given = _chosen(results, seeds[:count]) if seeds else results
    cotangents = [digit == "1" for digit in seeds[count:]] if seeds else [True] * count
    owners = [*given, *(i for i, taken in zip(results, cotangents, strict=True) if taken)]
    derived = vjp(program, given=given, seeds=cotangents, with_value=with_value)
    return state_cotangent_sizes(program, derived, owners)


def _reading_quotients(program: Program, results: list[int], seeds: str) -> Program | None:
    """The same, reading quotients of the results too, and optimised in part; None where that spares it no work."""
    if not gives_quotients(program):
        return None
    main = program.main
    both = optimise(forget_rules(_handed(program, results, seeds, with_value=True)))
    given = _chosen(results, seeds[: len(results)]) if seeds else results
    holders = dict(zip(given, both.main.params[len(main.params) :], strict=False))
    return read_quotients(both, len(main.result_types), holders)


def _chosen(positions: list[int], seeds: str) -> list[int]:
    return [position for position, seed in zip(positions, seeds, strict=True) if seed == "1"]


def _with_results(program: Program, kept: list[int]) -> Program:
    """The program with these results of its entry alone."""
    main = program.main
    if not any(main.name in callees(function) for function in program.functions.values()):
        block = replace(main.body, results=tuple(main.body.results[i] for i in kept))
        return replace(program, functions={**program.functions, main.name: replace(main, body=block)})
    # The entry calls itself and needs all its results: another one in front of it picks.
    params = tuple(Var(param.name, param.type) for param in main.params)
    outs = tuple(Var("r", type_) for type_ in main.result_types)
    call = Eqn(outs, "call", params, {"callee": main.name}, span=main.span)
    front = Function(f"[some {main.name}]", Block(params, (call,), tuple(outs[i] for i in kept)), main.span)
    return replace(program, functions={**program.functions, front.name: front}, entry=front.name)
