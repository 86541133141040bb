"""Builds: what makes a new one, what a crash leaves, who may be trusted."""

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ksc.codegen import GeneratedSource
from ksc.compiler import BuildOptions, build, build_many, clear, list_kernels, load, trust
from ksc.compiler.options import words
from ksc.compiler.store import Store
from ksc.errors import BuildError, CacheError
from ksc.ir.nodes import Span

FAST = BuildOptions(debug=True)
TEXT = """\
extern "C" int ks_answer(const void *, char *const *, const long *, long) {
    return 42;
}
"""


def source(text=TEXT, name="answer", line_map=None):
    return GeneratedSource(name, text, {"": f"ks_{name}"}, line_map or {}, "float32")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty build folder."""
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path / "build"))
    return tmp_path / "build" / "torch_extensions"


def test_build_load_call(root):
    built = build(source(), FAST)
    assert not built.from_cache
    assert built.library_path.parent.parent == root
    assert built.library_path.parent.name.startswith("answer-")
    assert built.source_path.read_text() == TEXT
    loaded = load(built)
    assert loaded.addresses["ks_answer"] != 0
    assert loaded.library.ks_answer(None, None, None, 0) == 42


def test_second_build_is_found(root):
    first, second = build(source(), FAST), build(source(), FAST)
    assert second.from_cache
    assert second.entry == first.entry


def test_nothing_is_left_beside_the_entry(root):
    built = build(source(), FAST)
    assert {f.name for f in built.entry.folder.iterdir()} == {"answer.cpp", "answer.so", "kernel.json"}
    assert list((root / ".building").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (TEXT.replace("42", "43"), FAST),
        (TEXT + "// edited\n", FAST),
        (TEXT, replace(FAST, contract=False)),
        (TEXT, replace(FAST, extra=("-DX=1",))),
        (TEXT, replace(FAST, march="x86-64-v2" if os.uname().machine == "x86_64" else "")),
    ],
)
def test_what_differs_is_built_anew(root, text, options):
    first = build(source(), FAST)
    other = build(source(text), options)
    assert not other.from_cache
    assert other.library_path != first.library_path


def test_compiler_and_prelude_belong_to_the_key(root, monkeypatch):
    build(source(), FAST)
    monkeypatch.setattr("ksc.compiler.cached_build.prelude_digest", lambda folder: "edited")
    assert not build(source(), FAST).from_cache
    monkeypatch.undo()
    monkeypatch.setenv("KSC_BUILD_DIR", str(root.parent))
    monkeypatch.setenv("CXX", "g++ -DWRAPPED")
    assert not build(source(), FAST).from_cache


def test_debug_from_the_environment():
    assert BuildOptions.from_environment({"KSC_DEBUG": "1"}).debug
    assert not BuildOptions.from_environment({"KSC_DEBUG": "0"}).debug
    assert "-ffast-math" not in BuildOptions().compile_flags()


@pytest.mark.parametrize("damage", ["truncate", "flip", "no record", "bad record", "no source", "no library"])
def test_damaged_entry_is_rebuilt(root, damage):
    entry = build(source(), FAST).entry
    record = entry.folder / "kernel.json"
    match damage:
        case "truncate":
            entry.library_path.write_bytes(entry.library_path.read_bytes()[:1000])
        case "flip":
            content = bytearray(entry.library_path.read_bytes())
            content[len(content) // 2] ^= 1
            entry.library_path.write_bytes(content)
        case "no record":
            record.unlink()
        case "bad record":
            record.write_text('{"format": 1, "name": [')
        case "no source":
            entry.source_path.unlink()
        case "no library":
            entry.library_path.unlink()
    again = build(source(), FAST)
    assert not again.from_cache
    assert load(again).library.ks_answer(None, None, None, 0) == 42
    assert build(source(), FAST).from_cache


SLOW_COMPILER = """\
#!/bin/sh
case "$*" in *--version*) echo slow 1.0; exit 0;; esac
echo run >> "{log}"
sleep {seconds}
exec g++ "$@"
"""

BUILD_SCRIPT = """
import sys
from ksc.codegen import GeneratedSource
from ksc.compiler import BuildOptions, build
built = build(GeneratedSource("answer", {text!r}, {{"": "ks_answer"}}, {{}}, "float32"), BuildOptions(debug=True))
sys.stdout.write("cache" if built.from_cache else "built")
"""


def slow_compiler(folder: Path, seconds: float) -> tuple[Path, Path]:
    script, log = folder / "slow-c++", folder / "log"
    script.write_text(SLOW_COMPILER.format(log=log, seconds=seconds))
    script.chmod(0o755)
    return script, log


def start_build(environ):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(BUILD_SCRIPT.format(text=TEXT))],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).resolve().parents[2],
    )


def test_two_processes_build_once(root, tmp_path):
    compiler, log = slow_compiler(tmp_path, 0.5)
    environ = {**os.environ, "CXX": str(compiler)}
    processes = [start_build(environ) for _ in range(2)]
    outputs = sorted(process.communicate(timeout=120)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == ["built", "cache"]
    assert log.read_text().count("run") == 2  # one compilation, one link


def test_killed_build_leaves_nothing_that_matters(root, tmp_path, monkeypatch):
    compiler, log = slow_compiler(tmp_path, 30)
    process = start_build({**os.environ, "CXX": str(compiler)})
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(list((root / ".building").iterdir())) == 1
    assert list(list_kernels()) == []
    # The same key again, and the compiler quick this time.
    state = compiler.stat()
    compiler.write_text(SLOW_COMPILER.format(log=log, seconds="00"))
    os.utime(compiler, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert compiler.stat().st_size == state.st_size
    monkeypatch.setenv("CXX", str(compiler))
    began = time.monotonic()
    assert not build(source(), FAST).from_cache
    assert time.monotonic() - began < 20
    assert list((root / ".building").iterdir()) == []


def test_threads_build_once(root, tmp_path, monkeypatch):
    compiler, log = slow_compiler(tmp_path, 0.2)
    monkeypatch.setenv("CXX", str(compiler))
    built = build_many([source()] * 4, FAST)
    assert len({b.library_path for b in built}) == 1
    assert log.read_text().count("run") == 2


def test_build_many_keeps_the_order(root):
    sources = [source(TEXT.replace("answer", f"a{k}").replace("42", str(k)), f"a{k}") for k in range(3)]
    built = build_many(sources, FAST)
    assert [b.name for b in built] == ["a0", "a1", "a2"]
    assert [load(b).library[f"ks_a{k}"](None, None, None, 0) for k, b in enumerate(built)] == [0, 1, 2]
    assert build_many([], FAST) == []


def test_compile_error_names_both_lines(root):
    place = Span("user.py", 7, 4, 7, 20, "    return undefined_name")
    broken = source(TEXT.replace("42", "undefined_name"), line_map={2: place})
    with pytest.raises(BuildError) as caught:
        build(broken, FAST)
    text = str(caught.value)
    assert "user.py:7:5" in text
    assert "answer.cpp:2: return undefined_name;" in text
    assert "undefined_name" in caught.value.message
    assert list(list_kernels()) == []
    assert list((root / ".building").iterdir()) == []


def test_missing_compiler_says_how_to_get_one(root, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match="no-such-compiler") as caught:
        build(source(), FAST)
    assert "CXX" in caught.value.remedy
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match="c\\+\\+") as caught:
        build(source(), FAST)
    assert "install" in caught.value.remedy


def test_compiler_that_does_not_run(root, tmp_path, monkeypatch):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(BuildError, match="does not run"):
        build(source(), FAST)


def test_folder_with_spaces_and_signs(tmp_path, monkeypatch):
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path / "a folder, with $HOME & co"))
    assert load(build(source(), FAST)).library.ks_answer(None, None, None, 0) == 42


@pytest.mark.parametrize("which", ["entry", "store", "parent"])
@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_world_writable_folder_is_refused(root, which, mode):
    entry = build(source(), FAST).entry
    place = {"entry": entry.folder, "store": root, "parent": root.parent}[which]
    place.chmod(mode)
    try:
        with pytest.raises(CacheError, match="not safe") as caught:
            build(source(), FAST)
        assert str(place) in str(caught.value)
        assert "KSC_BUILD_DIR" in caught.value.remedy
    finally:
        place.chmod(0o755)
    assert build(source(), FAST).from_cache


@pytest.mark.parametrize("which", ["library", "record"])
def test_a_file_that_others_can_write_is_refused(root, which):
    entry = build(source(), FAST).entry
    file = entry.library_path if which == "library" else entry.folder / "kernel.json"
    file.chmod(0o666)
    with pytest.raises(CacheError, match="not safe") as caught:
        build(source(), FAST)
    assert f"chmod go-w {file}" in caught.value.remedy
    file.chmod(0o644)
    assert build(source(), FAST).from_cache


def test_files_are_private_whatever_the_umask(root):
    build(source(TEXT + "\n"), FAST)
    before = os.umask(0)
    try:
        entry = build(source(), FAST).entry
    finally:
        os.umask(before)
    assert all(file.stat().st_mode & 0o022 == 0 for file in entry.folder.iterdir())
    assert build(source(), FAST).from_cache


def test_sticky_parent_is_fine_but_not_the_folder_itself(root):
    root.parent.mkdir(parents=True)
    root.parent.chmod(0o777 | stat.S_ISVTX)
    assert not build(source(), FAST).from_cache
    root.chmod(0o777 | stat.S_ISVTX)
    with pytest.raises(CacheError):
        build(source(TEXT + "\n"), FAST)


@pytest.mark.parametrize("owner", ["foreign"])
def test_folder_of_another_user_is_refused(root, owner, monkeypatch):
    build(source(), FAST)
    real = Path.lstat

    def lstat(path):
        state = real(path)
        if path != root:
            return state
        return os.stat_result((state.st_mode, 0, 0, 1, 54321, state.st_gid, 0, 0, 0, 0))

    monkeypatch.setattr(Path, "lstat", lstat)
    with pytest.raises(CacheError, match="54321"):
        build(source(), FAST)


def test_read_only_cache_serves_but_does_not_build(root, monkeypatch):
    build(source(), FAST)

    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert build(source(), FAST).from_cache
    with pytest.raises(CacheError, match="cannot be written") as caught:
        build(source(TEXT + "\n"), FAST)
    assert "KSC_BUILD_DIR" in caught.value.remedy


def test_shared_read_only_level(root, tmp_path, monkeypatch):
    built = build(source(), FAST)
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("KSC_CACHE_PATH", os.pathsep.join((str(tmp_path / "absent"), str(root.parent))))
    found = build(source(), FAST)
    assert found.from_cache
    assert found.library_path == built.library_path
    assert [kernel.read_only for kernel in list_kernels()] == [True]
    assert clear() == 0
    root.chmod(0o777)
    with pytest.raises(CacheError):
        build(source(), FAST)


def test_a_shared_level_serves_where_there_is_no_compiler(root, tmp_path, monkeypatch):
    built = build(source(), FAST)
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("KSC_CACHE_PATH", str(root.parent))
    monkeypatch.setenv("CXX", str(tmp_path / "no_compiler"))
    assert build(source(), FAST).library_path == built.library_path
    with pytest.raises(BuildError, match="was not found"):
        build(source(TEXT + "\n"), FAST)
    with pytest.raises(BuildError, match="was not found"):
        build(source(), replace(FAST, extra=("-DOTHER",)))


def test_the_owner_of_a_shared_level_is_trusted(root, tmp_path, monkeypatch):
    build(source(), FAST)
    if os.geteuid() == 0:
        for path in (root.parent, *root.parent.rglob("*")):
            os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        monkeypatch.setattr(trust, "PACKAGE_DIR", Path("/"))
    with pytest.raises(CacheError, match="belongs to the user with id"):
        build(source(), FAST)
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("KSC_CACHE_PATH", str(root.parent))
    assert build(source(), FAST).from_cache


def test_list_and_clear(root):
    build(source(), FAST)
    build(source(TEXT.replace("answer", "other"), "other"), FAST)
    listed = list(list_kernels())
    assert [(k.name, k.dtype, k.read_only) for k in listed] == [
        ("answer", "float32", False),
        ("other", "float32", False),
    ]
    for kernel in listed:
        assert kernel.path.is_dir()
        assert kernel.size > len(TEXT)
        assert abs(kernel.built_at - time.time()) < 600
    assert clear("answer") == 1
    assert [k.name for k in list_kernels()] == ["other"]
    assert clear() == 1
    assert list(list_kernels()) == []
    assert not build(source(), FAST).from_cache


def test_record_says_how_it_was_built(root):
    entry = build(source(), FAST).entry
    record = json.loads((entry.folder / "kernel.json").read_text())
    assert record["entries"] == {"": "ks_answer"}
    assert "-O0" in record["command"]
    assert Store(root).find("answer", entry.key) == entry


def test_library_that_does_not_open(root):
    built = build(source(TEXT.replace("ks_answer", "ks_else")), FAST)
    with pytest.raises(BuildError, match="cannot be opened"):
        load(built)


def test_nothing_is_printed(root, capfd):
    build(source(), FAST)
    assert capfd.readouterr() == ("", "")


def test_commands_in_the_environment_are_taken_apart_as_the_system_writes_them() -> None:
    assert words("ccache 'my g++' -O1", "linux") == ("ccache", "my g++", "-O1")
    program = r"C:\Program Files\LLVM\bin\clang++.exe"
    assert words(rf'"{program}" -IC:\include', "win32") == (program, r"-IC:\include")
    assert words("") == ()
