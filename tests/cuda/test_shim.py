"""The shim finds what is wrong with a grid; else that it finds nothing would mean nothing."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from ksc.codegen import GeneratedSource
from tests.cuda.grid import Device, Library, State

KERNEL = """
#include "ks/cuda/prelude.h"

namespace {name}_kernel {{

extern "C" __global__ void __launch_bounds__(ks::block_size)
{name}_grid(const __grid_constant__ ks::grid about, const __grid_constant__ ks::operands<2> operands) {{
    ks::runtime rt(about, "f.py", operands.at, 1, {glances});
    [[maybe_unused]] const auto y = ks::argument<float, 1>(rt, operands.at[0]);
    [[maybe_unused]] const auto x = ks::argument<float, 1>(rt, operands.at[1]);
    [[maybe_unused]] const int64_t n = x.size[0], largest = INT64_MAX;
    {body}
}}

KS_LAUNCHED({name}_grid);

extern "C" int ks_{name}(const ks_cuda *device, const ks_tensor *operands) {{
    return ks::enter<2>({name}_grid_launched, device, operands, {{1, 1}}, 1, true);
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
    "with_neighbours": (
        "if (rt.thread() < 64) { y(rt.thread()) = x(0); __syncwarp(ks::mates(ks::eight));\n"
        '    if (y(rt.thread() ^ 7) + ks::from_below(x(0), 7, ks::eight) > 1e30f) { rt.fail(1, 1, ""); } }',
        "",
    ),
    "with_others": (
        "if (rt.thread() < 64) { y(rt.thread()) = x(0); __syncwarp(ks::mates(ks::eight));\n"
        '    if (y(rt.thread() ^ 8) > 1e30f) { rt.fail(1, 1, ""); } }',
        "race: ",
    ),
    "asks_others": ("__shfl_down_sync(ks::mates(ks::eight), 1.0f, 8);", "a thread asks one that does not answer"),
    "for_ever": ("while (threadIdx.x == 3) { __nanosleep(1); } rt.meet();", "threads wait for ever"),
    "overwritten_while_read": (
        'if (y(n - 1 - rt.thread() % n) > 1e30f) { rt.fail(1, 1, ""); }\n'
        "    ks::parallel(rt, n, ks::no_memory, [=](ks::runtime &, int64_t first, int64_t last) {\n"
        "        for (int64_t i = first; i < last; ++i) { y(i) = x(i); }\n"
        "    });",
        "race: ",
    ),
    "added_to_what_a_loop_carries": (
        "ks::carried<float, 1> c(rt, y);\n"
        "    ks::parallel(rt, n, ks::no_memory, [=](ks::runtime &, int64_t first, int64_t, ks::shared_tensor<float, 1> s) {\n"
        "        s(first % 3) += x(first);\n    }, ks::summed(c));",
        "",
    ),
    "within_its_pieces": (
        "float *const p = rt.alloc<float>(3); rt.settle(); if (rt.thread() == 0) { p[2] = x(n - 1); } rt.meet();\n"
        "    if (rt.thread() == 0) { y(0) = p[2]; }",
        "",
    ),
    "beyond_a_result": ("if (rt.thread() == 0) { y.data[n] = 1.0f; }", "outside of what was allocated: write"),
    "beyond_an_argument": ("if (rt.thread() == 0) { y(0) = x.data[n]; }", "outside of what was allocated: read"),
    "in_an_argument": ("if (rt.thread() == 0) { x(0) = 1.0f; }", "of what may only be read: write"),
    "beyond_a_piece": (
        "float *const p = rt.alloc<float>(3); rt.alloc<float>(3); if (rt.thread() == 0) { p[3] = 1.0f; }",
        "outside of what was allocated: write",
    ),
    "in_a_piece_that_is_gone": (
        "float *p = nullptr; { const ks::scratch region(rt); p = rt.alloc<float>(3); }\n"
        "    if (rt.thread() == 0) { p[0] = 1.0f; }",
        "outside of what was allocated: write",
    ),
    "beyond_a_piece_of_its_own": (
        "ks::parallel(rt, n, ks::own_memory, [=](ks::runtime &mine, int64_t first, int64_t) {\n"
        "        float *const p = mine.alloc<float>(3); p[first == 7 ? 3 : 0] = 1.0f; y(first) = p[0];\n    });",
        "outside of what was allocated: write",
    ),
    "beyond_the_memory_of_a_block": (
        "KS_SHARED(float, of_block, 3); if (rt.thread() == 0) { of_block[3] = 1.0f; }",
        "outside of what was allocated: write",
    ),
    "in_another_frame": (
        "float local = 1.0f; float *const *const p = rt.box(&local); if (rt.thread() == 1) { y(1) = **p; }",
        "another thread's frame: read",
    ),
    "not_aligned": (
        "if (rt.thread() == 0) { *reinterpret_cast<ks::wide<float, 2> *>(y.data + 1) = {}; }",
        "a place that is null or not aligned: ",
    ),
    "overflown": (
        "if (rt.thread() == 0) { y(0) = static_cast<float>((largest - 5 + n) % 7); }",
        "an overflow of +: ",
    ),
    "that_nobody_has_written": (
        "float *const p = rt.alloc<float>(3); if (rt.thread() == 0) { y(0) = p[1]; }",
        "of what nobody has written: read",
    ),
}


@pytest.fixture(scope="module")
def library() -> Library:
    texts = [KERNEL.format(name=name, body=body, glances="false") for name, (body, _) in BODIES.items()]
    texts.append(KERNEL.format(name="settled", body=BODIES["overwritten_while_read"][0], glances="true"))
    return Library([GeneratedSource("shim", "\n".join(texts))], undefined=True)


@pytest.mark.parametrize("name", [*BODIES, "settled"])
def test_what_is_wrong_is_found(library: Library, name: str) -> None:
    n = 150
    # Some more than they are said to have, where one that errs does no harm.
    x, y = np.ones(n + 16, np.float32), np.zeros(n + 16, np.float32)
    sizes, one = (ctypes.c_int64 * 1)(n), (ctypes.c_int64 * 1)(1)
    operands = (ctypes.c_void_p * 6)()
    for k, array in enumerate((y, x)):
        operands[3 * k : 3 * k + 3] = [array.ctypes.data, ctypes.addressof(sizes), ctypes.addressof(one)]
    device = Device()
    struct = device.struct()
    entry = getattr(library.library, f"ks_{name}")
    entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.grant(y.ctypes.data, 4 * n, "change")
    library.grant(x.ctypes.data, 4 * n, "read")
    library.grant(struct.state, ctypes.sizeof(State), "change")
    assert entry(ctypes.byref(struct), operands) == 0
    report = library.library.shim_report().decode()
    expected = BODIES.get(name, ("", ""))[1]
    assert report == "" if expected == "" else expected in report, report
