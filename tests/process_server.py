"""Forks a process for each request in its standard input, see processes.py."""

import json
import os
import runpy
import sys
import types

import torch  # noqa: F401

for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if not child:
        break
    sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
    sys.stdout.flush()
else:
    sys.exit()

os.environ.clear()
os.environ.update(request["environ"])
os.chdir(request["cwd"])
for number, place in enumerate(request["places"]):
    file = os.open(place, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
    os.dup2(file, number)
    os.close(file)
sys.stdin = open(0, encoding="utf-8", closefd=False)

kind, *rest = request["arguments"]
paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
main = types.ModuleType("__main__")
if kind == "-m":
    sys.argv = rest
    sys.path[:1] = [os.getcwd(), *paths]
    runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
elif kind == "-c":
    code, *rest = rest
    sys.argv = ["-c", *rest]
    sys.path[:1] = ["", *paths]
    sys.modules["__main__"] = main
    exec(compile(code, "<string>", "exec"), main.__dict__)
else:
    sys.argv = [kind, *rest]
    sys.path[:1] = [os.path.dirname(os.path.abspath(kind)), *paths]
    sys.modules["__main__"] = main
    main.__file__ = kind
    with open(kind, encoding="utf-8") as script:
        text = script.read()
    exec(compile(text, kind, "exec"), main.__dict__)
