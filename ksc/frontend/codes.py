"""The codes of the errors that the frontend raises: one line each with the cause and the remedy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """A stable code, what causes the error, and what to do about it."""

    code: str
    cause: str
    remedy: str


_TABLE = (
    # Constructs that have no meaning in a kernel.
    ErrorCode("KS100", "a kind of statement or expression that kernels do not have", "rewrite it, or move it out"),
    ErrorCode("KS101", "an exception is raised or caught", "state conditions with `assert`; return a value otherwise"),
    ErrorCode("KS102", "`with`, `async`, `await`, `yield`", "return the values; call the kernel from such code"),
    ErrorCode("KS103", "a variable of another scope is written: `global`, `nonlocal`", "return the new value"),
    ErrorCode("KS104", "starred arguments, parameters or targets", "name each one"),
    ErrorCode("KS105", "text or a container with contents that depend on the arguments", "use numbers and tuples"),
    ErrorCode("KS106", "a call of something that is not Python source and not a known function", "use math or torch"),
    ErrorCode("KS107", "an attribute or an element is written", "build a new value"),
    ErrorCode(
        "KS108", "a definition that kernels do not have: class, decorated or generic function", "define it outside"
    ),
    ErrorCode("KS109", "a function whose source cannot be had", "define it with def in a file or a notebook cell"),
    ErrorCode(
        "KS110",
        "an object that can change unnoticed, or an unknown one, is captured from outside",
        "pass it as an argument",
    ),
    ErrorCode("KS111", "a value that depends on the arguments stands where a constant is needed", "see the message"),
    ErrorCode("KS112", "a variable may be read before it is bound", "bind it on every path"),
    ErrorCode("KS113", "recursion that never returns, or of a local function that captures", "add a case, pass"),
    ErrorCode("KS114", "a loop or a nest that is too large to be unrolled", "use range with a run-time bound"),
    ErrorCode("KS115", "an attribute or a method that a value does not have", "see the message"),
    ErrorCode("KS116", "a name that is not defined", "define or import it"),
    ErrorCode("KS117", "Python raises an exception while the constant part of the function is evaluated", "see there"),
    ErrorCode("KS118", "the value returned cannot leave a kernel", "return numbers, tuples, dataclasses of them"),
    ErrorCode("KS130", "a derivative rule that is missing or has the wrong form", "see custom_vjp and custom_jvp"),
    ErrorCode("KS131", "a function that is part of its own derivative", "differentiate another function"),
    ErrorCode("KS120", "an argument of the kernel is changed", "work on a copy: `x = x.clone()`"),
    ErrorCode("KS121", "a tensor or list is read that may have been changed under another name", "copy one of them"),
    ErrorCode("KS122", "a view that cannot be written or made as PyTorch makes it", "copy the tensor first"),
    ErrorCode("KS123", "a tensor whose size depends on the elements of another", "use torch.where() or a mask"),
    # Types.
    ErrorCode("KS200", "an operation on types that it is not defined for", "convert with float() or int()"),
    ErrorCode("KS201", "types that differ between the branches of an `if`", "convert on one side"),
    ErrorCode("KS202", "a loop that changes the type of a variable", "start with the type it ends with"),
    ErrorCode("KS203", "an integer constant that does not fit 64 bits", "use a float"),
    ErrorCode("KS204", "a call with arguments that do not fit the parameters", "see the signature"),
    ErrorCode("KS205", "a result that does not fit the return annotation", "convert it, or correct the annotation"),
    ErrorCode("KS207", "a tuple of another length than is unpacked or joined", "use the same length"),
    ErrorCode("KS208", "tensors whose sizes do not fit together", "use tensors of the same sizes"),
    ErrorCode("KS209", "an index or a dimension out of range", "use one below the size"),
    ErrorCode("KS210", "integers of fewer than 64 bits would be computed with", "convert them: `x.long()`, `x * 1.0`"),
)

CODES = {entry.code: entry for entry in _TABLE}
