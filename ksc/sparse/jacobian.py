"""Jacobians as sparse matrices: the pattern is found or declared, its columns or rows coloured, and a direction per
colour computed.

    x x . .      columns 0 and 2 have no row in common, nor 1 and 3:
    . x x .      J (1 0 1 0) and J (0 1 0 1) are all of J
    . . x x
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import torch

from ksc.arguments import Leaf, map_leaves, rebuild
from ksc.errors import ArgumentError, DifferentiationError
from ksc.frontend.values import NONE, Abstract, Struct, Value
from ksc.ir.types import is_differentiable
from ksc.sparse.pattern import Colouring, Pattern, colour_columns, diagonal_blocks, from_sets, from_tensor, stacked
from ksc.sparse.products import Products
from ksc.specialise import Lanes, Specialisation
from ksc.steps import chosen_arguments, float_leaves

if TYPE_CHECKING:
    from ksc.kernel import Kernel

Mode = Literal["auto", "forward", "reverse"]
Declared = torch.Tensor | tuple[torch.Tensor, ...]

MAX_PLANS = 64
"""How many patterns are kept: one for each choice of sizes and of integers."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a call with some sizes computes.

    Attributes:
        wrt: the leaves of the arguments to differentiate by, increasing.
        tangible: the float results.
        patterns: of each of ``tangible`` by each of ``wrt``.
        mode: whether directions are those of arguments or of results.
        colourings: one for each of ``wrt`` (of ``tangible``).
        products: the kernel that multiplies the directions.
    """

    wrt: tuple[int, ...]
    tangible: tuple[int, ...]
    patterns: dict[tuple[int, int], Pattern]
    mode: Literal["forward", "reverse"]
    colourings: tuple[Colouring, ...]
    products: Specialisation

    @property
    def directions(self) -> int:
        """How many directions are computed."""
        return sum(colouring.count for colouring in self.colourings)


class SparseJacobian:
    """The Jacobian of a kernel as ``torch.sparse_csr`` matrices; made by ``knossos.jacobian(f, sparse=…)``.

    Its rows are the elements of the flattened result, its columns those of the flattened argument. Stored are the
    places of the pattern, whatever their value. Where the result or the argument is a structure there is a matrix for
    each pair of floats, in the structure that the dense Jacobian has.

    Raises:
        ArgumentError: the kernel maps, or a declared pattern has not the sizes of the matrix.
        DifferentiationError: there is no such derivative, no pattern was found, or the declared one lacks a place.
    """

    def __init__(
        self, kernel: Kernel, argnums: int | tuple[int, ...], mode: Mode = "auto", declared: Declared | None = None
    ) -> None:
        if mode not in ("auto", "forward", "reverse"):
            raise ArgumentError(f"mode={mode!r} is not known", remedy='give "auto", "forward" or "reverse"')
        self.kernel = kernel
        self.argnums = argnums
        self.mode = mode
        self.declared = declared
        self._declared = None if declared is None else tuple(map(from_tensor, _as_tuple(declared)))
        self._lock = threading.Lock()
        self._plans: dict[Hashable, Plan] = {}
        self._products: dict[tuple[Specialisation, Products], Specialisation] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The matrices for the arguments of the kernel."""
        special, leaves, plan = self._plan(args, kwargs)
        values = [_as_tensor(leaf) for leaf in leaves]
        dtype = _float_dtype(leaves)
        tables = [colouring.seeds(dtype) for colouring in plan.colourings]
        probes = [_probe(len(colouring.of), dtype) for colouring in plan.colourings] if self._declared else []
        if probes:
            tables = [torch.cat((table, probe[None])) for table, probe in zip(tables, probes, strict=True)]
        shapes = self._seed_shapes(special, leaves, plan)
        seeds = [table.reshape(len(table), *shape) for table, shape in zip(tables, shapes, strict=True)]
        found = plan.products.call("primal")(*values, *seeds)
        products = found if isinstance(found, tuple) else (found,)
        matrices = {}
        for n, (k, p) in enumerate(self._pairs(plan)):
            at = plan.wrt.index(p) if plan.mode == "forward" else plan.tangible.index(k)
            pattern = plan.patterns[k, p]
            rows = products[n].reshape(len(products[n]), prod(products[n].shape[1:]))
            matrices[k, p] = _decompressed(rows, pattern, plan.colourings[at], plan.mode)
            if probes:
                _check(matrices[k, p], probes[at], rows[-1], plan.mode, self.kernel.__name__)
        return self._structured(special, plan, matrices)

    def pattern(self, *args: Any, **kwargs: Any) -> Any:
        """The patterns for these arguments, of which only sizes and integers count: sparse_csr matrices of bools."""
        special, _, plan = self._plan(args, kwargs)
        matrices = {at: _matrix(p, torch.ones(len(p.columns), dtype=torch.bool)) for at, p in plan.patterns.items()}
        return self._structured(special, plan, matrices)

    def directions(self, *args: Any, **kwargs: Any) -> int:
        """How many directions a call with these arguments computes: the number of colours."""
        return self._plan(args, kwargs)[2].directions

    # What is known of a call

    def _plan(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Specialisation, list[Leaf], Plan]:
        if self.kernel.mapping.lift != "scalar":
            raise ArgumentError(
                f"sparse Jacobians are those of registered functions, and {self.kernel.__name__} maps",
                remedy="take that of a function that calls it: register(lambda x: mapped(x))",
            )
        special, leaves = self.kernel._specialise(args, kwargs)
        key = (special, tuple(_key(leaf) for leaf in leaves))
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                plan = self._made(special, leaves)
                while len(self._plans) >= MAX_PLANS:
                    del self._plans[next(iter(self._plans))]
                self._plans[key] = plan
        return special, leaves, plan

    def _made(self, special: Specialisation, leaves: Sequence[Leaf]) -> Plan:
        types = special.program.main.result_types
        tangible = tuple(k for k, type_ in enumerate(types) if is_differentiable(type_))
        if not tangible:
            raise DifferentiationError("the function gives no float, so it has no Jacobian", span=special.spec.span)
        wrt = tuple(sorted(self._chosen(special)))
        heights = {k: prod(shape) for k, shape in zip(tangible, _result_shapes(special, leaves, tangible), strict=True)}
        widths = {p: prod(_shape(leaves[p])) for p in wrt}
        if self._declared is not None:
            patterns = self._checked(special, tangible, heights, widths)
        else:
            patterns = _found(special, leaves, tangible, wrt)
        by_columns = [colour_columns(stacked([patterns[k, p] for k in tangible])) for p in wrt]
        by_rows = [colour_columns(stacked([patterns[k, p].transposed() for p in wrt])) for k in tangible]
        mode = self.mode
        if mode == "auto":
            mode = "reverse" if _total(by_rows) < _total(by_columns) else "forward"
        step = Products(wrt, mode)
        colourings = tuple(by_columns if mode == "forward" else by_rows)
        return Plan(wrt, tangible, patterns, mode, colourings, self._built(special, step))

    def _chosen(self, special: Specialisation) -> list[int]:
        """The float leaves of the chosen arguments, in the order in which these are named."""
        positions = chosen_arguments(self.argnums, special.params)
        return [leaf for k in positions for leaf in float_leaves(special.params, k)]

    def _checked(
        self, special: Specialisation, tangible: Sequence[int], heights: dict[int, int], widths: dict[int, int]
    ) -> dict[tuple[int, int], Pattern]:
        assert self._declared is not None
        pairs = [(k, p) for k in tangible for p in self._chosen(special)]
        if len(pairs) != len(self._declared):
            raise ArgumentError(f"{len(self._declared)} pattern(s) are declared for {len(pairs)} matrices")
        for (k, p), pattern in zip(pairs, self._declared, strict=True):
            if (pattern.height, pattern.width) != (heights[k], widths[p]):
                raise ArgumentError(
                    f"a pattern of {pattern.height} x {pattern.width} is declared for a matrix of "
                    f"{heights[k]} x {widths[p]}",
                    remedy="give a row for each element of the result and a column for each element of the argument",
                )
        return dict(zip(pairs, self._declared, strict=True))

    def _built(self, special: Specialisation, step: Products) -> Specialisation:
        if (special, step) not in self._products:
            kernel, params, lanes = self.kernel, special.params, special.lanes
            self._products[special, step] = products_of(kernel, params, lanes, step)
        return self._products[special, step]

    # Where results belong

    @staticmethod
    def _pairs(plan: Plan) -> list[tuple[int, int]]:
        """The result and the argument of each product, in the order in which the kernel gives them."""
        if plan.mode == "forward":
            return [(k, p) for p in plan.wrt for k in plan.tangible]
        return [(k, p) for k in plan.tangible for p in plan.wrt]

    @staticmethod
    def _seed_shapes(special: Specialisation, leaves: Sequence[Leaf], plan: Plan) -> list[tuple[int, ...]]:
        if plan.mode == "forward":
            return [_shape(leaves[p]) for p in plan.wrt]
        return _result_shapes(special, leaves, plan.tangible)

    def _structured(self, special: Specialisation, plan: Plan, matrices: dict[tuple[int, int], torch.Tensor]) -> Any:
        positions = chosen_arguments(self.argnums, special.params)
        order = self._chosen(special)
        tangible: Iterator[int] = iter(plan.tangible)

        def place(leaf: Abstract) -> Value:
            return leaf if is_differentiable(leaf.type) else NONE

        def block(of: Abstract) -> Value:
            if not is_differentiable(of.type):
                return NONE
            parts = tuple(map_leaves(special.params[k], place) for k in positions)
            return parts[0] if isinstance(self.argnums, int) else Struct(tuple, parts)

        flat = [matrices[k, p] for k in tangible for p in order]
        return rebuild(map_leaves(special.result, block), iter(flat))

    def __repr__(self) -> str:
        return f"<sparse jacobian of {self.kernel!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseJacobian:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return SparseJacobian, (self.kernel, self.argnums, self.mode, self.declared)


