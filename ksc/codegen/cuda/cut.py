"""A program cut at its products of matrices, which a library computes, with kernels for what lies in between.

    h = relu (x @ w1 + b1)          multiply  p = x w1
    y = h @ w2                ⟶     run       h = relu (p + b1)         one kernel
                                    multiply  y = h w2

Products at the top of the entry are taken out; those in loops, and products with vectors, stay with the kernels. What
follows from sizes and numbers alone is computed again by each kernel that reads it, so that what is known of sizes is
known in each. Steps hand on tensors and floats; a program that would hand on anything else is not cut.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from ksc.codegen.cpp.names import function_identifier
from ksc.errors import UnsupportedError
from ksc.ir.builder import Builder, sizes_of
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var
from ksc.ir.rewrite import clone_function, free_in
from ksc.ir.sizes import ShapeProgram
from ksc.ir.types import Bool, Float, Integer, TensorType, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.dce import remove_dead_code
from ksc.passes.product import Factor, Product, product_of
from ksc.transforms.shapes import shapes


@dataclass(frozen=True, slots=True)
class Matrix:
    """An operand of a product.

    Attributes:
        value: its position among the values.
        transposed: whether the last two dimensions are to change places: the columns of the left operand and the rows
            of the right one are summed over.
        batch: which of the product's leading dimensions its own leading dimensions are.
    """

    value: int
    transposed: bool
    batch: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Multiply:
    """Products of matrices, one for each index of the leading dimensions, which become the value ``result``."""

    left: Matrix
    right: Matrix
    result: int

    @property
    def for_core(self) -> tuple[str, Any]:
        """As the core reads it."""
        return "multiply", (astuple(self.left), astuple(self.right), self.result)


@dataclass(frozen=True, slots=True)
class Argument:
    """What a kernel is handed: a value, or where ``dim`` is given the size of a value."""

    value: int
    dim: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A kernel, of a program whose parameters are ``arguments`` and whose results become the values ``results``."""

    program: Program
    arguments: tuple[Argument, ...]
    results: tuple[int, ...]

    @property
    def for_core(self) -> tuple[str, Any]:
        """As the core reads it."""
        values = tuple(argument.value for argument in self.arguments)
        dims = tuple(-1 if argument.dim is None else argument.dim for argument in self.arguments)
        return "run", (values, dims, self.results)


