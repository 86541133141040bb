"""Whether a program's memory is the same for all arguments of the same sizes.

Who launches a kernel on a GPU cannot wait to hear that its scratch memory was too small: what comes after it on the
stream has read the results by then. Of a program whose memory sizes decide, one launch that sufficed says that all like
it will. What is decided by elements that it reads (a `while`, the length of a list, a branch that makes a tensor) is
known only by looking after each launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, walk
from ksc.ir.types import AccType, BoolType, BoxType, IntegerType, TensorType, TupleType, Type


def memory_varies(program: Program, *, numbers_vary: bool) -> bool:
    """Whether two calls with arguments of the same sizes may need different amounts of memory.

    ``numbers_vary``: ints and bools among the arguments may differ too, as those of lanes do.
    """
    search = _Search(program)
    main = program.main
    varies = [
        numbers_vary if isinstance(param.type, IntegerType | BoolType) else not isinstance(param.type, TensorType)
        for param in main.params
    ]
    search.function(main, varies)
    return search.found


@dataclass(slots=True)
class _Search:
    """Which variables vary: numbers by their values, tensors by their sizes."""

    program: Program
    varying: set[Var] = field(default_factory=set)
    found: bool = False
    calls: dict[tuple[str, tuple[bool, ...]], list[bool]] = field(default_factory=dict)

    def function(self, function: Function, args: list[bool]) -> list[bool]:
        """Whether each result varies, for arguments that vary or do not."""
        key = function.name, tuple(args)
        if key not in self.calls:
            # Of a function that calls itself nothing is known.
            self.calls[key] = [True] * len(function.body.results)
            outer, self.varying = self.varying, set()
            self.calls[key] = self.block(function.body, args)
            self.varying = outer
        return self.calls[key]

    def block(self, block: Block, params: list[bool]) -> list[bool]:
        """The same for a block."""
        self.varying |= {param for param, varies in zip(block.params, params, strict=True) if varies}
        for eqn in block.eqns:
            self.varying |= {out for out, varies in zip(eqn.outs, self.eqn(eqn), strict=True) if varies}
        return [self.varies(result) for result in block.results]

    def varies(self, atom: Atom) -> bool:
        """Whether an atom varies."""
        return isinstance(atom, Var) and atom in self.varying

    def eqn(self, eqn: Eqn) -> list[bool]:
        """Whether each result of an equation varies."""
        args = [self.varies(arg) for arg in eqn.args]
        match eqn.op:
            case "if":
                return self.branches(eqn, args[0])
            case "for" | "while":
                return self.loop(eqn, args)
            case "build" | "reduce":
                self.found |= any(args) and (eqn.op == "build" or _makes_tensors(eqn, self.program))
                body = eqn.blocks[0]
                inner = self.block(body, [False] * len(body.params))
                sized = [
                    varies and _has_sizes(element.type) for varies, element in zip(inner, body.results, strict=True)
                ]
                return [any(args) or not _has_sizes(o.type) or s for o, s in zip(eqn.outs, sized, strict=True)]
            case "withacc":
                return [*args, *self.block(eqn.blocks[0], args)]
            case "call":
                return self.function(self.program.functions[eqn.params["callee"]], args)
            case "size" | "update":
                return [args[0]]
            case "index":
                return [args[0] if _has_sizes(out.type) else True for out in eqn.outs]
            case "box" | "unbox" | "callback":
                self.found = True
                return [True] * len(eqn.outs)
            case _:
                return [any(args)] * len(eqn.outs)

    def branches(self, eqn: Eqn, varies: bool) -> list[bool]:
        """Those of an ``if``."""
        self.found |= varies and _makes_tensors(eqn, self.program)
        first, second = (self.block(block, []) for block in eqn.blocks)
        return [varies or a or b for a, b in zip(first, second, strict=True)]

    def loop(self, eqn: Eqn, args: list[bool]) -> list[bool]:
        """Those of a loop; what is carried varies if it does after any iteration."""
        counted = eqn.op == "for"
        carries = eqn.params["carries"]
        carried = args[1:] if counted else args
        unknown = (counted and args[0]) or bool(eqn.params.get("nested", False))
        results: list[bool] = []
        for _ in range(len(carried) + 1):
            if not counted:
                unknown |= self.block(eqn.blocks[0], carried)[0]
            results = self.block(eqn.blocks[-1], [False, *carried] if counted else carried)
            after = [a or b for a, b in zip(carried, results, strict=False)]
            if after == carried:
                break
            carried = after
        unknown |= not counted and len(eqn.outs) > carries
        self.found |= unknown and (_makes_tensors(eqn, self.program) or len(eqn.outs) > carries)
        # A number that is carried on for longer is another one.
        carried = [varies or unknown for varies in carried]
        return [*carried, *(unknown or stacked for stacked in results[carries:])]


def _has_sizes(type_: Type) -> bool:
    return isinstance(type_, TensorType | TupleType | BoxType | AccType)


def _makes_tensors(eqn: Eqn, program: Program, seen: frozenset[str] = frozenset()) -> bool:
    """Whether memory may be asked for inside of an equation."""
    inner = [one for block in eqn.blocks for one in walk(block)]
    if any(_has_sizes(out.type) for one in (eqn, *inner) for out in one.outs):
        return True
    callees = {one.params["callee"] for one in inner if one.op == "call"} - seen
    functions: Mapping[str, Function] = program.functions
    return any(
        _has_sizes(out.type) or _makes_tensors(one, program, seen | callees)
        for name in callees
        for one in walk(functions[name].body)
        for out in one.outs
    )
