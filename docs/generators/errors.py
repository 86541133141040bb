"""What the page Errors says of each code, from the table of the frontend and from the exceptions themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from docs.generators.markdown import code, table
from ksc import errors
from ksc.frontend.codes import CODES, ErrorCode
from ksc.paths import prelude_dir

OTHERS: Mapping[str, ErrorCode] = {
    entry.code: entry
    for entry in (
        ErrorCode("KS000", "an error of no other kind", "see the message"),
        ErrorCode("KS300", "a kernel is called with arguments that do not fit its parameters", "see the signature"),
        ErrorCode("KS400", "a derivative that does not exist or is not known is asked for", "see the message"),
        ErrorCode(
            "KS500", "a build failed for a reason of its own", "see the message, which has the compiler's output"
        ),
        ErrorCode(
            "KS501",
            "g++ or ninja is not found, or does not run",
            "install it, or name a compiler by `CXX`; `ksc doctor`",
        ),
        ErrorCode(
            "KS502",
            "the C++ compiler refused the generated code, or the machine ran out of memory or disk",
            "report it, unless the message names the machine",
        ),
        ErrorCode("KS503", "a library that was built cannot be opened", "`ksc cache clear`, and see the message"),
        ErrorCode(
            "KS504",
            "neither nvcc nor NVRTC is found, or they are asked for GPUs that do not exist",
            "`pip install nvidia-cuda-nvrtc` or `nvidia-cuda-nvcc`, or install the CUDA toolkit and set `CUDA_HOME`",
        ),
        ErrorCode("KS600", "the folder of built kernels cannot be used", "give another one by `KSC_BUILD_DIR`"),
        ErrorCode(
            "KS601", "others can write to the folder of built kernels, or to one above it", "see the message: a `chmod`"
        ),
        ErrorCode("KS602", "the folder of built kernels cannot be written", "give another one by `KSC_BUILD_DIR`"),
        ErrorCode("KS700", "a running kernel stopped, for a reason that has no code of its own", "see the message"),
        ErrorCode("KS800", "text of the IR that breaks the IR's rules", "see SYNTAX; if no text was yours, report it"),
        ErrorCode(
            "KS900", "a command names a file or function that cannot be had", "`FILE.py:NAME`, as the message says"
        ),
        ErrorCode("KS119", "a GPU cannot run what the kernel does", "see the message, or run it on the CPU"),
        ErrorCode("KS920", "an optional package is not installed", "the message names the extra that brings it"),
        ErrorCode("KS910", "`ksc demo` lacks a package, or finds an error", "`pip install 'ksc[examples]'`"),
    )
}
"""The codes beside the frontend's and those of running kernels."""

_STOPS = {
    "ASSERT": "call it with arguments for which the condition holds",
    "ZERO_DIVISION": "divide floats, or test the divisor before",
    "INDEX": "see index, dimension and size in the message",
    "RECURSION": "write a loop; recursion goes some thousand calls deep",
    "MEMORY": "see the line that makes the tensor",
    "SHAPE": "report it, with the function",
    "DOMAIN": "test the operand before",
    "OFFSETS": "compile the source without the line that says `KS_OFFSETS 32`; PyTorch's calls do that by themselves",
    "CALLBACK": "see the function that is called back; from Python its own exception goes through",
}


def _of_running_kernels() -> dict[str, ErrorCode]:
    """The codes of ``ks_error``, KS701 and on, as the header of the runtime lists them."""
    header = (prelude_dir() / "ks" / "runtime.h").read_text(encoding="utf-8")
    found = re.findall(r"KS_ERROR_(\w+) = (\d+),? +/\* (.*?) \*/", header)
    return {
        f"KS7{int(number):02}": ErrorCode(f"KS7{int(number):02}", cause, _STOPS[name]) for name, number, cause in found
    }


ALL: Mapping[str, ErrorCode] = dict(sorted({**CODES, **_of_running_kernels(), **OTHERS}.items()))


def entry(number: str) -> str:
    """Heading, cause and remedy of one code."""
    found = ALL[number]
    return f"({number.lower()})=\n### {number}\n\n{_sentence(found.cause)} *Instead:* {found.remedy}."


def exceptions() -> str:
    """The exceptions with the code that each has by default."""
    found = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.KnossosError)]
    rows = []
    for cls in sorted(found, key=lambda cls: cls.default_code):
        also = [base.__name__ for base in cls.__bases__ if base is not errors.KnossosError and base is not Exception]
        first = (inspect.getdoc(cls) or "").split("\n")[0]
        rows.append((code(cls.__name__), f"{cls.default_code[:3]}xx", first, ", ".join(map(code, also))))
    return table(("exception", "codes", "", "also a"), rows)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
