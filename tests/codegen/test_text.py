"""What the generated text looks like, and that compilers have nothing to say about it."""

import re
import shutil
import subprocess

import pytest

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.codegen.cpp.literals import float_literal, integer_literal, string_literal
from ksc.codegen.cpp.names import Scope, function_identifier, identifier
from ksc.codegen.cpp.writer import wrapped
from ksc.errors import InvalidIRError, UnsupportedError
from ksc.ir.builder import Builder
from ksc.ir.nodes import Function, Program, Var, const
from ksc.ir.text import parse
from ksc.ir.types import Float, Integer, TensorType
from ksc.paths import prelude_dir
from tests.codegen.harness import source_of
from tests.codegen.samples import RELU3, SAMPLES, relu3, relu3_vjp, span

WARNINGS = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]


def relu3_unit(dtype="float32"):
    return Unit(
        "relu3",
        [("", relu3()), ("v", relu3_vjp())],
        dtype,
        doc="Like ReLU, but smoother. Like GELU, but cheaper.",
        source="relu3.py:1",
    )


def test_relu3_unit(golden):
    golden.check(generate(relu3_unit()).text, ".cpp")


@pytest.mark.parametrize("name", SAMPLES)
def test_golden(golden, name):
    golden.check(source_of(name, SAMPLES[name](), "float32").text, ".cpp")


