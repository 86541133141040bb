"""The functions that forward mode makes: ``[fwd f]`` and ``[valfwd f]``."""

from __future__ import annotations

from ksc.ir.builder import Builder
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Function, Var
from ksc.ir.rewrite import clone_function
from ksc.transforms.forward.sweep import Sweep
from ksc.transforms.module import Mask, Module, differentiable_results
from ksc.transforms.reductions import lower_reductions
from ksc.transforms.tangents import tangent_type


class Derivatives:
    """All derivative functions of one program."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._names: dict[tuple[str, Mask], str] = {}

    def valfwd(self, callee: str, active: Mask) -> str:
        """The name of the function that gives the results of ``callee`` and their tangents.

        ``active`` says of each parameter whether it has a tangent.
        """
        key = callee, active
        if key not in self._names:
            name = self._names[key] = self.module.new_name(f"[valfwd {callee}]")
            if callee in self.module.effectful:
                self.module.effectful.add(name)
            self.module.functions[name] = self.derive(callee, active, name, with_value=True)
        return self._names[key]

    def derive(self, callee: str, active: Mask, name: str, *, with_value: bool) -> Function:
        """The derivative of one function, under the name given."""
        primal = clone_function(self.module.functions[callee])
        body = lower_reductions(primal.body, lambda eqn: eqn.params["monoid"] == "add")
        sweep = Sweep(self)
        tangents = []
        for param, on in zip(body.params, active, strict=True):
            if on:
                self.module.need_tangent(param.type)
                tangent = Var(f"{param.name}_dot", tangent_type(param.type))
                tangents.append(tangent)
                sweep.set(param, tangent)
        builder = Builder(primal.span)
        sweep.run(body.eqns, builder)
        results: list[Atom] = list(body.results) if with_value else []
        for k in differentiable_results(primal):
            self.module.need_tangent(body.results[k].type)
            results.append(sweep.dot_or_zero(body.results[k], builder))
        block = Block((*body.params, *tangents), tuple(builder.eqns), tuple(results), body.span)
        return clone_function(Function(name, prune_block(block, self.module.effectful), primal.span))