def products_of(kernel: Kernel, params: Sequence[Value], lanes: Sequence[Lanes], step: Products) -> Specialisation:
    """The kernel of ``step`` after the steps of ``kernel``, for one structure of arguments."""
    base = kernel._special(params, tuple(lanes))
    return Specialisation(
        kernel.__wrapped__,
        params,
        tuple(kernel._signature.parameters),
        (*kernel.steps, step),
        kernel.mapping,
        lanes,
        lambda: (products_operator, (kernel, tuple(params), tuple(lanes), step)),
        added=step.tables(params, base.program.main.result_types),
    )


def products_operator(kernel: Kernel, params: Sequence[Value], lanes: Sequence[Lanes], step: Products) -> Any:
    """Its operator, as it is found again after pickling."""
    return products_of(kernel, params, lanes, step).operator


def _found(
    special: Specialisation, leaves: Sequence[Leaf], tangible: Sequence[int], wrt: Sequence[int]
) -> dict[tuple[int, int], Pattern]:
    """The patterns that the program shows at the sizes of the call."""
    from ksc.passes import prepare
    from ksc.transforms.dependence import dependence
    from ksc.transforms.sparsity import is_rowwise

    program = prepare(special.program)
    try:
        sets = dependence(program, [_abstract(leaf) for leaf in leaves], wrt)
    except DifferentiationError:
        if not all(is_rowwise(program.main, k, p) for k in tangible for p in wrt):
            raise
        shapes = dict(zip(tangible, _result_shapes(special, leaves, tangible), strict=True))
        return {
            (k, p): diagonal_blocks(shapes[k][0], prod(shapes[k][1:]), prod(_shape(leaves[p])[1:]))
            for k in tangible
            for p in wrt
        }
    patterns = {}
    start = 0
    for p in wrt:
        width = prod(_shape(leaves[p]))
        for k in tangible:
            rows = [sets[k]] if isinstance(sets[k], int) else list(sets[k].flat)
            patterns[k, p] = from_sets(rows, start, width)
        start += width
    return patterns


