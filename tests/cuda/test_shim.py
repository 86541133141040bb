"""The shim finds what is wrong with a grid; else that it finds nothing would mean nothing."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from ksc.codegen import GeneratedSource
from tests.cuda.grid import Device, Library

KERNEL = """
#include "ks/cuda/prelude.h"

namespace {name}_kernel {{

__global__ void __launch_bounds__(ks::block_size)
{name}_grid(const __grid_constant__ ks::grid about, const __grid_constant__ ks::operands<2> operands) {{
    ks::runtime rt(about, "f.py", operands.at, 1, {glances});
    [[maybe_unused]] const auto y = ks::argument<float, 1>(rt, operands.at[0]);
    [[maybe_unused]] const auto x = ks::argument<float, 1>(rt, operands.at[1]);
    [[maybe_unused]] const int64_t n = x.size[0];
    {body}
}}

extern "C" int ks_{name}(const ks_cuda *device, const ks_tensor *operands) {{
    return ks::enter<{name}_grid, 2>(device, operands, {{1, 1}}, 1, true);
}}

}}  // namespace {name}_kernel
"""

BODIES = {
    "sound": (
        "for (int64_t i = rt.thread(); i < n; i += rt.threads()) { y(i) = x(i); } rt.meet(); y(n - 1 - rt.thread() % n);",
        "",
    ),
    "unordered": (
        "for (int64_t i = rt.thread(); i < n; i += rt.threads()) { y(i) = x(i); }\n"
        '    if (rt.thread() < n && y(n - 1 - rt.thread()) > 1e30f) { rt.fail(1, 1, ""); }',
        "race: ",
    ),
    "only_in_a_block": (
        "for (int64_t i = rt.thread(); i < n; i += rt.threads()) { y(i) = x(i); } __syncthreads();\n"
        '    if (rt.thread() < n && y(n - 1 - rt.thread()) > 1e30f) { rt.fail(1, 1, ""); }',
        "race: ",
    ),
    "without_a_fence": (
        "if (threadIdx.x == 0) { y(blockIdx.x) = x(0); atomicExch(&about.state->phase, 1u); }\n"
        "    while (ks::look(&about.state->phase) == 0) { __nanosleep(1); }\n"
        "    atomicOr(&about.state->phase, 0u); __threadfence();\n"
        '    if (y(0) > 1e30f) { rt.fail(1, 1, ""); }',
        "race: ",
    ),
    "added_without_atomics": ("y(0) += x(rt.thread() % n);", "race: "),
    "read_while_added": (
        'ks::shared_tensor<float, 1> s = y; s(0) += 1.0f; if (y(0) > 1e30f) { rt.fail(1, 1, ""); }',
        "race: ",
    ),
    "added": ("ks::shared_tensor<float, 1> s = y; s(0) += 1.0f;", ""),
    "apart": (
        "if (threadIdx.x < 7) { __syncthreads(); __nanosleep(1); __syncthreads(); } else { rt.meet(); }",
        "threads wait for each other at different places",
    ),
    "for_ever": ("while (threadIdx.x == 3) { __nanosleep(1); } rt.meet();", "threads wait for ever"),
    "overwritten_while_read": (
        'if (y(n - 1 - rt.thread() % n) > 1e30f) { rt.fail(1, 1, ""); }\n'
        "    ks::parallel(rt, n, ks::no_memory, [=](ks::runtime &, int64_t first, int64_t last) {\n"
        "        for (int64_t i = first; i < last; ++i) { y(i) = x(i); }\n"
        "    });",
        "race: ",
    ),
}


@pytest.fixture(scope="module")
def library() -> Library:
    texts = [KERNEL.format(name=name, body=body, glances="false") for name, (body, _) in BODIES.items()]
    texts.append(KERNEL.format(name="settled", body=BODIES["overwritten_while_read"][0], glances="true"))
    return Library([GeneratedSource("shim", "\n".join(texts))])


@pytest.mark.parametrize("name", [*BODIES, "settled"])
def test_what_is_wrong_is_found(library: Library, name: str) -> None:
    n = 150
    x, y = np.ones(n, np.float32), np.zeros(n, np.float32)
    sizes, one = (ctypes.c_int64 * 1)(n), (ctypes.c_int64 * 1)(1)
    operands = (ctypes.c_void_p * 6)()
    for k, array in enumerate((y, x)):
        operands[3 * k : 3 * k + 3] = [array.ctypes.data, ctypes.addressof(sizes), ctypes.addressof(one)]
    device = Device()
    struct = device.struct()
    entry = getattr(library.library, f"ks_{name}")
    entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    assert entry(ctypes.byref(struct), operands) == 0
    report = library.library.shim_report().decode()
    expected = BODIES.get(name, ("", ""))[1]
    assert report == "" if expected == "" else expected in report, report
