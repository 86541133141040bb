"""C++ names for the user's names: legal, unique, and as close to the original as they can be."""

from __future__ import annotations

import re

KEYWORDS = frozenset(
    """alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class
    co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype
    default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline
    int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public
    register reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch
    template this thread_local throw true try typedef typeid typename typeof union unsigned using virtual void
    volatile wchar_t while xor xor_eq""".split()
)
PRELUDE_NAMES = frozenset({"ks", "rt", "std", "ks_runtime", "int8_t", "int64_t", "uint8_t", "size_t", "main"})
MACROS = frozenset(
    """assert errno EOF NULL NAN INFINITY HUGE_VAL HUGE_VALF INT64_MAX INT64_MIN INT64_C isnan isinf isfinite
    signbit linux unix i386 offsetof va_arg va_start va_end va_copy fpclassify isnormal isgreater isless
    isunordered math_errhandling MATH_ERRNO MATH_ERREXCEPT DOMAIN SING OVERFLOW UNDERFLOW TLOSS PLOSS""".split()
)
RESERVED = KEYWORDS | PRELUDE_NAMES | MACROS

ENTRY_NAMES = frozenset({"host", "data", "strides", "n", "results", "arguments", "lane", "all", "operands"})
"""The variables of an entry, which would hide a function of the same name."""

DERIVED_SUFFIXES = {
    "rev": "_vjp",
    "valrev": "_value_and_vjp",
    "resrev": "_backward",
    "fwd": "_jvp",
    "valfwd": "_value_and_jvp",
    "suffwdpass": "_fwdpass",
    "sufrevpass": "_revpass",
    "vmap": "_vmap",
}

_DERIVED = re.compile(r"\[([a-z]+)(\w*) (.*)\]")
_TEMPORARY = re.compile(r"_*(?:_bar|_dot)*")


def is_temporary(name: str) -> bool:
    """Whether the name is one that a transform made up rather than the user."""
    return _TEMPORARY.fullmatch(name) is not None


def is_derived(name: str) -> bool:
    """Whether the name is that of an adjoint or a tangent."""
    return name.endswith(("_bar", "_dot"))


def identifier(name: str) -> str:
    """A legal C++ identifier for ``name`` that no keyword, macro or prelude name clashes with."""
    # Two underscores together, or one before a capital at the start, belong to the implementation.
    text = re.sub(r"_{2,}", "_", re.sub(r"[^0-9A-Za-z_]", "_", name))
    if not text.strip("_") or text.startswith(("_bar", "_dot")):
        text = f"t{text.rstrip('_')}"
    if text[0].isdigit() or re.match(r"_[A-Z]", text):
        text = "v" + text
    if text in RESERVED or text.startswith("M_"):
        text += "_"
    return text


def function_identifier(name: str) -> str:
    """The identifier of a function, derived ones spelt with a suffix: ``[rev f]`` is ``f_vjp``."""
    suffix = ""
    while match := _DERIVED.fullmatch(name):
        derivation, seeds, name = match.groups()
        suffix = DERIVED_SUFFIXES.get(derivation, f"_{derivation}") + seeds + suffix
    text = identifier(name.strip("[]") + suffix)
    # The structs that functions return and keep are named after them with these endings.
    return f"{text}_" if text in ENTRY_NAMES or text.endswith(("_results", "_box")) else text


def spoken(name: str) -> str:
    """How messages call a function: by the user's name, that of a derivative by what it is the derivative of."""
    derivative = False
    while match := _DERIVED.fullmatch(name):
        derivation, _, name = match.groups()
        derivative |= derivation not in ("vmap", "some")
    return f"the derivative of {name}" if derivative else name


class Scope:
    """The names in use in one C++ scope and in those around it.

    ``kept`` are names of the user's, which no temporary takes before him.
    """

    def __init__(
        self,
        outer: Scope | None = None,
        reserved: frozenset[str] = frozenset(),
        kept: frozenset[str] = frozenset(),
    ) -> None:
        self._outer = outer
        self._names = set(reserved)
        # The first number that may still be free, by name; numbers before it stay taken.
        self._numbers: dict[tuple[str, bool], int] = {}
        self._kept: frozenset[str] = outer._kept if outer is not None else kept

    def __contains__(self, name: str) -> bool:
        return name in self._names or (self._outer is not None and name in self._outer)

    def declare(self, name: str) -> str:
        """An identifier for ``name`` that is new here; it is taken from now on."""
        base = identifier(name)
        made_up = is_temporary(name)
        stem = f"{base.rstrip('_')}_" if base != "t" else base
        k = self._number(base, made_up)
        unique = f"{stem}{k}" if k > 1 else base
        while unique in self or (made_up and unique in self._kept):
            k += 1
            unique = f"{stem}{k}"
        self._numbers[base, made_up] = k
        self._names.add(unique)
        return unique

    def declare_around(self, name: str) -> str:
        """The same for the scope around this one, for what stands before a loop."""
        return self.declare(name) if self._outer is None else self._outer.declare(name)

    def _number(self, base: str, made_up: bool) -> int:
        found = self._numbers.get((base, made_up))
        if found is None:
            found = 1 if self._outer is None else self._outer._number(base, made_up)
        return found
