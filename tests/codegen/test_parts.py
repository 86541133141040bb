"""Long functions are compiled in parts, which compute the same; what changes a variable or leaves stays outside."""

import numpy as np
import pytest

from ksc.codegen import Unit
from ksc.codegen.cpp import generate, parts
from ksc.codegen.cpp.writer import Line
from ksc.compiler import build, load
from ksc.ir.interpret import interpret
from ksc.passes import optimise
from ksc.transforms import vjp
from tests.codegen.harness import STRICT, call_tensors
from tests.codegen.tensor_programs import SAMPLES

REVERSED = ["prefix_norms", "steps", "swap"]


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(parts, "LONG", 1)
    monkeypatch.setattr(parts, "PART", 1)


def test_parts_compute_what_the_whole_does(short):
    samples = [SAMPLES[name] for name in [*REVERSED, "sort_rows"]]
    programs = [sample.program for sample in samples]
    programs = [optimise(vjp(program)) for program in programs[:-1]] + programs[-1:]
    source = generate(Unit("parts", list(zip("vjbm", programs, strict=True)), "float64", kind="tensor"))
    kernel = load(build(source, STRICT))
    for letter, sample, program in zip("vjbm", samples, programs, strict=True):
        arguments = [np.asarray(argument) for argument in sample.arguments]
        for result in interpret(sample.program, arguments) if letter != "m" else ():
            arguments.append(np.cos(np.arange(float(np.size(result)))).reshape(np.shape(result)))
        expected = interpret(program, arguments)
        status, outs = call_tensors(
            kernel, source.entries[letter], program, arguments, [np.shape(value) for value in expected]
        )
        assert status == 0
        for out, value in zip(outs, expected, strict=True):
            np.testing.assert_allclose(out, value, rtol=1e-13, atol=1e-15)
    assert source.text.count("ks::part([=") > 8


LOOP = """\
    for (int64_t {0} = 0; {0} < n; ++{0}) {{
        {1}
    }}"""
BODY = [
    "    double s = 0.0;",
    *LOOP.format("i", "s += x(i);").split("\n"),
    "    const ks::tensor<double, 1> y(rt, n);",
    *LOOP.format("i_2", "y(i_2) = s;").split("\n"),
    "    ks::stack<double, 1, 1> tape(rt, n);",
    *LOOP.format("i_3", "tape.put(y, 3, i_3);").split("\n"),
    *LOOP.format("i_4", "s = s * tape(i_4, 0);").split("\n"),
    *LOOP.format("i_5", "if (s < 1.0) { return s; }").split("\n"),
    "    return s;",
]


def test_what_a_part_gives_and_is_handed(short):
    found = parts.in_parts([Line(text) for text in BODY], ["ks::runtime &rt", "ks::tensor<double, 1> x", "int64_t n"])
    text = "\n".join(line.text for line in found)
    assert text.startswith("    double s = ks::part([=]() KS_INLINED {\n        double s = 0.0;\n"), text
    assert "const ks::tensor<double, 1> y = ks::part([=, &rt]() KS_INLINED {" in text
    assert "\n    ks::stack<double, 1, 1> tape(rt, n);\n    ks::part([=, &tape]() KS_INLINED {" in text
    assert text.endswith("\n".join(["    });", *BODY[-7:]])), text
    unwrapped = [line.text.strip() for line in found if "ks::part" not in line.text]
    unwrapped = [code for code in unwrapped if code not in ("});", "return s;", "return y;")]
    assert unwrapped == [code.strip() for code in BODY[:-1]]


def test_a_variable_that_has_no_value_yet_is_declared_before_the_part(short):
    body = ["    double t;", *LOOP.format("i", "x(i) = 2.0;").split("\n"), *LOOP.format("i_2", "break;").split("\n")]
    body += ["    t = x(0);", "    return t;"]
    found = parts.in_parts([Line(text) for text in body], ["ks::tensor<double, 1> x", "int64_t n"])
    assert [line.text for line in found[:2]] == ["    double t;", "    ks::part([=]() KS_INLINED {"]


def test_short_functions_stay_whole():
    lines = [Line(text) for text in BODY]
    assert parts.in_parts(lines, ["ks::tensor<double, 1> x", "int64_t n"]) == lines
