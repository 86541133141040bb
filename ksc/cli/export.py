"""``ksc export``: write kernels for programs that have neither Knossos nor Python to compile them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ksc.cli.dtypes import add_dtypes, chosen_dtypes
from ksc.cli.target import TargetError, evaluated_args, load_kernel


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "export",
        help="write kernels as C++ or as a library, ahead of time",
        description="Write kernels into a folder, ahead of time; or say what such a folder holds.",
    )
    parser.add_argument(
        "kernels", metavar="[NAME=]FILE.py:NAME", nargs="*", help="what to export, and under which name"
    )
    parser.add_argument("--target", help="what to export to; --targets says what there is")
    parser.add_argument("-o", "--output", metavar="DIR", help="the folder; an earlier export there is replaced")
    parser.add_argument(
        "--args",
        metavar="PYTHON",
        action="append",
        help="the arguments of an example call, such as 'torch.rand(4, 4), 3'; once for each kernel, in their order, "
        "empty for one whose annotations tell its types",
    )
    add_dtypes(parser)
    parser.add_argument(
        "--derivation",
        action="append",
        metavar="LETTERS",
        help="what goes along with the value: v the vjp, j the jvp, vj the jvp of the vjp, b value and vjp in one; may "
        "be given several times (default: v)",
    )
    parser.add_argument("--name", help="what the library is called (default: as the first kernel)")
    parser.add_argument(
        "--static-sizes", action="store_true", help="compile for just the sizes of the example's tensors"
    )
    parser.add_argument(
        "--set", action="append", metavar="OPTION=VALUE", default=[], help="an option of the target, see --targets"
    )
    parser.add_argument("--list", metavar="DIR", help="say what an export holds, and do nothing else")
    parser.add_argument("--targets", action="store_true", help="say what can be exported to, and do nothing else")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export, or list."""
    if args.targets:
        return _print_targets(args.json)
    if args.list is not None:
        return _print_export(Path(args.list), args.json)
    for value, missing in ((args.kernels, "FILE.py:NAME"), (args.target, "--target"), (args.output, "--output")):
        if not value:
            raise TargetError(f"{missing} is missing", remedy="ksc export FILE.py:NAME --target TARGET -o DIR")
    return _export(args)


def _export(args: argparse.Namespace) -> int:
    import torch

    from ksc.exports import export
    from ksc.exports.targets import TARGETS

    if args.target not in TARGETS:
        raise TargetError(f"there is no target {args.target!r}", remedy=f"one of {', '.join(TARGETS)}")
    options = _options(args.set, TARGETS[args.target].options)
    given: list[str] = args.args or []
    if len(given) > len(args.kernels):
        raise TargetError(f"--args is given {len(given)} times for {len(args.kernels)} kernel(s)")
    kernels, inputs = {}, {}
    for k, written in enumerate(args.kernels):
        name, equals, target = written.partition("=")
        if not equals:
            target = written
        kernel = load_kernel(target)
        name = name if equals else target.rpartition(":")[2].rpartition(".")[2]
        if name in kernels:
            raise TargetError(f"two kernels are called {name}", remedy=f"name one: other={target}")
        kernels[name] = kernel
        if k < len(given) and given[k].strip():
            inputs[name] = evaluated_args(given[k], kernel.__wrapped__)
    folder = export(
        kernels,
        args.output,
        target=args.target,
        example_inputs=inputs,
        dtypes=[getattr(torch, dtype) for dtype in chosen_dtypes(args)],
        derivations=args.derivation,
        name=args.name,
        static_sizes=args.static_sizes,
        **options,
    )
    return _print_export(folder, args.json)


def _options(given: list[str], known: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise TargetError(f"--set {text}: write OPTION=VALUE")
        if name not in known:
            raise TargetError(f"--set {text}: the target has no such option", remedy=f"one of {', '.join(known)}")
        default = known[name]
        if isinstance(default, bool):
            if value not in ("yes", "no"):
                raise TargetError(f"--set {text}: {name} is yes or no")
            found[name] = value == "yes"
        else:
            found[name] = tuple(value.split(",")) if isinstance(default, tuple) else value
    return found


def _print_targets(as_json: bool) -> int:
    from ksc.exports.targets import TARGETS

    if as_json:
        rows = [{"target": n, "summary": t.summary, "options": dict(t.options)} for n, t in TARGETS.items()]
        print(json.dumps(rows, indent=2))
        return 0
    for name, target in TARGETS.items():
        print(f"{name:<10} {target.summary}")
        for option, default in target.options.items():
            print(f"{'':<12} --set {option}={_shown(default)}")
    return 0


def _shown(default: Any) -> str:
    """The value of an option as it is written on the command line."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _print_export(folder: Path, as_json: bool) -> int:
    from ksc.exports.manifest import read

    data = read(folder)
    if as_json:
        print(json.dumps({"folder": str(folder), **data}, indent=2))
        return 0
    print(f"{data['name']}: {data['target']}, exported by Knossos {data['knossos']}, in {folder}")
    for kernel in data["kernels"]:
        args = ", ".join(_spoken(slot) for slot in kernel["arguments"])
        results = ", ".join(_spoken(slot, named=False) for slot in kernel["results"])
        derivations = ", ".join(derivation or "value" for derivation in kernel["derivations"])
        print(f"  {kernel['name']}({args}) -> {results}")
        print(f"    {', '.join(kernel['dtypes'])}; {derivations}; from {kernel['source'] or 'Python'}")
    return 0


def _spoken(slot: dict[str, Any], *, named: bool = True) -> str:
    sizes = slot.get("sizes") or [None] * slot["rank"]
    shape = f"[{', '.join('_' if size is None else str(size) for size in sizes)}]" if slot["rank"] else ""
    return f"{slot['name']}: {slot['kind']}{shape}" if named else f"{slot['kind']}{shape}"