def _abstract(leaf: Leaf) -> Any:
    """A leaf as ``dependence`` takes it: floats by their sizes, integers by their values."""
    if leaf.kind == "float":
        return _shape(leaf)
    if not isinstance(leaf.value, torch.Tensor):
        return leaf.value
    return leaf.value.detach().cpu().numpy() if leaf.value.dim() else leaf.value.item()


def _key(leaf: Leaf) -> Hashable:
    if leaf.kind == "float":
        return _shape(leaf)
    value = _abstract(leaf)
    return value if isinstance(value, int) else (value.shape, value.tobytes())


def _shape(leaf: Leaf) -> tuple[int, ...]:
    return tuple(leaf.value.shape) if isinstance(leaf.value, torch.Tensor) else ()


def _result_shapes(special: Specialisation, leaves: Sequence[Leaf], tangible: Sequence[int]) -> list[tuple[int, ...]]:
    if special.spec.shapes is None:
        return [() for _ in tangible]
    values = {k: _abstract(leaves[k]) for k in special.spec.shapes.values_used}
    shapes = special.spec.shapes.evaluate([_shape(leaf) for leaf in leaves], values)
    return [tuple(max(size, 0) for size in shapes[k]) for k in tangible]


def _total(colourings: Sequence[Colouring]) -> int:
    return sum(colouring.count for colouring in colourings)


