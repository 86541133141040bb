"""The targets python and libtorch: operators that need PyTorch, and neither Knossos nor a compiler."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import ksc as knossos
from ksc.errors import ArgumentError, BuildError
from ksc.exports.levels import compile_kernels
from ksc.exports.manifest import read
from ksc.exports.runtime import open_library

sys.path.append(str(Path(__file__).parent))

import kernels
from test_export_cpp import IS_X86, STRICT, run, run_page

HERE = Path(__file__).parent
SITE = Path(torch.__file__).parents[1]
ISA = ("x86-64-v2", "x86-64-v4") if IS_X86 else ("armv8-a", "armv8.2-a")
EXPORTED = ("relu3", "vsqrl", "scaled", "hyp", "project", "prefix", "sums", "once", "added")
OTHER = ("aarch64", "armv8-a") if IS_X86 else ("x86_64", "x86-64")


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Compiled without optimisation, which takes a fraction of the time.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSC_COMPILE_FLAGS", "-O0")
        return knossos.export(
            {name: getattr(kernels, name) for name in EXPORTED},
            tmp_path_factory.mktemp("python") / "out",
            target="python",
            name="pylib",
            dtypes=[torch.float32, torch.float64],
            derivations=["v", "j"],
            example_inputs={
                "vsqrl": (torch.rand(2, 4, 4),),
                "scaled": (torch.rand(3), 2, True),
                "project": (kernels.Camera(torch.rand(3), torch.rand(2)), torch.rand(3)),
                "prefix": (torch.rand(3), 2, 0.5),
                "sums": (torch.rand(2, 3),),
            },
            isa=ISA,
        )


def python(script: str, *path: object, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with PyTorch and these folders alone to import from."""
    lines = f"import sys; sys.path += {[str(SITE), *map(str, path)]!r}\n{script}"
    command = [sys.executable, "-I", "-S", "-c", lines]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ}, cwd="/")


def test_a_package_works_without_knossos_and_without_a_compiler(package: Path) -> None:
    # On a processor that can run only the first of the two instruction sets.
    environ = {"PATH": "", "CXX": "none", "KS_CPU_WITHOUT": "avx512f" if IS_X86 else "lse"}
    told = run(sys.executable, "-I", "-S", HERE / "without_ksc.py", SITE, package, environ=environ)
    assert told == "fine\n"


