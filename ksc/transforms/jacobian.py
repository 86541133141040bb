"""The Jacobian of a program: its jvp or vjp for every unit tangent or cotangent, with one primal for all of them.

    (def [jac f] (Tensor 2 Float) (x : (Tensor 1 Float))
      (build (size x) (size x) (lam (i j) (index (index j (build (size x) (lam d ([fwd f] x (onehot d))))) i))))

Forward mode asks for a direction per element of an argument, reverse mode for one per element of a result. Where the
form of the program shows that element i of a result depends on element i of an argument alone, one direction serves
all i, and what is not on the diagonal is 0 even where a derivative is infinite: no seed of 0 meets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from ksc.errors import DifferentiationError
from ksc.ir.builder import Builder, sizes_of, stack_type
from ksc.ir.nodes import Atom, Block, Function, Program, Var, const
from ksc.ir.rewrite import Env, assemble, clone_block
from ksc.ir.types import Float, FloatType, Integer, TensorType, Type
from ksc.passes.inline import inline_small
from ksc.passes.innermost import directions_innermost
from ksc.passes.interchange import over_directions
from ksc.passes.share import share_structures
from ksc.passes.unrolled import is_worth_unrolling, unroll_directions
from ksc.transforms.forward.functions import Derivatives
from ksc.transforms.module import Mask, Module, chosen_params, differentiable_results
from ksc.transforms.reverse.pair import Pairs
from ksc.transforms.sparsity import is_rowwise, shared_dimensions

Mode = Literal["auto", "forward", "reverse"]


def jacobian(program: Program, *, wrt: Sequence[int] | None = None, mode: Mode = "auto") -> Program:
    """The program of all derivatives of the entry's results.

    Args:
        program: any program without tuples.
        wrt: the parameters to differentiate by, Floats and tensors of Floats; all that have a tangent where it is None.
        mode: which derivative is taken; ``"auto"`` takes the one that needs fewer directions as far as the types
            tell, and forward mode where they tell nothing.

    Returns:
        A program whose entry ``[jac f]`` takes the parameters of f and gives, for each result that has a tangent and
        within that for each parameter chosen, a tensor of the sizes of the result and then those of the
        parameter; a Float where both are.

    Raises:
        DifferentiationError: an operation on the way has no derivative.
        ValueError: ``wrt`` names a parameter that is not there or has no tangent.
    """
    module = Module(inline_small(program))
    main = module.source.main
    active = chosen_params(main, wrt)
    if mode == "auto":
        mode = cheaper_mode(main, active)
    builder = Builder(main.span)
    params = tuple(Var(param.name, param.type) for param in main.params)
    whole = _Whole(module, main, builder, params, shared_dimensions)
    results = whole.forward(active) if mode == "forward" else whole.reverse(active)
    name = module.new_name(f"[jac {main.name}]")
    module.functions[name] = Function(name, builder.block(params, results), main.span)
    return share_structures(assemble(module.functions, name, module.boxes))


def row_blocks(program: Program, *, wrt: Sequence[int], mode: Mode = "auto") -> Program:
    """The blocks on the diagonal of Jacobians of which nothing else is different from zero.

    Args:
        program: any program without tuples. Row i of each result depends on row i of each parameter chosen alone; a
            row is what stands at an index of the first dimension.
        wrt: parameters that are tensors of Floats.
        mode: as for ``jacobian``; the directions are those of one row.

    Returns:
        A program as that of ``jacobian``, but for the first dimension of the parameters, which the results do not have.

    Raises:
        DifferentiationError: the form of the program does not show that rows depend on rows.
        ValueError: ``wrt`` names a parameter that is not there or has no tangent.
    """
    module = Module(inline_small(program))
    main = module.source.main
    active = chosen_params(main, wrt)
    for k in differentiable_results(main):
        for p in wrt:
            if not is_rowwise(main, k, p):
                raise DifferentiationError(
                    f"it does not show that row i of result {k} of {main.name} depends on row i of "
                    f"{main.params[p].name} alone",
                    remedy="take the dense Jacobian, or map a function of one row with vmap and take its jacobian",
                    span=main.span,
                )
    if mode == "auto":
        mode = cheaper_mode(main, active)
    builder = Builder(main.span)
    params = tuple(Var(param.name, param.type) for param in main.params)
    whole = _Whole(module, main, builder, params, lambda main, result, param: 1, blocks=True)
    results = whole.forward(active) if mode == "forward" else whole.reverse(active)
    name = module.new_name(f"[blocks {main.name}]")
    module.functions[name] = Function(name, builder.block(params, results), main.span)
    return share_structures(assemble(module.functions, name, module.boxes))


def compressed(program: Program, *, wrt: Sequence[int], mode: Literal["forward", "reverse"]) -> Program:
    """Products of Jacobians with tables of directions, one primal for all directions of a table.

    Args:
        program: any program without tuples.
        wrt: the parameters to differentiate by, in increasing order.
        mode: ``"forward"`` multiplies with tangents of each of ``wrt``, the others zero; ``"reverse"`` with cotangents
            of each result that has any.

    Returns:
        A program that takes the parameters of f and then a table for each of ``wrt`` (of the results): its first
        dimension counts directions, the others are those of the parameter (the result). It gives, for each table and
        within that for each result (each of ``wrt``), the products stacked, directions first.

    Raises:
        DifferentiationError: an operation on the way has no derivative.
        ValueError: ``wrt`` names a parameter that is not there or has no tangent.
    """
    module = Module(inline_small(program))
    main = module.source.main
    active = chosen_params(main, wrt)
    builder = Builder(main.span)
    params = tuple(Var(param.name, param.type) for param in main.params)
    whole = _Whole(module, main, builder, params)
    seeded = [params[k].type for k in wrt] if mode == "forward" else _seeded(main)
    tables = [Var("seeds", stack_type(1, type_)) for type_ in seeded]
    results = (
        whole.compressed_forward(active, tables) if mode == "forward" else whole.compressed_reverse(active, tables)
    )
    name = module.new_name(f"[{mode} products {main.name}]")
    module.functions[name] = Function(name, builder.block((*params, *tables), results), main.span)
    return share_structures(assemble(module.functions, name, module.boxes))


def _seeded(main: Function) -> list[Type]:
    return [main.result_types[k] for k in differentiable_results(main)]


def cheaper_mode(main: Function, active: Mask) -> Literal["forward", "reverse"]:
    """The mode that needs fewer directions: by the number of elements where it is known, else by rank."""
    inputs = [param.type for param, on in zip(main.params, active, strict=True) if on]
    outputs = [main.result_types[k] for k in differentiable_results(main)]
    return "reverse" if _extent(outputs) < _extent(inputs) else "forward"


def _extent(types: Sequence[Type]) -> tuple[int, int]:
    """The highest number of dimensions of unknown size, then the number of elements, such a size counted as 1."""
    unknown, elements = 0, 0
    for type_ in types:
        sizes = type_.sizes if isinstance(type_, TensorType) else ()
        unknown = max(unknown, sum(size is None for size in sizes))
        elements += prod(size for size in sizes if size is not None)
    return unknown, elements


@dataclass(slots=True)
class _Whole:
    """The equations of a Jacobian in the making.

    Attributes:
        shared: of a result and a parameter, over how many leading dimensions rows depend on rows alone; all such rows
            share their directions.
        blocks: whether only the blocks of such rows are asked for.
    """

    module: Module
    main: Function
    builder: Builder
    params: tuple[Var, ...]
    shared: Callable[[Function, int, int], int] = lambda main, result, param: 0
    blocks: bool = False

    def forward(self, active: Mask) -> list[Atom]:
        """All derivatives, by a direction for each element of each active parameter."""
        derivatives = Derivatives(self.module)
        tangible = differentiable_results(self.main)
        chosen = [p for p, on in enumerate(active) if on]
        found: dict[tuple[int, int], Atom] = {}
        for p in chosen:
            mask = tuple(j == p for j in range(len(active)))
            function = derivatives.derive(self.main.name, mask, f"[fwd{p} {self.main.name}]", with_value=False)
            param = self.params[p]
            for shared, part in _grouped(self.shared(self.main, k, p) for k in tangible):
                columns = self._directions(function.body, part, param, shared, innermost=True)
                for n, column in zip(part, columns, strict=True):
                    result = self.main.result_types[tangible[n]]
                    found[n, p] = self._result_first(column, result, param, shared)
        return [found[n, p] for n in range(len(tangible)) for p in chosen]

    def reverse(self, active: Mask) -> list[Atom]:
        """All derivatives, by a direction for each element of each result."""
        pairs = Pairs(self.module)
        primal = clone_block(self.main.body, dict(zip(self.main.params, self.params, strict=True)))
        tangible = differentiable_results(self.main)
        results: list[Atom] = []
        for n, k in enumerate(tangible):
            seeds = tuple(j == n for j in range(len(tangible)))
            function = pairs.rev_of(self.main.name, active, seeds)
            like = primal.results[k]
            if isinstance(like.type, TensorType):
                # Only its sizes are read: what else there is of the primal is dead.
                self.builder.eqns.extend(primal.eqns)
                primal = Block((), (), primal.results, primal.span)
            targets = [p for p, on in enumerate(active) if on]
            found: dict[int, Atom] = {}
            for shared, part in _grouped(self.shared(self.main, k, p) for p in targets):
                for m, bar in zip(part, self._directions(function.body, part, like, shared), strict=True):
                    found[m] = self._rows_first(bar, like, self.params[targets[m]], shared)
            results += [found[m] for m in range(len(targets))]
        return results

    def _directions(
        self, body: Block, part: Sequence[int], like: Atom, shared: int, *, innermost: bool = False
    ) -> list[Atom]:
        """Some results of a derivative whose last parameter is a seed, for each element of ``like`` as direction.

        A direction is one for all rows of the first ``shared`` dimensions. They are the first dimensions of what is
        given, the last ones with ``innermost``.
        """
        body = Block(body.params, body.eqns, tuple(body.results[k] for k in part), body.span)
        env: Env = dict(zip(body.params, self.params, strict=False))
        if isinstance(like.type, FloatType):
            env[body.params[-1]] = const(1.0)
            block = clone_block(Block((), body.eqns, body.results, body.span), env)
            self.builder.eqns.extend(block.eqns)
            return list(block.results)
        sizes = sizes_of(self.builder, like)
        directions = tuple(Var("d", Integer) for _ in sizes[shared:])
        inner = Builder(self.main.span)
        env[body.params[-1]] = one_hot(inner, sizes, directions, like.type)
        block = clone_block(Block((), body.eqns, body.results, body.span), env)
        whole = Block((), (*inner.eqns, *block.eqns), block.results, block.span)
        if not directions:
            self.builder.eqns.extend(whole.eqns)
            return list(whole.results)
        own, effectful = sizes[shared:], self.module.effectful
        if is_worth_unrolling(own, directions, whole):
            return unroll_directions(self.builder, own, directions, whole, effectful, innermost=innermost)
        spread = directions_innermost if innermost else over_directions
        return spread(self.builder, own, directions, whole, effectful)

    def compressed_forward(self, active: Mask, tables: Sequence[Var]) -> list[Atom]:
        """The tangents of all results for the rows of a table for each active parameter."""
        derivatives = Derivatives(self.module)
        results: list[Atom] = []
        for k, table in zip((k for k, on in enumerate(active) if on), tables, strict=True):
            mask = tuple(j == k for j in range(len(active)))
            function = derivatives.derive(self.main.name, mask, f"[fwd{k} {self.main.name}]", with_value=False)
            results += self._products(function.body, self.params[k], table)
        return results

    def compressed_reverse(self, active: Mask, tables: Sequence[Var]) -> list[Atom]:
        """The cotangents of all active parameters for the rows of a table for each result."""
        pairs = Pairs(self.module)
        primal = clone_block(self.main.body, dict(zip(self.main.params, self.params, strict=True)))
        # Only the sizes of its results are read: what else there is of the primal is dead.
        self.builder.eqns.extend(primal.eqns)
        tangible = differentiable_results(self.main)
        results: list[Atom] = []
        for n, (k, table) in enumerate(zip(tangible, tables, strict=True)):
            seeds = tuple(j == n for j in range(len(tangible)))
            function = pairs.rev_of(self.main.name, active, seeds)
            results += self._products(function.body, primal.results[k], table)
        return results

    def _products(self, body: Block, like: Atom, table: Var) -> list[Atom]:
        """The results of a derivative whose last parameter is a seed, for each row of a table of seeds."""
        count, *own = sizes_of(self.builder, table)
        sizes = sizes_of(self.builder, like) if isinstance(like.type, TensorType) else []
        for size, wanted in zip(own, sizes, strict=True):
            same = self.builder.apply("eq", size, wanted, name="same")
            self.builder.emit("assert", [same], [], params={"message": "a direction has the sizes of what it changes"})
        direction = Var("d", Integer)
        inner, deep = Builder(self.main.span), Builder(self.main.span)
        at = tuple(Var("i", Integer) for _ in sizes)
        (value,) = (deep if sizes else inner).emit("index", [table, direction, *at], [Float], names=["seed"])
        seed: Atom = value
        if sizes:
            (seed,) = inner.emit("build", sizes, [like.type], names=["seed"], blocks=[deep.block(at, [value])])
        env: Env = dict(zip(body.params, self.params, strict=False))
        env[body.params[-1]] = seed
        block = clone_block(Block((), body.eqns, body.results, body.span), env)
        whole = Block((), (*inner.eqns, *block.eqns), block.results, block.span)
        return over_directions(self.builder, [count], (direction,), whole, self.module.effectful)

    def _result_first(self, columns: Atom, result: Type, param: Var, shared: int) -> Atom:
        """What is stacked over the elements of a row of a parameter, after the dimensions of the result."""
        if not isinstance(result, TensorType) or not isinstance(param.type, TensorType):
            return columns
        sizes = sizes_of(self.builder, columns)
        own, rows = sizes[: result.rank], sizes_of(self.builder, param)[:shared]
        if self.blocks or not rows:
            return columns

        def place(at: Sequence[Var]) -> list[Var]:
            return [*at[: result.rank], *at[result.rank + shared :]]

        return self._placed(columns, [*own, *rows, *sizes[result.rank :]], place, (result, param.type), shared)

    def _rows_first(self, bars: Atom, like: Atom, param: Var, shared: int) -> Atom:
        """What is stacked over the elements of a row of a result, with the rows of the result in front."""
        if not shared:
            return bars
        assert isinstance(like.type, TensorType)
        assert isinstance(param.type, TensorType)
        depth = like.type.rank - shared
        own = sizes_of(self.builder, bars)
        rows = [] if self.blocks else own[depth : depth + shared]
        sizes = [*sizes_of(self.builder, like)[:shared], *own[:depth], *rows, *own[depth + shared :]]

        def place(at: Sequence[Var]) -> list[Var]:
            row = at[:shared] if self.blocks else at[shared + depth : shared + depth + shared]
            return [*at[shared : shared + depth], *row, *at[len(at) - (len(own) - depth - shared) :]]

        return self._placed(bars, sizes, place, (like.type, param.type), shared)

    def _placed(
        self,
        source: Atom,
        sizes: Sequence[Atom],
        place: Callable[[Sequence[Var]], list[Var]],
        types: tuple[TensorType, TensorType],
        shared: int,
    ) -> Atom:
        """The Jacobian of a result by a parameter of these types, its element at ``at`` that of ``source`` at a place.

        Unless only blocks are asked for, what is not in a block of the diagonal is 0.
        """
        result, param = types
        at = tuple(Var("i" if k < result.rank else "d", Integer) for k in range(len(sizes)))
        inner = Builder(self.main.span)
        index = place(at)
        value: Atom = source
        if index:
            (value,) = inner.emit("index", [source, *index], [Float])
        if not self.blocks:
            for i, d in zip(at[:shared], at[result.rank : result.rank + shared], strict=True):
                same = inner.apply("eq", i, d, name="same")
                value = inner.apply("select", same, value, const(0.0), name="entry")
        type_ = TensorType(len(sizes), Float, (*result.sizes, *param.sizes[shared if self.blocks else 0 :]))
        blocks = [inner.block(at, [value])]
        name = "blocks" if self.blocks else "jacobian"
        return self.builder.emit("build", sizes, [type_], names=[name], blocks=blocks)[0]


def _grouped(numbers: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Each number that occurs, with the places at which it does."""
    places: dict[int, list[int]] = {}
    for place, number in enumerate(numbers):
        places.setdefault(number, []).append(place)
    return list(places.items())


def one_hot(builder: Builder, sizes: Sequence[Atom], at: Sequence[Atom], type_: Type) -> Atom:
    """A tensor with 1 at the indices ``at`` of its last dimensions and 0 elsewhere."""
    inner = Builder(builder.span)
    indices = tuple(Var("i", Integer) for _ in sizes)
    pairs = list(zip(indices[len(indices) - len(at) :], at, strict=True))
    value: Atom = inner.apply("kronecker", *pairs[-1], name="seed") if pairs else const(1.0)
    for i, d in pairs[:-1]:
        same = inner.apply("eq", i, d, name="same")
        value = inner.apply("select", same, value, const(0.0), name="seed")
    return builder.emit("build", sizes, [type_], names=["seed"], blocks=[inner.block(indices, [value])])[0]
