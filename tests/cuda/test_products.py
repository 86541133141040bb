"""Products of matrices on a grid: the prelude's tiles of each shape, and what generated code makes of them."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch

from ksc.codegen import GeneratedSource, Unit
from ksc.codegen.cuda import generate
from ksc.ir.text import parse
from tests.cuda.cases import Case, cases
from tests.cuda.grid import Device, Library
from tests.passes.test_contractions import KERNELS, arguments
from tests.passes.test_strips import mixture

# What they share is compiled once, by one process.
pytestmark = pytest.mark.xdist_group("cuda products")

KINDS = ("none", "flat", "small", "large")
ORDERS = tuple(itertools.product((0, 1), repeat=2))
"""Whether a and b are given as their transposes."""

KERNEL = """
#include "ks/cuda/prelude.h"

namespace planned_{name}_kernel {{

__device__ inline ks::matrix<{type}> operand(ks::tensor<{type}, 2> x, int64_t turned) {{
    return turned != 0 ? ks::transposed(x) : ks::as_rows(x);
}}

// how: the kind of tiles, splits, terms of each, whether a and b are transposes, whether c is, whether a block does it.
extern "C" __global__ void __launch_bounds__(ks::block_size, 2)
planned_{name}_grid(const __grid_constant__ ks::grid about, const __grid_constant__ ks::operands<4> operands) {{
    ks::runtime rt(about, "f.py", operands.at, 0, false);
    const auto c = ks::argument<{type}, 2>(rt, operands.at[0]), a = ks::argument<{type}, 2>(rt, operands.at[1]);
    const auto b = ks::argument<{type}, 2>(rt, operands.at[2]);
    const auto how = ks::argument<int64_t, 1>(rt, operands.at[3]);
    const ks::factors<{type}> both = {{operand(a, how(3)), operand(b, how(4))}};
    const int64_t depth = how(3) != 0 ? a.size[0] : a.size[1], kind = how(0), splits = how(1), deep = how(2);
    const bool turned = how(5) != 0, in_block = how(6) != 0;
    rt.meet();
    if (kind < 0) {{
        ks::multiply(rt, c, both.a, both.b, depth);
        return;
    }}
    const ks::tile_plan plan = {{static_cast<ks::tile_kind>(kind), splits, deep, 0.0f}};
    const ks::product_place<{type}> place = {{c.data, turned ? 1 : c.size[1], turned ? c.size[1] : 1}};
    const ks::product_sizes of = {{1, c.size[turned ? 1 : 0], c.size[turned ? 0 : 1], depth}};
    const auto at = [=](int64_t) {{ return turned ? both.turned() : both; }};
    if (in_block) {{
        ks::runtime mine = rt.part(ks::team::block, blockIdx.x, gridDim.x);
        if (blockIdx.x == 0) {{
            ks::multiply_as(mine, plan, place, of, at);
        }}
    }} else {{
        ks::multiply_as(rt, plan, place, of, at);
    }}
    rt.part_ways();
}}

KS_LAUNCHED(planned_{name}_grid);

extern "C" int ks_planned_{name}(const ks_cuda *device, const ks_tensor *operands) {{
    return ks::enter<4>(planned_{name}_grid_launched, device, operands, {{2, 2, 2, 1}}, 0, true);
}}

}}  // namespace planned_{name}_kernel
"""
PROGRAM = parse("(def f (Tensor 2 Float) ((a : (Tensor 2 Float)) (b : (Tensor 2 Float)) (how : (Tensor 1 Integer))) a)")
TYPES = {"float32": "float", "float64": "double"}


@pytest.fixture(scope="module")
def planned() -> Library:
    texts = [KERNEL.format(name=name, type=type_) for name, type_ in TYPES.items()]
    return Library([GeneratedSource("planned", "\n".join(texts))])


def product(
    library: Library,
    a: np.ndarray,
    b: np.ndarray,
    order: tuple[int, int] = (0, 0),
    kind: int = -1,
    splits: int = 1,
    *,
    turned: bool = False,
    in_block: bool = False,
) -> np.ndarray:
    """``a @ b`` with tiles of a kind; as the prelude plans it without one."""
    deep = -(-a.shape[1] // splits)
    deep = -(-deep // 8) * 8 if splits > 1 else a.shape[1]
    how = np.array([kind, splits, deep, *order, turned, in_block])
    given = [np.ascontiguousarray(x.T if by_columns else x) for x, by_columns in zip((a, b), order, strict=True)]
    name = a.dtype.name
    shape = (a.shape[0], b.shape[1])
    device, (out,) = library.tensors(
        f"ks_planned_{name}", PROGRAM, [*given, how], [shape], name, Device(scratch_bytes=4 << 20)
    )
    assert device.error is None, device.error
    return out


def in_order(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each sum in the order of its terms."""
    total = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    with np.errstate(all="ignore"):
        for k in range(a.shape[1]):
            total += a[:, k, None] * b[None, k, :]
    return total


def random(rng: np.random.Generator, *shape: int, dtype: str) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", range(4), ids=KINDS)
def test_each_sum_is_in_order(planned: Library, kind: int, dtype: str) -> None:
    rng = np.random.default_rng(kind)
    sizes = [(1, 1, 1), (3, 5, 9), (64, 64, 16), (65, 33, 23), (7, 150, 40), (140, 130, 12)]
    for (m, n, k), order, turned in zip(sizes, ORDERS * 2, (False, True) * 3, strict=False):
        a, b = random(rng, m, k, dtype=dtype), random(rng, k, n, dtype=dtype)
        found = product(planned, a, b, order, kind, turned=turned)
        np.testing.assert_array_equal(found, in_order(a, b), f"{m} {n} {k} {order} {turned}")


