"""The functions that a text declares, and which of them a call means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ksc.ir.rules import agree
from ksc.ir.text.notation import Name
from ksc.ir.types import TupleType, Type, compatible


@dataclass(frozen=True, slots=True)
class Signature:
    """A function of the program: the name that it has in the IR, and its types."""

    symbol: str
    name: Name
    params: tuple[Type, ...]
    results: tuple[Type, ...]

    @property
    def argument(self) -> Type:
        """The one argument that the function takes in the view of a derivative: a tuple where there are several."""
        return tupled(self.params)

    @property
    def result(self) -> Type:
        """The one result in the view of a derivative."""
        return tupled(self.results)


def tupled(types: Sequence[Type]) -> Type:
    """The type itself where there is one, else their tuple."""
    return types[0] if len(types) == 1 else TupleType(tuple(types))


def fits(params: Sequence[Type], args: Sequence[Type]) -> bool:
    """Whether arguments suit parameters, one tuple standing for several arguments and the other way round."""
    if agree(args, params):
        return True
    if len(args) == 1 and isinstance(args[0], TupleType) and len(params) != 1:
        return agree(args[0].elems, params)
    return len(params) == 1 and len(args) != 1 and compatible(params[0], TupleType(tuple(args)))


class Signatures:
    """All functions that calls may mean, by name."""

    def __init__(self) -> None:
        self.by_symbol: dict[str, Signature] = {}
        self._by_name: dict[str, list[Signature]] = {}

    def declare(self, name: Name, params: Sequence[Type], results: Sequence[Type]) -> Signature | None:
        """Enter a function; None where one of this name and these parameters is there already."""
        symbol = str(name)
        if symbol in self.by_symbol:
            if name.of is not None or self.by_symbol[symbol].params == tuple(params):
                return None
            symbol = str(Name(name.base, type=tupled(params)))
        if symbol in self.by_symbol:
            return None
        signature = Signature(symbol, name, tuple(params), tuple(results))
        self.by_symbol[symbol] = signature
        for key in {str(name), str(name.untyped)}:
            self._by_name.setdefault(key, []).append(signature)
        return signature

    def named(self, name: Name) -> list[Signature]:
        """The functions of this name, and for a name with a type those that it picks.

        A function whose name was quoted is found under the quoted name only.
        """
        exact = [s for s in self._by_name.get(str(name), []) if name.quoted or not s.name.quoted]
        picked = name.innermost_type
        if exact or picked is None or name.of is not None:
            return exact
        return [s for s in self._by_name.get(str(name.untyped), []) if compatible(s.argument, picked)]

    def resolve(self, name: Name, args: Sequence[Type]) -> Signature | None:
        """The function of this name that suits the arguments best; None where there is none."""
        suitable = [s for s in self.named(name) if fits(s.params, args)]
        exact = [s for s in suitable if agree(args, s.params)] or suitable
        best = [s for s in exact if s.symbol == str(name)] or exact
        return best[0] if best else None
