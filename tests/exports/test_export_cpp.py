"""The target cpp: what is exported compiles by itself, and computes in C what it computed in Python."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ksc as knossos
from ksc.cli import main
from ksc.errors import ArgumentError, UnsupportedError
from ksc.exports.manifest import read

sys.path.append(str(Path(__file__).parent))

import kernels

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1", "-fwrapv", "-fno-optimize-sibling-calls")
COMPILERS = [pair for pair in (("g++", "gcc"), ("clang++", "clang")) if shutil.which(pair[0]) or pair[0] == "g++"]
# That of the Python package of this name, where the system has none.
CMAKE = shutil.which("cmake") or shutil.which("cmake", path=str(Path(sys.executable).parent)) or "cmake"
OLDER = [found] if (found := shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")) else []
IS_X86 = os.uname().machine == "x86_64"

X = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64)


def run(*command: object, environ: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, **(environ or {})},
        cwd=cwd,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compiled(folder: Path, out: Path, compilers: tuple[str, str], main: Path, *flags: str) -> Path:
    """The program of a C file and a shared library of an export, made without CMake."""
    out.mkdir()
    cxx, cc = compilers
    # The library's own file and that which says what it needs must run on any processor.
    name = read(folder)["name"]
    for source in sorted((folder / "src").glob("*.cpp")):
        own = () if source.stem == name else flags
        place = (
            "-I",
            folder / "include",
            "-I",
            folder / "prelude",
            "-pthread",
            "-fPIC",
            "-fvisibility=hidden",
            "-c",
            source,
        )
        run(cxx, *STRICT, *own, *place, "-o", out / f"{source.stem}.o")
    library = out / f"lib{name}.so"
    run(cxx, "-shared", "-Wl,-z,defs", *out.glob("*.o"), "-o", library, "-pthread", "-lm")
    c99 = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-I", folder / "include")
    run(cc, *c99, main, "-o", out / "program", library, f"-Wl,-rpath,{out}", "-lm")
    return out / "program"


@pytest.fixture(scope="session")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    k = kernels
    return knossos.export(
        [k.relu3, k.prefix, k.pick, k.transposed, k.depth, k.keywords],
        tmp_path_factory.mktemp("cpp") / "edges",
        target="cpp",
        name="edges",
        dtypes=torch.float64,
        example_inputs=[None, (X, 2, 0.5), (X, 3), (torch.rand(2, 3), torch.rand(2, 4)), None, None],
    )


@pytest.mark.parametrize("compilers", COMPILERS, ids=lambda pair: pair[0])
def test_a_c_program_calls_it(edges: Path, tmp_path: Path, compilers: tuple[str, str]) -> None:
    program = compiled(edges, tmp_path / "out", compilers, HERE / "edges.c")
    assert run(program) == "fine\n"
    linked = run("ldd", tmp_path / "out" / "libedges.so")
    assert "libtorch" not in linked
    assert "libpython" not in linked


def page_commands(heading: str) -> str:
    """The commands of a section of the page about deployment, but for exports."""
    page = (ROOT / "docs" / "Deployment.md").read_text("utf-8")
    section = page[page.index(f"### {heading}") :].partition("\n### ")[0]
    lines = [line.strip() for line in section.splitlines() if line.startswith("    ") and "cmake" in line]
    return "\n".join(line for line in lines if not line.startswith("ksc "))


def run_page(heading: str, folder: Path, **environ: str) -> str:
    """Run the commands of a section, as the page has them, beside the export that they are about."""
    places = os.pathsep.join([str(Path(CMAKE).parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    return run("bash", "-e", "-c", page_commands(heading), environ={"PATH": places, **environ}, cwd=folder)


CONSUMER = """cmake_minimum_required(VERSION 3.16)
project(consumer LANGUAGES C CXX)
find_package(relu3 REQUIRED)
add_executable(consumer main.c)
target_link_libraries(consumer PRIVATE relu3::relu3)
"""
MAIN = """#include <relu3.h>
int main(void) {
    double length = 0;
    return relu3_hyp_f64(0, 3.0, 4.0, &length) != 0 || length != 5.0;
}
"""


def test_recorded_values_hold_and_another_project_finds_them(tmp_path: Path) -> None:
    camera = kernels.Camera(torch.rand(3), torch.rand(2))
    knossos.export(
        {
            "relu3": kernels.relu3,
            "slope": kernels.relu3.vjp.kernel,
            "scaled": kernels.scaled,
            "hyp": kernels.hyp,
            "vsqrl": kernels.vsqrl,
            "project": kernels.project,
            "gradient": kernels.sqrl.grad,
        },
        tmp_path / "relu3_cpp",
        target="cpp",
        dtypes=[torch.float32, torch.float64],
        derivations=["v", "j", "vj", "b"],
        example_inputs={
            "scaled": (X, 3, True),
            "vsqrl": (torch.randn(3, 4, 4),),
            "project": (camera, torch.rand(3)),
            "gradient": (torch.randn(2, 3),),
        },
    )
    flags = {"CXXFLAGS": "-Werror", "CFLAGS": "-Werror", "CMAKE_BUILD_TYPE": "None", "CTEST_OUTPUT_ON_FAILURE": "1"}
    assert "100% tests passed" in run_page("cpp", tmp_path, **flags)
    build, installed, consumer = tmp_path / "build", tmp_path / "installed", tmp_path / "consumer"
    assert "70 calls agree" in run(build / "relu3_test")
    run(CMAKE, "--install", build, "--prefix", installed)
    consumer.mkdir()
    (consumer / "CMakeLists.txt").write_text(CONSUMER)
    (consumer / "main.c").write_text(MAIN)
    run(CMAKE, "-S", consumer, "-B", consumer / "build", f"-DCMAKE_PREFIX_PATH={installed}")
    run(CMAKE, "--build", consumer / "build")
    run(consumer / "build" / "consumer")


def test_no_illegal_instruction_is_reached(tmp_path: Path) -> None:
    march, missing = ("x86-64-v3", "sse3,avx2") if IS_X86 else ("armv8.2-a", "lse")
    folder = knossos.export(kernels.vsqrl, tmp_path / "fast", target="cpp", example_inputs=(torch.rand(2, 4, 4),))
    test = folder / "tests" / "sqrl_test.c"
    program = compiled(folder, tmp_path / "out", ("g++", "gcc"), test, f"-march={march}", "-O3")
    assert "2 calls agree" in run(program)
    refused = [([program], {"KS_CPU_WITHOUT": missing})]
    refused += [([qemu, "-cpu", "Nehalem", program], {}) for qemu in OLDER if IS_X86]
    for command, environ in refused:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ})
        assert done.returncode == 1
        assert "sqrl was compiled for processors with" in done.stdout


LOOKS = """#include <cstdio>
#include "ks/cpu.h"
int main(int count, char **) {
    for (int k = 0; k < count; ++k) {
        const char *const missing = ks::missing_feature(~UINT64_C(0));
        std::puts(missing != nullptr ? missing : "nothing");
    }
}
"""


def test_looking_at_the_processor_needs_no_instruction_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "looks.cpp").write_text(LOOKS)
    run("g++", "-std=c++17", "-O2", "-I", ROOT / "prelude", tmp_path / "looks.cpp", "-o", tmp_path / "looks")
    assert run(tmp_path / "looks").strip()
    for qemu in OLDER if IS_X86 else []:
        # Without what saves the registers of AVX, so that asking for them is an illegal instruction, too.
        assert run(qemu, "-cpu", "Nehalem", tmp_path / "looks") == "movbe\n"


def test_half_precision_goes_by_its_bits(tmp_path: Path) -> None:
    dtypes = [torch.float16, torch.bfloat16]
    folder = knossos.export(kernels.relu3, tmp_path / "half", target="cpp", dtypes=dtypes, derivations=[])
    assert "const uint16_t *x, int64_t x_stride" in (folder / "include" / "relu3.h").read_text()
    program = compiled(folder, tmp_path / "out", ("g++", "gcc"), folder / "tests" / "relu3_test.c")
    assert "2 calls agree" in run(program)


def test_sizes_are_compiled_in_where_asked(tmp_path: Path) -> None:
    inputs = (torch.rand(4, 4),)
    folder = knossos.export(kernels.sqrl, tmp_path / "a", target="cpp", example_inputs=inputs, static_sizes=True)
    assert read(folder)["kernels"][0]["arguments"][0]["sizes"] == [4, 4]
    # A call that compiled for small sizes does not make an export small.
    kernels.vsqrl(torch.rand(3, 4, 4))
    folder = knossos.export(kernels.vsqrl, tmp_path / "b", target="cpp")
    assert "sizes" not in read(folder)["kernels"][0]["arguments"][0]


def test_an_export_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    for name in ("first", "second"):
        knossos.export({name: kernels.relu3}, tmp_path / "out", target="cpp")
    assert [kernel["name"] for kernel in read(tmp_path / "out")["kernels"]] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="is no export"):
        knossos.export(kernels.relu3, tmp_path / "mine", target="cpp")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def refused(match: str, *args: object, error: type[Exception] = ArgumentError, **kwargs: object) -> None:
    with pytest.raises(error, match=match):
        knossos.export(*args, **{"target": "cpp", **kwargs})


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fresh = knossos.register(kernels.sqrl.__wrapped__)
    refused("annotations of sqrl", fresh, out)
    refused("calls back into Python", kernels.calls_back, out, error=UnsupportedError)
    refused("two of the kernels are called relu3", [kernels.relu3, knossos.vmap(kernels.relu3.__wrapped__)], out)
    refused("would be called a_f_vjp_f32", {"f": kernels.relu3, "f_vjp": kernels.relu3}, out, name="a")
    refused("no target 'jar'", kernels.relu3, out, target="jar")
    refused("no option 'speed'", kernels.relu3, out, speed=9)
    refused("'w' is not a derivation", kernels.relu3, out, derivations=["w"])
    refused("knossos.vmap", kernels.relu3, out, derivations=["m"])
    refused("takes 1 digit", kernels.relu3, out, derivations=["v11"])
    refused("cannot be the name of an exported kernel", {"no good": kernels.relu3}, out)
    refused("cannot be the name of an exported library", kernels.relu3, out, name="a__b")
    refused("is not a kernel", print, out)
    refused("is no dtype of kernels", kernels.relu3, out, dtypes=torch.int64)
    refused("holds more than", kernels.relu3, out, example_inputs=(torch.zeros(1 << 17),))
    refused("keys among relu3", {"relu3": kernels.relu3}, out, example_inputs={"relu4": (1.0,)})
    assert list(tmp_path.iterdir()) == []


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = HERE / "kernels.py", tmp_path / "out"
    kernel = [f"{file}:relu3", f"blocks={file}:vsqrl", "--args", "", "--args", "torch.rand(2, 4, 4)"]
    options = ["--dtype", "float64", "--name", "mine", "--set", "march=x86-64-v3"]
    assert main(["export", *kernel, "--target", "cpp", "-o", str(out), *options]) == 0
    told = capsys.readouterr().out
    assert "relu3(x: float) -> float" in told
    assert "blocks(x: float[_, _, _]) -> float[_]" in told
    assert (out / "include" / "mine.h").is_file()
    assert 'set(MINE_MARCH "x86-64-v3"' in (out / "CMakeLists.txt").read_text()
    assert main(["export", "--list", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "mine"
    assert main(["export", "--targets"]) == 0
    assert "cpp" in capsys.readouterr().out
    assert main(["export", *kernel, "--target", "cpp"]) == 2
    capsys.readouterr()
    assert main(["export", *kernel, "--target", "jar", "-o", str(out)]) == 2
    assert main(["export", *kernel, "--target", "cpp", "-o", str(out), "--set", "speed=9"]) == 2
    told = capsys.readouterr().err
    assert "no target 'jar'" in told
    assert "--set speed=9: the target has no such option" in told
    assert main(["export", "--list", str(tmp_path)]) == 1