@pytest.mark.parametrize("compiler", [name for name in ("g++", "clang++") if shutil.which(name)])
def test_no_warnings(compiler, tmp_path):
    """All samples in one run of each compiler that there is."""
    everything = tmp_path / "all.cpp"
    includes = []
    for name, make in SAMPLES.items():
        for dtype in ("float32", "float64"):
            file = tmp_path / f"{name}_{dtype}.cpp"
            text = source_of(name, make(), dtype).text
            file.write_text(
                text.replace(f"{name}_kernel", f"{name}_{dtype}").replace(f"ks_{name}", f"ks_{name}_{dtype}")
            )
            includes.append(f'#include "{file}"')
    everything.write_text("\n".join(includes) + "\n")
    command = [compiler, *WARNINGS, "-O2", "-I", str(prelude_dir()), str(everything)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_optimised_without_warnings(tmp_path):
    """Some warnings come only with optimisation and code generation."""
    file = tmp_path / "branches.cpp"
    file.write_text(source_of("branches", SAMPLES["branches"]()).text)
    flags = [flag for flag in WARNINGS if flag != "-fsyntax-only"]
    command = ["g++", *flags, "-O3", "-c", "-I", str(prelude_dir()), str(file), "-o", str(tmp_path / "b.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_only_the_prelude_is_included():
    text = generate(relu3_unit()).text
    assert re.findall(r"#\s*include.*", text) == ['#include "ks/prelude.h"']


def test_same_unit_same_bytes():
    assert generate(relu3_unit()) == generate(relu3_unit())


def test_line_map_points_at_python():
    source = generate(relu3_unit())
    lines = source.text.splitlines()
    for number, place in source.line_map.items():
        if lines[number - 1].strip().startswith("//"):
            assert lines[number - 1].strip() == f"// {place.text.strip()}"
    cube = next(k for k, line in enumerate(lines, 1) if "x * x * x" in line)
    assert source.line_map[cube].line == 5


def test_entries_are_named_after_derivations():
    assert generate(relu3_unit()).entries == {"": "ks_relu3", "v": "ks_relu3_vjp"}
    with pytest.raises(ValueError, match="derivation"):
        generate(Unit("relu3", [("q", relu3())]))


@pytest.mark.parametrize("name", ["product_vjp", "squaring_vjp", "counted_vjp"])
def test_tapes_are_read_back_without_a_check(name):
    assert "ks::outside" not in source_of(name, SAMPLES[name]()).text


def test_function_shared_by_programs_is_printed_once():
    unit = Unit("polar", [("", SAMPLES["two_results"]()), ("v", SAMPLES["dead_code"]())])
    assert generate(unit).text.count("polar(double x, double y) {") == 0
    assert generate(unit).text.count("polar(float x, float y) {") == 1


def test_names_that_are_spelt_alike_in_cpp_stay_apart():
    """Also where a program before has the same functions with other bodies."""
    text = """
        (entry f)
        (def |g h| Float ((x : Float)) (mul x {0}))
        (def g_h Float ((x : Float)) (add x {0}))
        (def g_h_2 Float ((x : Float)) (sub x {0}))
        (def f Float ((x : Float)) (add (|g h| x) (mul (g_h x) (g_h_2 x))))
    """
    programs = [(letters, parse(text.format(number))) for letters, number in (("", "2.0"), ("v", "3.0"))]
    source = generate(Unit("f", programs, "float32")).text
    names = re.findall(r"^static inline float (\w+)\(", source, re.MULTILINE)
    assert len(names) == len(set(names)) == 8


def test_functions_that_differ_get_different_names():
    def scaled(factor):
        x = Var("x", Float)
        b = Builder()
        return Program({"f": Function("f", b.block([x], [b.apply("mul", x, const(factor))]))}, "f")

    text = generate(Unit("f", [("", scaled(2.0)), ("v", scaled(3.0))])).text
    assert "static inline float f(float x)" in text
    assert "static inline float f_2(float x)" in text
    assert "result = f_2(x);" in text


@pytest.mark.parametrize(
    ("value", "narrow", "wide"),
    [
        (1 / 3, "0.33333334f", "0.3333333333333333"),
        (2.0, "2.0f", "2.0"),
        (-0.0, "-0.0f", "-0.0"),
        (1e-5, "1e-5f", "1e-5"),
        (1e22, "1e22f", "1e22"),
        (0.1, "0.1f", "0.1"),
        (5e-324, "0.0f", "5e-324"),
        (1.401298464324817e-45, "1e-45f", "1.401298464324817e-45"),
        (3.4028234663852886e38, "3.4028235e38f", "3.4028234663852886e38"),
        (1e39, "ks::inf<float>", "1e39"),
        (float("-inf"), "-ks::inf<float>", "-ks::inf<double>"),
        (float("nan"), "ks::nan<float>", "ks::nan<double>"),
    ],
)
def test_float_literals(value, narrow, wide):
    assert float_literal(value, "float").text == narrow
    assert float_literal(value, "double").text == wide


def test_integer_literals():
    assert [integer_literal(k).text for k in (0, -7, 2**31, -(2**40), -(2**63), 2**63 - 1)] == [
        "0",
        "-7",
        "INT64_C(2147483648)",
        "-INT64_C(1099511627776)",
        "INT64_MIN",
        "INT64_C(9223372036854775807)",
    ]


def test_string_literals_hold_no_trigraph_or_raw_byte():
    assert string_literal('a"b\\c\n??=\té') == '"a\\"b\\\\c\\n\\?\\?=\\t\\303\\251"'


def test_names_avoid_keywords_prelude_and_macros():
    names = ["float", "ks", "rt", "NAN", "M_PI", "gr\u00f6\u00dfe", "__x", "_X", "1st", "double"]
    assert [identifier(name) for name in names] == [
        "float_",
        "ks_",
        "rt_",
        "NAN_",
        "M_PI_",
        "gr_e",
        "_x",
        "v_X",
        "v1st",
        "double_",
    ]
    scope = Scope()
    assert [scope.declare(name) for name in ("x", "x", "t", "t", "x_2", "float", "float")] == [
        "x",
        "x_2",
        "t",
        "t2",
        "x_2_2",
        "float_",
        "float_2",
    ]


def test_names_of_derived_functions():
    assert function_identifier("[rev f]") == "f_vjp"
    assert function_identifier("[fwd [rev f]]") == "f_vjp_jvp"
    assert function_identifier("[suffwdpass f]") == "f_fwdpass"
    assert function_identifier("[valrev f]") == "f_value_and_vjp"


NAMES = (
    "n",
    "data",
    "results",
    "arguments",
    "f_results",
    "main",
    "ks",
    "lane",
    "all",
    "float",
    "exp",
    "y0",
    "<lambda>",
    "rt",
)


def test_functions_and_variables_may_have_any_name(tmp_path):
    """A kernel, the function it calls and its variables all called something that the text uses itself."""
    includes = []
    for k, name in enumerate(NAMES):
        x, inner = Var(name, Float), Var(name, Float)
        callee = Builder()
        doubled = callee.apply("add", inner, inner, name=name)
        functions = {f"{name}_results": Function(f"{name}_results", callee.block([inner], [doubled, doubled]))}
        b = Builder()
        outs = b.emit("call", [x], [Float, Float], names=[name, name], params={"callee": f"{name}_results"})
        square = b.apply("exp", b.apply("mul", *outs), name=name)
        functions[name] = Function(name, b.block([x], [square, b.apply("add", square, x, name=name)]))
        file = tmp_path / f"k{k}.cpp"
        file.write_text(generate(Unit(name, [("", Program(functions, name))])).text)
        includes.append(f'#include "{file}"\n')
    (tmp_path / "all.cpp").write_text("".join(includes))
    command = ["g++", *WARNINGS, "-I", str(prelude_dir()), str(tmp_path / "all.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_long_lines_break_at_outer_commas():
    text = "return {" + ", ".join(f"f(aaaa, {k})" for k in range(12)) + "};"
    lines = wrapped(text, 60)
    assert " ".join(lines) == text
    assert max(map(len, lines)) <= 60
    assert all(line.endswith("),") for line in lines[:-1])


def test_print_is_refused_at_its_line():
    x = Var("x", Float)
    b = Builder(span(RELU3.lines, 2))
    b.emit("print", [x], [])
    program = Program({"f": Function("f", b.block([x], [x]))}, "f")
    with pytest.raises(UnsupportedError, match=r"sample\.py:2:5.*print"):
        generate(Unit("f", [("", program)]))


def test_elementwise_entry_refuses_tensors():
    x = Var("x", TensorType(1, Float))
    program = Program({"f": Function("f", Builder().block([x], [x]))}, "f")
    with pytest.raises(InvalidIRError, match="scalars"):
        generate(Unit("f", [("", program)]))


def test_unknown_callee_is_refused():
    x = Var("x", Integer)
    b = Builder()
    (out,) = b.emit("call", [x], [Integer], params={"callee": "g"})
    program = Program({"f": Function("f", b.block([x], [out]))}, "f")
    with pytest.raises(InvalidIRError, match="g"):
        generate(Unit("f", [("", program)]))


@pytest.mark.parametrize(
    ("condition", "stop"),
    [
        ("(and (not a) b)", "if (!(!a && b))"),
        ("(or (not a) b)", "if (!(!a || b))"),
        ("(not a)", "if (a)"),
        ("a", "if (!a)"),
        ("(eq n 3)", "if (n != 3)"),
        ("(ne x 3.0)", "if (x == 3.0f)"),
        ("(lt x 3.0)", "if (!(x < 3.0f))"),
    ],
)
def test_the_opposite_of_a_condition(condition, stop):
    text = f'(def f Float ((a : Bool) (b : Bool) (n : Integer) (x : Float)) (let (() (require {condition} "no")) x))'
    assert stop in generate(Unit("f", [("", parse(text))], "float32")).text