@pytest.mark.parametrize("kind", [1, 2, 3], ids=KINDS[1:])
def test_divided_terms(planned: Library, kind: int) -> None:
    rng = np.random.default_rng(kind)
    # Few parts are added up by a thread, many by the warps of a block.
    for m, n, k, splits in [(20, 33, 61, 3), (5, 9, 320, 40)]:
        for order in ORDERS:
            a, b = random(rng, m, k, dtype="float64"), random(rng, k, n, dtype="float64")
            np.testing.assert_allclose(product(planned, a, b, order, kind, splits), a @ b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", range(4), ids=KINDS)
def test_one_block(planned: Library, kind: int) -> None:
    rng = np.random.default_rng(kind)
    a, b = random(rng, 70, 20, dtype="float32"), random(rng, 20, 67, dtype="float32")
    np.testing.assert_array_equal(product(planned, a, b, (1, 0), kind, in_block=True), in_order(a, b))


@pytest.mark.parametrize("order", ORDERS)
def test_as_planned(planned: Library, order: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for m, n, k in [(0, 3, 2), (2, 0, 3), (3, 2, 0), (1, 1, 1), (9, 130, 24), (1, 300, 20), (200, 3, 17), (4, 4, 1500)]:
        for dtype, tolerance in (("float32", 1e-4), ("float64", 1e-12)):
            a, b = random(rng, m, k, dtype=dtype), random(rng, k, n, dtype=dtype)
            np.testing.assert_allclose(product(planned, a, b, order), a @ b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", range(4), ids=KINDS)
def test_what_is_not_finite_reaches_its_row_and_column_only(planned: Library, kind: int) -> None:
    rng = np.random.default_rng(2)
    for value in (np.nan, np.inf):
        a, b = random(rng, 35, 21, dtype="float32"), random(rng, 21, 37, dtype="float32")
        a[17, 20], b[3, 36] = value, -value
        for order in ORDERS:
            np.testing.assert_array_equal(product(planned, a, b, order, kind), in_order(a, b))
    a, b = np.full((3, 5), -0.0), np.ones((5, 4))
    assert not np.signbit(product(planned, a, b, kind=kind)).any()


# In generated code.

SIZES = (9, 20, 12, 17, 10)


def derived(name: str, letters: str) -> tuple[Case, GeneratedSource]:
    kernel = KERNELS[name][0]
    args = [arg.detach() for arg in arguments(name, SIZES, torch.float64)]
    special, _ = kernel.example(args)
    (case,) = cases(name, special.program, [arg.numpy() for arg in args], (letters,))
    return case, generate(Unit(f"{name}_{letters}", [("", case.program)], "float64", kind="tensor"))


PRODUCTS = {
    "matrices": (1, 2),
    "perceptron": (2, 5),
    "attention": (2, 5),
    "heads": (2, 5),
    "batches": (1, 2),
    "row": (1, 1),
}
"""How many products there are in a value and in its vjp."""


def test_programs_and_their_derivatives() -> None:
    found = [derived(name, letters) for name in PRODUCTS for letters in ("", "v")]
    found.append(derived("matrices", "mv"))
    library = Library([source for _, source in found])
    for case, source in found:
        count = len(re.findall(r"ks::multiply(?:_all)?\(rt", source.text))
        assert count == PRODUCTS[case.name]["v" in case.derivation], source.text
        assert "// On one thread" not in source.text
        for deterministic in (False, True):
            device, outs = library.tensors(
                source.entries[""],
                case.program,
                case.arguments,
                [np.shape(value) for value in case.expected],
                device=Device(1 << 20, deterministic=deterministic),
            )
            assert device.error is None, device.error
            for out, value in zip(outs, case.expected, strict=True):
                np.testing.assert_allclose(out, value, rtol=1e-11, atol=1e-11, err_msg=f"{case.name} {case.derivation}")


def test_lanes_by_pieces() -> None:
    """As many lanes as it takes, and sides as long: what ``ksc.passes.strips`` makes runs, and gives the gradient."""
    rng = np.random.default_rng(3)
    q, m, x = (0.3 * rng.normal(size=shape) for shape in ((1, 16, 16), (1, 16), (257, 16)))
    special, _ = mixture(triangular=True, weighted=False, curved=False, several=True).example(
        [torch.tensor(q), torch.tensor(m), torch.tensor(x)]
    )
    (case,) = cases("mixture", special.program, [q, m, x], ("v",))
    source = generate(Unit("mixture", [("", case.program)], "float64", kind="tensor"))
    assert len(re.findall(r"ks::multiply(?:_all)?\(rt", source.text)) == 3, source.text
    device, outs = Library([source]).tensors(
        source.entries[""],
        case.program,
        case.arguments,
        [np.shape(value) for value in case.expected],
        device=Device(8 << 20),
    )
    assert device.error is None, device.error
    for out, value in zip(outs, case.expected, strict=True):
        np.testing.assert_allclose(out, value, rtol=1e-11, atol=1e-11)
