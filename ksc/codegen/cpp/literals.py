"""Constants as C++ literals, exact and as short as they can be."""

from __future__ import annotations

import math
import struct

from ksc.ir.nodes import Const
from ksc.ir.types import BoolType, BoxType, FloatType, IntegerType
from ksc.ops.cpp import PRIMARY, UNARY, CppExpr

INT64_MIN = -(1 << 63)


def literal(value: Const, float_type: str) -> CppExpr:
    """The literal for a scalar constant; ``float_type`` is ``float`` or ``double``."""
    match value.type:
        case FloatType():
            return float_literal(float(value.value), float_type)
        case BoolType():
            return CppExpr("true" if value.value else "false")
        case IntegerType():
            return integer_literal(int(value.value))
        case BoxType():
            return CppExpr("nullptr")
        case _:
            raise ValueError(f"no literal of type {value.type}")


def integer_literal(value: int) -> CppExpr:
    """A 64-bit integer; small ones need no suffix, since every context gives them their type."""
    if value == INT64_MIN:
        return CppExpr("INT64_MIN")
    text = str(value) if abs(value) < 1 << 31 else f"INT64_C({abs(value)})"
    if value < 0:
        return CppExpr(text if text[0] == "-" else f"-{text}", UNARY)
    return CppExpr(text)


def float_literal(value: float, float_type: str) -> CppExpr:
    """The shortest decimal that reads back as ``value`` rounded to the type."""
    narrow = float_type == "float"
    if narrow:
        value = to_float32(value)
    if math.isnan(value):
        return CppExpr("ks::nan<float>" if narrow else "ks::nan<double>")
    negative = math.copysign(1.0, value) < 0
    magnitude = abs(value)
    if math.isinf(magnitude):
        text = "ks::inf<float>" if narrow else "ks::inf<double>"
    else:
        text = _shortest(magnitude, narrow) + ("f" if narrow else "")
    return CppExpr(f"-{text}", UNARY) if negative else CppExpr(text, PRIMARY)


def to_float32(value: float) -> float:
    """``value`` rounded to the nearest float32."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def string_literal(text: str) -> str:
    """A C++ string literal with the bytes of ``text`` in UTF-8."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "?": "\\?"}
    out = []
    for char in text:
        if char in escapes:
            out.append(escapes[char])
        elif char.isprintable() and char.isascii():
            out.append(char)
        else:
            out.extend(f"\\{byte:03o}" for byte in char.encode("utf-8", "replace"))
    return f'"{"".join(out)}"'


def _shortest(value: float, narrow: bool) -> str:
    text = repr(value)
    if narrow:
        text = next(t for d in range(1, 10) if to_float32(float(t := f"{value:.{d}g}")) == value)
        # Python's own spelling decides between 1e-05 and 0.00001, and 100000.0 and 1e+05.
        text = repr(float(text))
    mantissa, e, exponent = text.partition("e")
    if e:
        return f"{mantissa}e{int(exponent)}"
    return mantissa