@dataclass(frozen=True, slots=True)
class Cut:
    """Steps that compute what a program does.

    Values are counted from the program's arguments on, in whose order they come first.

    Attributes:
        steps: in order.
        made: the sizes of the values that steps make, () for a float, from those of the arguments; and then for each
            condition on sizes and numbers that the program asserts 1 if it holds, else 0.
        kinds: of each of these what it consists of: ``"float"``, ``"int"`` or ``"bool"``.
        results: which values the program's results are.
    """

    steps: tuple[Multiply | Run, ...]
    made: ShapeProgram
    kinds: tuple[str, ...]
    results: tuple[int, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """The kernels, in order."""
        return tuple(step for step in self.steps if isinstance(step, Run))


def cut(program: Program, numbers: Collection[int]) -> Cut | None:
    """The program as products and kernels; None where it stays whole.

    That is where there is no product to take out, or where more than tensors and floats would have to be handed on.
    ``numbers`` are the positions of the Integer and Bool arguments that the host knows.
    """
    products = {eqn: found for eqn in program.main.body.eqns if (found := _taken_out(eqn)) is not None}
    if not products:
        return None
    try:
        return _Cutter(program, products, numbers).cut()
    except (_UncutError, UnsupportedError):
        return None


class _UncutError(Exception):
    """The program stays whole."""


def _taken_out(eqn: Eqn) -> Product | None:
    """The product of matrices that an equation is, each of its leading indices one of an operand's as well."""
    product = product_of(eqn)
    if product is None or product.left.is_vector or product.right.is_vector:
        return None
    parts = [factor.part for factor in (product.left, product.right)]
    if any(len(set(part)) < len(part) for part in parts) or set(product.batch) != {i for part in parts for i in part}:
        return None
    return product


class _Cutter:
    """Plans the steps. Stages are counted from 0; the products of a stage come before its kernel.

    Attributes:
        plain: the numbers that follow from sizes and from the program's own numbers alone.
        required: the conditions that the host can ask for, by the assertions of them.
        stages: of each equation that computes something else.
        values: the positions of the arguments, and of what steps hand on.
    """

    def __init__(self, program: Program, products: Mapping[Eqn, Product], numbers: Collection[int]) -> None:
        self.program = program
        self.eqns = program.main.body.eqns
        self.results = program.main.body.results
        self.products = products
        self.makers = {out: eqn for eqn in self.eqns for out in eqn.outs}
        self.plain = {param for param in program.main.params if is_scalar(param.type)}
        self.numbers = numbers
        self.required = self._required()
        for eqn in self.eqns:
            if self._is_plain(eqn):
                self.plain.update(eqn.outs)
        self.stages = self._staged()
        self.values = {param: k for k, param in enumerate(program.main.params)}
        for var in self._handed_on():
            self.values[var] = len(self.values)
        self.made = list(self.values)[len(program.main.params) :]
        self.places = self._places()

    def cut(self) -> Cut:
        """The steps. Raises _UncutError, and UnsupportedError where sizes are not known before."""
        steps: list[Multiply | Run] = []
        runs = 0
        for stage in range(1 + max(self.stages.values())):
            together = [eqn for eqn in self.eqns if self.stages.get(eqn) == stage]
            steps += [self._multiply(eqn) for eqn in together if eqn in self.products]
            kernel = [eqn for eqn in together if eqn not in self.products]
            if kernel:
                runs += 1
                steps.append(self._run(kernel, f"{function_identifier(self.program.entry)}_part{runs}"))
        kinds = tuple(_kind(var) for var in self.made)
        results = tuple(self.values[var] for var in self.results if isinstance(var, Var))
        sizes = shapes(self._giving([*self.made, *self.required.values()]), numbers=True)
        if not set(self.numbers).issuperset(sizes.values_used):
            raise _UncutError
        return Cut(tuple(steps), sizes, kinds, results)

    # What goes where

    def _is_plain(self, eqn: Eqn) -> bool:
        if eqn.op in PRIMITIVES:
            return all(isinstance(arg, Const) or arg in self.plain for arg in eqn.args)
        return eqn.op == "size" or eqn in self.required

    def _required(self) -> dict[Eqn, Var]:
        hosted = {param for k, param in enumerate(self.program.main.params) if k in self.numbers}
        asserted: dict[Eqn, Var] = {}
        for eqn in self.eqns:
            follows = all(isinstance(arg, Const) or arg in hosted for arg in eqn.args)
            if eqn.op == "size" or (follows and eqn.op in PRIMITIVES):
                hosted.update(eqn.outs)
            elif eqn.op == "assert" and isinstance(condition := eqn.args[0], Var) and condition in hosted:
                asserted[eqn] = condition
        known = shapes(self._giving(list(asserted.values())), numbers=True).results
        return {eqn: condition for (eqn, condition), found in zip(asserted.items(), known, strict=True) if found}

    def _staged(self) -> dict[Eqn, int]:
        """As early as operands allow, after assertions about elements; and then as late as readers do."""
        stages: dict[Eqn, int] = {}
        readers: dict[Eqn, list[Eqn]] = {}
        asserted = 0
        for eqn in self.eqns:
            if self._is_plain(eqn):
                continue
            stages[eqn] = 0 if eqn in self.products else asserted
            for made in self._computed(eqn):
                readers.setdefault(made, []).append(eqn)
                later = eqn in self.products and made not in self.products
                stages[eqn] = max(stages[eqn], stages[made] + later)
            if eqn.op == "assert":
                asserted = stages[eqn]
        for eqn in reversed(list(stages)):
            if eqn not in self.products and eqn in readers and not set(eqn.outs) & set(self.results):
                stages[eqn] = min(stages[reader] - (reader in self.products) for reader in readers[eqn])
        return stages

    def _computed(self, eqn: Eqn) -> list[Eqn]:
        """The equations, other than of plain numbers, that an equation reads."""
        return [self.makers[var] for var in free_in(eqn) if var in self.makers and var not in self.plain]

    def _handed_on(self) -> list[Var]:
        """What a product or a later kernel reads, what a product makes, and the results."""
        read = {
            var
            for eqn, stage in self.stages.items()
            for var in free_in(eqn)
            if var not in self.plain
            and (made := self.makers.get(var)) is not None
            and (eqn in self.products or made in self.products or self.stages[made] != stage)
        }
        results = {result for result in self.results if isinstance(result, Var)}
        handed = [var for var in self.makers if var in read | results and self.makers[var] in self.stages]
        if len(results) < len(self.results) or not results.issubset(handed):
            raise _UncutError
        return handed

    # Sizes

    def _giving(self, results: Sequence[Atom]) -> Program:
        """The program with other results."""
        main = self.program.main
        body = replace(main.body, results=tuple(results))
        return replace(self.program, functions={**self.program.functions, main.name: replace(main, body=body)})

    def _places(self) -> Mapping[tuple[Atom, int], int]:
        """By tensor and dimension, and by plain number and 0, a number that is the same where sizes are."""
        known = [var for var in self.values if isinstance(var.type, TensorType)]
        known += [var for var in self.plain if var.type == Integer]
        table = shapes(self._giving(known), numbers=True)
        return {
            (var, dim): place
            for var, places in zip(known, table.results, strict=True)
            for dim, place in enumerate(places)
        }

    # Steps

    def _multiply(self, eqn: Eqn) -> Multiply:
        product = self.products[eqn]

        def matrix(factor: Factor) -> Matrix:
            tensor = factor.read.args[0]
            assert isinstance(tensor, Var)
            return Matrix(self.values[tensor], not factor.by_rows, tuple(map(product.batch.index, factor.part)))

        return Multiply(matrix(product.left), matrix(product.right), self.values[eqn.outs[0]])

    def _run(self, eqns: Sequence[Eqn], name: str) -> Run:
        """The kernel of these equations, after what follows from the sizes of its arguments, so that it is known."""
        wanted = set(eqns)
        own = {out for eqn in eqns for out in eqn.outs}
        read = free_in(*eqns)
        given = [var for var in read if var not in self.plain]
        leaves = self._leaves([var for var in read if var in self.plain], own.union(given))
        first = [same for var in leaves if (same := self._size_among(given, var)) is not None]
        told = [var for var in leaves if all(var not in eqn.outs for eqn in first)]
        then: list[Eqn] = []
        known, late = set(leaves), set(own)
        for eqn in self.eqns:
            if eqn in wanted:
                then.append(eqn)
            elif self._is_plain(eqn) and known.isdisjoint(eqn.outs) and self._follows(eqn, known, own.union(given)):
                known.update(eqn.outs)
                is_late = not late.isdisjoint(eqn.args)
                late.update(eqn.outs if is_late else ())
                (then if is_late else first).append(eqn)
        handed = tuple(var for var in self.made if var in own)
        block = Block((*given, *told), (*first, *self._agreed(given, told, first), *then), handed)
        main = clone_function(Function(name, block, self.program.main.span))
        program = remove_dead_code(Program({**self.program.functions, name: main}, name, self.program.boxes))
        arguments = [self._argument(var) for var in block.params]
        return Run(program, tuple(arguments), tuple(self.values[var] for var in handed))

    def _size_among(self, tensors: Sequence[Var], number: Var) -> Eqn | None:
        """A number that is the size of another tensor, as the size of one of these, where that is the same."""
        maker = self.makers.get(number)
        for tensor in tensors if maker is not None else ():
            for dim in range(tensor.type.rank if isinstance(tensor.type, TensorType) else 0):
                if self.places[tensor, dim] == self.places.get((number, 0)):
                    return Eqn((number,), "size", (tensor,), {"dim": dim})
        return None

    def _leaves(self, read: Sequence[Var], tensors: Collection[Var]) -> list[Var]:
        """What the plain numbers ``read`` follow from, other than sizes of these tensors."""
        found: dict[Var, None] = {}
        seen: set[Var] = set()
        pending = list(read)
        while pending:
            var = pending.pop()
            if var in seen:
                continue
            seen.add(var)
            maker = self.makers.get(var)
            if maker is None or (maker.op == "size" and maker.args[0] not in tensors):
                found[var] = None
            elif maker.op != "size":
                pending += [arg for arg in maker.args if isinstance(arg, Var)]
        return list(found)

    def _follows(self, eqn: Eqn, known: Collection[Var], tensors: Collection[Var]) -> bool:
        """Whether a plain equation reads what is known, or the size of one of these tensors."""
        if eqn.op == "size":
            return eqn.args[0] in tensors
        return all(isinstance(arg, Const) or arg in known for arg in eqn.args)

    def _argument(self, var: Var) -> Argument:
        maker = self.makers.get(var)
        if maker is None or maker.op != "size":
            return Argument(self.values[var])
        (tensor,) = maker.args
        if not isinstance(tensor, Var) or tensor not in self.values:
            raise _UncutError
        return Argument(self.values[tensor], maker.params["dim"])

    def _agreed(self, tensors: Sequence[Var], told: Sequence[Var], first: Sequence[Eqn]) -> list[Eqn]:
        """Assertions of what holds between sizes of these tensors and numbers, for passes to know."""
        builder = Builder()
        sizes = {(eqn.args[0], eqn.params["dim"]): eqn.outs[0] for eqn in first if eqn.op == "size"}
        same: dict[int, Atom] = {}
        for number in (*told, *(out for eqn in first for out in eqn.outs)):
            if (place := self.places.get((number, 0))) is not None:
                same.setdefault(place, number)
        for tensor in tensors:
            if isinstance(tensor.type, TensorType):
                for dim, own in enumerate(sizes_of(builder, tensor)):
                    size = sizes.get((tensor, dim), own)
                    known = same.setdefault(self.places[tensor, dim], size)
                    if known is not size:
                        holds = builder.apply("eq", size, known)
                        builder.emit("assert", [holds], [], params={"message": "steps agree on sizes"})
        return builder.eqns


def _kind(var: Var) -> str:
    """What a value consists of. Raises _UncutError where it cannot be handed on."""
    elem = var.type.elem if isinstance(var.type, TensorType) else var.type
    if elem == Float:
        return "float"
    if isinstance(var.type, TensorType) and elem in (Integer, Bool):
        return "int" if elem == Integer else "bool"
    raise _UncutError
