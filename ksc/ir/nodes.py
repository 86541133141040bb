"""The IR: small, typed, immutable, functional, structured.

    program  ::= function* entry boxes
    function ::= name block                         its parameters are the block's
    block    ::= param* eqn* result*
    eqn      ::= out* "=" op arg* params block* span
    arg      ::= var | const                        result likewise

A variable is bound once and is known by identity, so renaming never captures. A nested block sees every variable
bound before it in the blocks around it. The structured ops:

    op       args            blocks                                outs
    if       cond            then () -> r*, else () -> r*          r*
    for      count init*     body (i c*) -> c* y*                  c* then each y stacked, (Tensor 1 y)
    while    init*           cond (c*) -> Bool, body (c*) -> c* y* c* then each y stacked, one per iteration
    build    size*           body (i*) -> e*                       (Tensor r e) for each e
    reduce   size*           body (i*) -> e*                       e*, combined by the monoid of its params
    withacc  init*           body (acc*) -> r*                     the accumulators' final values, then r*

``for`` has params carries (how many of the results are carried) and reverse (count down from count-1; stacked
results stay at their index). ``while`` has carries. A count below zero is zero; a size below zero is an error.
The param checkpoint bounds what the reverse of a loop keeps: the carries at the start of every segment of so many
iterations, and the tape of one segment, which is run again. 0, for ``for`` only, stands for the square root of the
count, and 1 for all carries of all iterations. A loop with another value stacks nothing.
With the param nested, ``build`` and the loops keep tensors that they stack apart, maybe of several sizes, as
(Tensor r (Tensor …)).

The plain ops that are not scalar primitives:

    index t i*  -> element, or the subtensor where fewer indices than the rank are given
    update t i* v -> t with the element replaced           size t -> Integer, params dim
    acc_add acc i* v -> ()                                 add v to the accumulator (at i*)
    call a* -> r*, params callee                           tuple a* -> Tuple; get t -> element, params n (from 0)
                   (and rev, fwd: functions that are its derivatives, given by hand; transpose: the one that is
                   not given is the transpose of the other)
    callback a* size* -> r*, params name, operands, results: a function of the host, see ksc.ir.host
    box a* -> Box, params name; unbox b -> a*              print a* -> ()
    assert c (i n)* -> (), params message; of indices also index: the name of a tensor, and those of its dimensions of
                   which an index i and the size n are given: what went wrong is the first i that is not in 0..n-1
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ksc.ir.types import Bool, BoolType, Float, FloatType, Integer, IntegerType, String, Type

EFFECTS = frozenset({"acc_add", "assert", "print"})
STRUCTURED = frozenset({"if", "for", "while", "build", "reduce", "withacc"})
MONOIDS = ("add", "mul", "min", "max", "and", "or")


@dataclass(frozen=True, slots=True)
class Span:
    """A range of the user's source. Lines count from 1, columns from 0, as in ``ast``; ``text`` is its first line."""

    file: str
    line: int
    col: int
    end_line: int
    end_col: int
    text: str = ""


PLACEHOLDER = ""
"""The name of a variable that neither the user nor a transform has given one."""


class Var:
    """A variable: a name for people, a type, and its identity. ``name`` need not be unique."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type_: Type) -> None:
        self.name = name
        self.type = type_

    def __repr__(self) -> str:
        return f"{self.name}:{self.type}"


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A constant. Two are equal when type and bits are: -0.0 differs from 0.0, and NaN equals itself."""

    value: float | int | bool | str
    type: Type

    def _key(self) -> tuple[Type, object]:
        if isinstance(self.type, FloatType):
            return self.type, struct.pack("<d", self.value)
        return self.type, self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Const) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


Atom = Var | Const


def const(value: float | int | bool | str) -> Const:
    """The constant of a Python value: bool, int, float and str give Bool, Integer, Float and String."""
    match value:
        case bool():
            return Const(value, Bool)
        case int():
            return Const(value, Integer)
        case str():
            return Const(value, String)
        case _:
            return Const(float(value), Float)


NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Eqn:
    """One operation: ``outs`` are bound to what ``op`` gives for ``args`` under the static ``params``."""

    outs: tuple[Var, ...]
    op: str
    args: tuple[Atom, ...]
    params: Mapping[str, Any] = field(default_factory=lambda: NO_PARAMS)
    blocks: tuple[Block, ...] = ()
    span: Span | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Straight-line equations between parameters and results; ``span`` is where the user gives the results."""

    params: tuple[Var, ...]
    eqns: tuple[Eqn, ...]
    results: tuple[Atom, ...]
    span: Span | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A closed block with a name; a derived one is called ``[rev f]``, ``[fwd f]`` and so on."""

    name: str
    body: Block
    span: Span | None = None

    @property
    def params(self) -> tuple[Var, ...]:
        return self.body.params

    @property
    def result_types(self) -> tuple[Type, ...]:
        return tuple(result.type for result in self.body.results)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Functions by name, callees before callers where there is no recursion, and the one that is the kernel."""

    functions: Mapping[str, Function]
    entry: str
    boxes: Mapping[str, tuple[Type, ...]] = field(default_factory=lambda: NO_PARAMS)

    @property
    def main(self) -> Function:
        return self.functions[self.entry]


def walk(block: Block) -> Iterator[Eqn]:
    """Every equation of the block and of the blocks inside it, outer ones first."""
    pending = [iter(block.eqns)]
    while pending:
        for eqn in pending[-1]:
            yield eqn
            if eqn.blocks:
                pending += [iter(inner.eqns) for inner in reversed(eqn.blocks)]
                break
        else:
            pending.pop()


def walk_inside(eqn: Eqn) -> Iterator[Eqn]:
    """Every equation of the blocks of an equation."""
    return (inner for block in eqn.blocks for inner in walk(block))


def default_value(type_: Type) -> Const | None:
    """The zero of a scalar type, None for any other."""
    match type_:
        case FloatType():
            return Const(0.0, type_)
        case IntegerType():
            return Const(0, type_)
        case BoolType():
            return Const(False, type_)
        case _:
            return None
