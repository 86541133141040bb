"""The derivative of one mode from a user's rule for the other: both are linear maps, each the transpose of the other.

    (def [fwd f] (x x_dot) (mul x_dot (cos x)))      ⟶      (def [rev f] (x y_bar) (mul y_bar (cos x)))

It is the vjp of the rule with respect to its tangents, which does not depend on them.
"""

from __future__ import annotations

from typing import Literal

from ksc.errors import DifferentiationError
from ksc.ir.builder import Builder
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Eqn, Function, walk
from ksc.ir.rewrite import clone_function, substitute_block
from ksc.transforms.linearity import is_linear
from ksc.transforms.module import Module, differentiable_params, differentiable_results

Kind = Literal["fwd", "rev"]


def rule_of(module: Module, call: Eqn, kind: Kind) -> str | None:
    """The function that is the derivative of kind ``kind`` at a call: given by hand, or where the call says so the
    transpose of that of the other kind.

    None where there is none. Raises DifferentiationError where the rule to be transposed is not linear.
    """
    other: Kind = "rev" if kind == "fwd" else "fwd"
    if kind in call.params or not call.params.get("transpose"):
        given = call.params.get(kind)
        return None if given is None else str(given)
    key = call.params["callee"], call.params[other]
    if key not in module.transposes:
        module.transposes[key] = _transpose(module, *key, kind)
    return module.transposes[key]


def _transpose(module: Module, callee: str, rule: str, kind: Kind) -> str:
    # Imported here since reverse mode asks for transposes in its rule of calls.
    from ksc.transforms.reverse.pair import Pairs

    function, given = module.functions[callee], module.functions[rule]
    count = len(function.params)
    linear = range(count, len(given.params))
    if any(eqn.op == "callback" for eqn in walk(given.body)):
        mode = "forward" if kind == "fwd" else "reverse"
        raise DifferentiationError(
            f"the derivative of {callee} is Python, so there is no {mode} mode of it",
            remedy="use the other mode, or write the function in the language of kernels",
            span=given.span,
        )
    if not is_linear(module.functions, rule, linear):
        seed, mode = ("cotangent", "forward") if kind == "fwd" else ("tangent", "reverse")
        raise DifferentiationError(
            f"the derivative rule of {callee} is not linear in the {seed}, so there is no {mode} mode of it",
            remedy=f"give a rule that multiplies the {seed} by something that does not depend on it",
            span=given.span,
        )
    active = tuple(k in linear for k in range(len(given.params)))
    both = Pairs(module).rev(rule, active, with_value=False)
    params, seeds, bars = both.params[:count], both.params[count : len(given.params)], both.params[len(given.params) :]
    builder = Builder(given.span)
    # Only their sizes are read, which are those of what the tangents belong to.
    likes: list[Atom] = [params[k] for k in differentiable_params(function)]
    if kind == "fwd":
        outs = builder.emit("call", params, function.result_types, params={"callee": callee})
        likes = [outs[k] for k in differentiable_results(function)]
    env = dict(zip(seeds, likes, strict=True))
    body = substitute_block(Block((), both.body.eqns, both.body.results, both.body.span), env)
    block = Block((*params, *bars), (*builder.eqns, *body.eqns), body.results, body.span)
    name = module.new_name(f"[{kind} {callee}]")
    derived = Function(name, prune_block(block, module.effectful), given.span)
    module.functions[name] = clone_function(derived)
    return name
