"""New Python processes that find PyTorch imported: each forks from one that has done nothing else.

To import PyTorch takes longer than most of what tests ask of a new process. One that is killed, or looks at what comes
before that import, is started as usual.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

SERVER = Path(__file__).with_name("process_server.py")


def run_python(
    *arguments: object, environ: Mapping[str, str] | None = None, cwd: Path | None = None, said: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments (``-c CODE …``, ``-m MODULE …`` or ``FILE …``), as ``subprocess.run`` does.

    Args:
        arguments: the arguments.
        environ: all variables of the environment, those of this process if not given.
        cwd: where to run it.
        said: what it finds in its standard input.
    """
    command = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        places = [os.path.join(folder, name) for name in ("in", "out", "err")]
        Path(places[0]).write_text(said, "utf-8")
        request = {
            "arguments": command,
            "environ": dict(os.environ if environ is None else environ),
            "cwd": os.fspath(cwd or Path.cwd()),
            "places": places,
        }
        server = _server(os.getpid())
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        out, err = (Path(place).read_text("utf-8") for place in places[1:])
    return subprocess.CompletedProcess([sys.executable, *command], status, out, err)


@functools.cache
def _server(process: int) -> subprocess.Popen[str]:
    """The process from which those of one process fork; it ends with it."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd="/"
    )
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    server.wait()