def test_a_wheel_holds_the_package(package: Path, tmp_path: Path) -> None:
    (wheel,) = package.glob("*.whl")
    options = ["--quiet", "--no-deps", "--no-compile", "--no-index", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "install", *options, "--target", tmp_path / "site", wheel)
    done = python("import pylib, torch; print(pylib.hyp(3.0, 4.0), pylib.__doc__)", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5.0 pylib: kernels compiled by Knossos")
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read("pylib-0.1.0.dist-info/METADATA").decode()
    assert f"Requires-Dist: torch=={'.'.join(torch.__version__.split('.')[:2])}.*" in metadata


def test_it_is_listed_and_loaded_again(package: Path) -> None:
    library = knossos.load(package)
    x = torch.linspace(-1.0, 2.0, 9, requires_grad=True)
    torch.testing.assert_close(library.relu3(x), kernels.relu3(x))
    (found,) = torch.autograd.grad(library.relu3(x).sum(), x)
    (expected,) = torch.autograd.grad(kernels.relu3(x).sum(), x)
    torch.testing.assert_close(found, expected)
    assert str(library.prefix.__signature__) == "(x, n, context)"
    assert repr(library).startswith("<exported library pylib>\n  <exported kernel relu3(x: float) -> float; float32")
    assert read(package)["kernels"][0]["derivations"] == ["", "v", "j"]
    assert read(package)["kernels"][5]["derivations"] == ["", "v", "v10", "v01", "j", "j10", "j01"]


def test_the_processor_is_looked_at_first(package: Path) -> None:
    script = "import pylib; print(pylib.hyp(3.0, 4.0))"
    refused = python(script, package, KS_CPU_WITHOUT="sse4.2") if IS_X86 else None
    assert refused is None or refused.returncode == 1
    assert refused is None or "ImportError: the kernels of pylib cannot run on this processor" in refused.stderr
    assert refused is None or "those for x86-64-v2 need sse4.2" in refused.stderr


def test_what_does_not_fit_this_python_is_told(package: Path, tmp_path: Path) -> None:
    for name, old, new, words in (
        ("torch", f'"torch": "{read(package)["torch"]}"', '"torch": "1.0"', "was exported for torch 1.0"),
        ("machine", '"machines": {', '"machines": {}, "others": {', "was exported for"),
    ):
        shutil.copytree(package / "pylib", tmp_path / name)
        manifest = tmp_path / name / "manifest.json"
        text = manifest.read_text()
        assert old in text
        manifest.write_text(text.replace(old, new))
        with pytest.raises(ImportError, match=words):
            open_library(tmp_path / name)
    knossos.load(package)
    shutil.copytree(package, tmp_path / "again")
    with pytest.raises(ImportError, match="is registered already, by another library of that name"):
        knossos.load(tmp_path / "again")
    cpp = knossos.export(kernels.relu3, tmp_path / "cpp", target="cpp")
    with pytest.raises(ArgumentError, match="which Python does not load"):
        knossos.load(cpp)
    with pytest.raises(ArgumentError, match="is no export"):
        knossos.load(tmp_path)


def test_a_cpp_program_trains_with_it(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSC_COMPILE_FLAGS", "-O0")
        folder = knossos.export(
            {"relu3": kernels.relu3, "prefix": kernels.prefix, "double": kernels.once},
            tmp_path / "relu3_torch",
            target="libtorch",
            name="torchlib",
            example_inputs={"prefix": (torch.rand(3), 2, 0.5)},
            isa=ISA[:1],
        )
    told = run_page("libtorch", tmp_path, CXXFLAGS="-Wall -Werror")
    assert "torchlib::nn::Relu3" in told
    assert "libpython" not in run("ldd", tmp_path / "build_torch" / "train")
    relu3 = knossos.load(folder).relu3
    with pytest.raises(NotImplementedError, match="without its jvp"):
        relu3.jvp(1.0, 1.0)
    assert knossos.load(folder).relu3 is relu3
    (folder / "lib" / os.uname().machine / "libtorchlib.so").touch()
    with pytest.raises(ImportError, match="exported anew since"):
        knossos.load(folder)


def test_models_that_were_saved_hold_the_kernels(package: Path, tmp_path: Path) -> None:
    # By torch.ops alone; what one process exports, another runs.
    script = f"""
import torch
# One program is compiled, once: nothing is read in advance for others, or made fast.
torch._inductor.config.aot_inductor.precompile_headers = False
torch._inductor.config.aot_inductor.compile_wrapper_opt_level = "O0"
torch.ops.load_library({str(package / "pylib" / "lib" / os.uname().machine / "libpylib.so")!r})
class Model(torch.nn.Module):
    def forward(self, x):
        out, last = torch.ops.pylib.prefix(torch.ops.pylib.relu3(x), 2, torch.tensor(0.5))
        return out * 2 + last
x = torch.linspace(-1, 2, 6)
program = torch.export.export(Model(), (x,), dynamic_shapes=({{0: torch.export.Dim("n", min=3)}},))
torch.export.save(program, {str(tmp_path / "exported.pt2")!r})
path = torch._inductor.aoti_compile_and_package(program, package_path={str(tmp_path / "model.pt2")!r})
compiled = torch._inductor.aoti_load_package(path)
x = torch.linspace(-1, 3, 9)
torch.testing.assert_close(compiled(x), Model()(x))
"""
    done = python(script, TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "inductor"))
    assert done.returncode == 0, done.stderr
    knossos.load(package)
    x = torch.linspace(-1.0, 3.0, 9)
    found = torch.export.load(tmp_path / "exported.pt2").module()(x)
    out, last = kernels.prefix(kernels.relu3(x), 2, 0.5)
    torch.testing.assert_close(found, out * 2 + last)


def test_vmap_and_second_derivatives_are_exported_where_asked(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSC_COMPILE_FLAGS", "-O0")
        folder = knossos.export(
            kernels.sqrl,
            tmp_path / "out",
            target="libtorch",
            name="mapped",
            derivations=["v", "vv", "m", "vm"],
            dtypes=torch.float64,
            example_inputs=(torch.rand(4, 4),),
            isa=("native",),
        )
    sqrl = knossos.load(folder).sqrl
    x = torch.randn(3, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(sqrl, (x[0].requires_grad_(),))
    x = x.detach()
    torch.testing.assert_close(torch.func.vmap(sqrl)(x), kernels.vsqrl(x))
    slopes = torch.func.vmap(torch.func.grad(sqrl))(x)
    torch.testing.assert_close(slopes, kernels.vsqrl.vjp(x, torch.ones(3, dtype=torch.float64)))
    with pytest.raises(NotImplementedError, match="without the derivative mm"):
        torch.func.vmap(torch.func.vmap(sqrl))(x[None])


def test_a_cross_compiler_makes_code_for_another_machine(tmp_path: Path) -> None:
    folder = knossos.export(kernels.vsqrl, tmp_path / "out", target="cpp", example_inputs=(torch.rand(2, 4, 4),))
    sources = sorted((folder / "src").glob("*.cpp"))
    machine, level = OTHER
    compiler = f"{machine}-linux-gnu-g++"
    kernel_files = [source for source in sources if source.stem != "sqrl"]
    if shutil.which(compiler) is None:
        with pytest.raises(BuildError, match="needs the cross compiler"):
            compile_kernels(kernel_files, tmp_path / "libkernels.so", level)
        return
    compile_kernels(kernel_files, tmp_path / "libkernels.so", level)
    assert (tmp_path / "libkernels.so").read_bytes()[:4] == b"\x7fELF"
    include, test = ("-I", folder / "include"), folder / "tests" / "sqrl_test.c"
    run(compiler.replace("g++", "gcc"), "-std=c99", *include, "-c", test, "-o", tmp_path / "test.o")
    places = (*include, "-I", folder / "prelude", "-pthread", "-static")
    run(compiler, *STRICT, *places, *sources, tmp_path / "test.o", "-o", tmp_path / "program", "-lm")
    emulator = shutil.which(f"qemu-{machine}-static")
    assert emulator is None or "2 calls agree" in run(emulator, tmp_path / "program")


def test_what_a_package_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"

    def refused(match: str, kernel: object, error: type[Exception] = ArgumentError, **kwargs: object) -> None:
        with pytest.raises(error, match=match):
            knossos.export(kernel, out, **{"target": "python", **kwargs})
        assert not out.exists()

    refused("no version of a package", kernels.relu3, version="new")
    refused("no instruction set", kernels.relu3, isa=("-O3",))
    refused("is no operator", kernels.relu3, derivations=["b"])
    refused("maps over other dimensions", knossos.vmap(kernels.relu3.__wrapped__, out_dims=-1))
    clashing = {"a_b": kernels.relu3, "aB": kernels.once}
    refused("two things in the header", clashing, target="libtorch")
    refused("two things in the header", {"nn": kernels.relu3}, target="libtorch")
    monkeypatch.setenv("PATH", "")
    refused("needs the cross compiler", kernels.relu3, BuildError, isa=OTHER[1:])