def _as_tuple(declared: Declared) -> tuple[torch.Tensor, ...]:
    return declared if isinstance(declared, tuple) else (declared,)


def _as_tensor(leaf: Leaf) -> Any:
    if isinstance(leaf.value, torch.Tensor) or leaf.kind != "float":
        return leaf.value
    return torch.tensor(leaf.value, dtype=torch.float64)


def _float_dtype(leaves: Sequence[Leaf]) -> torch.dtype:
    from ksc.running import float_dtype

    return float_dtype(leaves)


def _probe(width: int, dtype: torch.dtype) -> torch.Tensor:
    """A direction that no place can hide from; the same in each call."""
    generator = torch.Generator().manual_seed(width)
    return (torch.rand(width, dtype=torch.float64, generator=generator) + 0.5).to(dtype)


def _decompressed(rows: torch.Tensor, pattern: Pattern, colouring: Colouring, mode: str) -> torch.Tensor:
    own, other = (pattern.columns, pattern.rows) if mode == "forward" else (pattern.rows, pattern.columns)
    colours = torch.from_numpy(colouring.of[own])
    return _matrix(pattern, rows[colours, torch.from_numpy(other)])


def _matrix(pattern: Pattern, values: torch.Tensor) -> torch.Tensor:
    starts, columns = torch.from_numpy(pattern.starts), torch.from_numpy(pattern.columns.copy())
    size = (pattern.height, pattern.width)
    return torch.sparse_csr_tensor(starts.clone(), columns, values, size, check_invariants=False)


def _check(matrix: torch.Tensor, probe: torch.Tensor, wanted: torch.Tensor, mode: str, name: str) -> None:
    """Compare the matrix times a direction with the derivative along it, where both are finite."""
    values = matrix.values().detach().double()
    starts, columns = matrix.crow_indices(), matrix.col_indices()
    rows = torch.repeat_interleave(torch.arange(matrix.shape[0]), starts.diff())
    into, out_of = (rows, columns) if mode == "forward" else (columns, rows)
    terms = values * probe.double()[out_of]
    count = matrix.shape[0] if mode == "forward" else matrix.shape[1]
    found = torch.zeros(count, dtype=torch.float64).index_add(0, into, terms)
    scale = torch.zeros(count, dtype=torch.float64).index_add(0, into, terms.abs()) + wanted.detach().double().abs()
    error = (found - wanted.detach().double()).abs()
    tolerance = 64 * matrix.shape[0 if mode == "reverse" else 1] ** 0.5 * torch.finfo(wanted.dtype).eps
    bad = torch.isfinite(error) & (error > tolerance * scale)
    if bad.any():
        what = "row" if mode == "forward" else "column"
        raise DifferentiationError(
            f"the declared pattern of the Jacobian of {name} lacks a place in {what} {int(bad.nonzero()[0, 0])}",
            remedy='declare every place that may be different from zero, or let it be found: sparse="csr"',
        )
