"""The pipeline: which passes run, in which order, and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from ksc.ir.nodes import Program
from ksc.passes.accumulated import accumulate_carries
from ksc.passes.batches import loop_over_products
from ksc.passes.branch_values import reuse_branch_values
from ksc.passes.columns import sum_by_rows
from ksc.passes.combining import reduce_combining_loops, reduce_combining_loops_with_rules
from ksc.passes.contractions import take_out_additions, take_out_sums
from ksc.passes.cse import eliminate_common_subexpressions
from ksc.passes.dce import remove_dead_code
from ksc.passes.divisors import share_divisors
from ksc.passes.elements import reuse_elements
from ksc.passes.extremes import reduce_extremes
from ksc.passes.factors import take_out_factors
from ksc.passes.fission import part_fills, part_fills_with_rules
from ksc.passes.fuse import fuse, fuse_neighbours, has_tensors
from ksc.passes.guards import require_before_loops, require_before_loops_that_run
from ksc.passes.hoist import hoist_invariants, hoist_sizes
from ksc.passes.inline import inline_small
from ksc.passes.joint import join_sums
from ksc.passes.kept import keep_sums
from ksc.passes.leftovers import clear_leftovers
from ksc.passes.lookups import look_up_first
from ksc.passes.merge import merge_ifs
from ksc.passes.order import order_additions
from ksc.passes.overlaps import part_overlaps
from ksc.passes.requirements import repeat_requirements
from ksc.passes.shifts import stop_shifts
from ksc.passes.simplify import simplify
from ksc.passes.small import hold_small_tensors
from ksc.passes.spent import read_spent_from_start
from ksc.passes.starts import fill_starts
from ksc.passes.stores import turn_accumulations_into_stores
from ksc.passes.strips import strip_mine
from ksc.passes.sums_of_elements import add_up_elements
from ksc.passes.supports import limit_to_supports
from ksc.passes.tabulate import tabulate_invariants
from ksc.passes.through import add_through
from ksc.passes.triangles import turn_triangles
from ksc.passes.wanted import compute_wanted_rows
from ksc.timings import timed


@dataclass(frozen=True, slots=True)
class Pass:
    """One step: its name, what it does, and the reason for its place.

    Attributes:
        only: if not for all, for kernels that take ``"tensors"``, or that compute in ``"double"`` or in ``"float"``.
        after: the step that must have changed the program for this one to run, if any.
    """

    name: str
    run: Callable[[Program], Program]
    why: str
    only: str = ""
    after: str = ""


PREPARE: tuple[Pass, ...] = (
    Pass("inline", inline_small, "a function of tensors is fused with what its caller does"),
    Pass("sizes", hoist_sizes, "what loops compute of sizes is known around them"),
    Pass("requirements", repeat_requirements, "the reverse of a loop knows the sizes that the loop knew"),
    Pass("guards", require_before_loops_that_run, "slices whose indices are known to be in range are views"),
    Pass("share", eliminate_common_subexpressions, "an element that is compared is the one that is kept"),
    Pass("combining", reduce_combining_loops_with_rules, "what a loop adds up is fused as a sum is"),
    Pass("fuse", fuse, "a fused body is computed again in its reverse, so its derivative has no temporaries either"),
    Pass(
        "fission",
        part_fills_with_rules,
        "rows are known now; what fills one and adds up beside it is fused, and a sum",
    ),
    Pass("shifts", stop_shifts, "loops are fused, so it is seen where an extreme goes; its derivative is not made"),
)
"""What is done to a program with tensors before it is differentiated. Numbers are left as they were written."""

PIPELINE: tuple[Pass, ...] = (
    Pass("inline", inline_small, "everything after sees through small functions and those called once"),
    Pass("sizes", hoist_sizes, "what loops compute of sizes has one name in all of them, once it is shared"),
    Pass("share", eliminate_common_subexpressions, "a size or a condition that is read twice has one name"),
    Pass("simplify", simplify, "derivatives are full of constants; fewer equations for all that follows"),
    Pass("cse", eliminate_common_subexpressions, "values computed again for the reverse sweep meet the first ones"),
    Pass("dce", remove_dead_code, "what nobody reads must not stand in the way of merging"),
    Pass(
        "spent", read_spent_from_start, "the reverse of assigned elements carries nothing, where they are known apart"
    ),
    Pass("stores", turn_accumulations_into_stores, "sizes have one name now; an elementwise loop stays one"),
    Pass("requirements", repeat_requirements, "a reversed loop knows what the loop knew; fuse asks which indices fit"),
    Pass("guards", require_before_loops, "fuse asks which indices fit; a loop without checks is vectorised"),
    Pass("combining", reduce_combining_loops, "what a loop adds up is fused as a sum is; its terms fill registers"),
    Pass("fuse", fuse, "cotangents of tensors are tensors that are built now, and read element by element"),
    Pass("fission", part_fills, "the same in what is not differentiated, and in derivatives"),
    Pass("joint", join_sums, "terms are as they will be, in the sum and in its derivative; before either is changed"),
    Pass("factors", take_out_factors, "cotangents are sums now; one number is divided, and not each term"),
    Pass(
        "elements", reuse_elements, "which tensors are made is settled; what is read of one is cheap to store or add up"
    ),
    Pass("sums", take_out_sums, "loops are as they will be; a product of matrices is not computed sum by sum"),
    Pass("additions", take_out_additions, "what sums are made of is settled; the cotangents of a product are products"),
    Pass("leftovers", clear_leftovers, "a product that is all there is of a tensor, or a part, is not added or copied"),
    Pass("order", order_additions, "no product is left among loops of additions; rows are added to as rows"),
    Pass("through", add_through, "the cotangent of a slice needs no tensor of its own; before loops are merged"),
    Pass("starts", fill_starts, "a start that is filled is not copied; before its neighbours are filled in one loop"),
    Pass(
        "neighbours", fuse_neighbours, "sums over the same tensor read it once; after fuse, as it ties results together"
    ),
    Pass("small", hold_small_tensors, "which tensors are made is settled; elements are simplified as numbers below"),
    Pass("merge", merge_ifs, "the primal's branches and the derivative's become one, once their conditions are one"),
    Pass("cse again", eliminate_common_subexpressions, "merged sides share values"),
    Pass("merge again", merge_ifs, "branches inside merged sides, whose conditions are now one"),
    Pass("branch values", reuse_branch_values, "what could not be merged, as the second branch reads the first"),
    Pass("simplify again", simplify, "uses are final, so products can be put in the order a person writes"),
    Pass("hoist", hoist_invariants, "a loop computes what changes"),
    Pass("tabulate", tabulate_invariants, "nor again what a table from before the loop can hold"),
    Pass("cse last", eliminate_common_subexpressions, "what left a loop may be known outside"),
    Pass("dce last", remove_dead_code, "only what is read is worth printing"),
)

PROCESSOR: tuple[Pass, ...] = (
    Pass("kept", keep_sums, "loops are as they will be; what a derivative computes of its primal again is read"),
    Pass(
        "triangles",
        turn_triangles,
        "what is kept is read, and cheap to read again; loops are parted before they are merged",
    ),
    Pass("carries", accumulate_carries, "a tensor that is only added to is told from one whose rows are put in place"),
    Pass("supports", limit_to_supports, "so it is known where a tangent is zero; such zeros are not added either"),
    Pass("wanted", compute_wanted_rows, "before nests are parted: a row of a nest takes no loop of its own"),
    Pass("lookups", look_up_first, "before columns: what is summed up row by row may hold no check"),
    Pass("columns", sum_by_rows, "before those who look at innermost loops, which are over rows then"),
    Pass("divisors", partial(share_divisors, least=1), "innermost loops are as they are printed", only="double"),
    Pass("several divisors", partial(share_divisors, least=2), "one division of floats costs nothing", only="float"),
    Pass("added up", add_up_elements, "the last that asks for sums: these become loops that carry"),
    Pass("batches", loop_over_products, "products are whole to all passes before", only="tensors"),
    Pass("overlaps", part_overlaps, "additions are as they will be; what is parted is no row or product to others"),
)
"""What is done after that for a processor, where C++ is printed."""

GRID: tuple[Pass, ...] = (
    Pass(
        "strips",
        strip_mine,
        "loops are as they will be; a grid multiplies by tiles what lanes sum up one by one",
        only="tensors",
    ),
    Pass(
        "cse of strips",
        eliminate_common_subexpressions,
        "what is added up side by side is computed of the same elements",
        after="strips",
    ),
    Pass(
        "fuse apart",
        partial(fuse, rows=False),
        "what lanes no longer sum up needs no rows; short loops divide well",
        after="strips",
    ),
    Pass(
        "dce of strips",
        remove_dead_code,
        "what went into products is not computed in lanes again",
        after="strips",
    ),
    Pass("extremes", reduce_extremes, "loops that search are seen through before; their iterations are shared out"),
)
"""What is done after that for a GPU, where CUDA is printed."""


def preparation(program: Program) -> tuple[Pass, ...]:
    """The passes that come before a transform of this program: none where there are no tensors."""
    return PREPARE if has_tensors(program) else ()


def prepare(program: Program) -> Program:
    """Run the passes that come before differentiation; a program without tensors stays as it is."""
    return _run(preparation(program), program)


def optimise(program: Program) -> Program:
    """Run the pipeline."""
    return _run(PIPELINE, program)


def processor_passes(*, tensors: bool, double: bool) -> tuple[Pass, ...]:
    """The passes for a processor, of a kernel that takes tensors or numbers, and computes in double or in float."""
    return _chosen(PROCESSOR, {"tensors" if tensors else "numbers", "double" if double else "float"})


def optimise_for_processor(program: Program, *, tensors: bool, double: bool) -> Program:
    """Run what a processor needs beyond the pipeline, of such a kernel."""
    return _run(processor_passes(tensors=tensors, double=double), program)


def optimise_for_grid(program: Program, *, tensors: bool = True) -> Program:
    """Run what a GPU needs beyond the pipeline, of a kernel that takes tensors or numbers."""
    return _run(_chosen(GRID, {"tensors" if tensors else "numbers"}), program)


def _chosen(steps: Sequence[Pass], kernel: Collection[str]) -> tuple[Pass, ...]:
    return tuple(step for step in steps if not step.only or step.only in kernel)


def _run(steps: Sequence[Pass], program: Program) -> Program:
    changed: set[str] = set()
    for step in steps:
        if step.after and step.after not in changed:
            continue
        with timed(f"pass {step.name}"):
            after = step.run(program)
        if after is not program:
            changed.add(step.name)
        program = after
    return program
