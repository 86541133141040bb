"""Mapping a program over a leading dimension: a ``build`` around a call of it.

    (def [vmap f] (Tensor 1 Float) ((x : (Tensor 1 Float)) (a : Float))
      (build (size x) (lam i (f (index i x) a))))

There is no batching rule for any op, and control flow stays control flow in each lane. What the entry requires of
sizes, which are the same in all lanes, is required once before them, also where there is no lane.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ksc.ir.builder import Builder, stack_type
from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Atom, Const, Function, Program, Var
from ksc.ir.rewrite import Env, assemble, clone_eqn, effectful_functions, unique_name
from ksc.ir.types import Integer
from ksc.ops import PRIMITIVES


def vmap(program: Program, in_axes: Sequence[int | None] | None = None) -> Program:
    """The program that runs the entry once for each row of its arguments.

    Args:
        program: any program.
        in_axes: for each parameter 0, or None for an argument that is shared by all lanes; all 0 where it is None.

    Returns:
        A program whose entry ``[vmap f]`` takes the mapped parameters with one more leading dimension and gives the
        results with one. Sizes that differ stop it with an error.

    Raises:
        ValueError: ``in_axes`` does not fit the parameters, or maps none of them.
    """
    main = program.main
    axes = [0] * len(main.params) if in_axes is None else list(in_axes)
    if len(axes) != len(main.params):
        raise ValueError(f"{main.name} has {len(main.params)} parameters, but in_axes has {len(axes)} entries")
    if any(axis not in (0, None) for axis in axes):
        raise ValueError("an entry of in_axes is 0 or None")
    if all(axis is None for axis in axes):
        raise ValueError("one parameter at least must be mapped")
    builder = Builder(main.span)
    params = [
        Var(param.name, param.type if axis is None else stack_type(1, param.type))
        for param, axis in zip(main.params, axes, strict=True)
    ]
    sizes = [
        builder.emit("size", [param], [Integer], names=["lanes"], params={"dim": 0})[0]
        for param, axis in zip(params, axes, strict=True)
        if axis is not None
    ]
    mapped = [param.name for param, axis in zip(params, axes, strict=True) if axis is not None]
    for name, size in zip(mapped[1:], sizes[1:], strict=True):
        same = builder.apply("eq", sizes[0], size, name="same")
        message = f"the mapped dimensions of {mapped[0]} and {name} differ in size"
        builder.emit("assert", [same], [], params={"message": message})
    _require_sizes(builder, main, params, effectful_functions(program.functions))
    inner = Builder(main.span)
    lane = Var("lane", Integer)
    args: list[Atom] = [
        var if axis is None else inner.emit("index", [var, lane], [param.type], names=[param.name])[0]
        for var, param, axis in zip(params, main.params, axes, strict=True)
    ]
    names = [result.name if isinstance(result, Var) else "y" for result in main.body.results]
    results = inner.emit("call", args, main.result_types, names=names, params={"callee": main.name})
    types = [stack_type(1, type_) for type_ in main.result_types]
    outs = builder.emit("build", [sizes[0]], types, names=names, blocks=[inner.block([lane], results, main.body.span)])
    name = unique_name(f"[vmap {main.name}]", program.functions)
    function = Function(name, builder.block(params, outs, main.body.span), main.span)
    return assemble({**program.functions, name: function}, name, program.boxes)


def _require_sizes(builder: Builder, main: Function, params: Sequence[Var], effectful: Collection[str]) -> None:
    """Emit what ``main`` requires of sizes before it does anything else; ``params`` are its own or stacks of them."""
    stacks = dict(zip(main.params, params, strict=True))
    env: Env = {}
    for eqn in main.body.eqns:
        record = PRIMITIVES.get(eqn.op)
        if eqn.op == "size" and eqn.args[0] in stacks:
            own = eqn.args[0]
            assert isinstance(own, Var)
            extra = int(stacks[own].type != own.type)
            names = [eqn.outs[0].name]
            dim = {"dim": eqn.params["dim"] + extra}
            env[eqn.outs[0]] = builder.emit("size", [stacks[own]], [Integer], names=names, params=dim)[0]
        elif all(isinstance(arg, Const) or arg in env for arg in eqn.args):
            if eqn.op == "assert" or (record is not None and record.speculatable):
                builder.eqns.append(clone_eqn(eqn, env))
            elif has_effect(eqn, effectful, ()):
                return
        elif has_effect(eqn, effectful, ()):
            return
