"""How the types of the IR are spelt in C++."""

from __future__ import annotations

from ksc.codegen.cpp.names import identifier
from ksc.errors import InvalidIRError
from ksc.ir.types import AccType, BoolType, BoxType, FloatType, IntegerType, TensorType, Type

COMPUTE = {"float32": "float", "float64": "double", "float16": "float", "bfloat16": "float"}
"""The type in which Floats of each dtype are computed."""

STORAGE = {"float32": "float", "float64": "double", "float16": "ks::half", "bfloat16": "ks::bfloat16"}
"""The type in which Floats of each dtype are stored."""


def box_struct(name: str, float_type: str = "float") -> str:
    """The struct of a box; one of its own where a Float is a pack."""
    return identifier(name.strip("[]")) + ("_lanes_box" if float_type.startswith("ks::pack<") else "_box")


def cpp_type(type_: Type, float_type: str) -> str:
    """The C++ type of a value; Float is ``float_type``. Where that is a pack, so is what else a value holds."""
    packed = float_type.startswith("ks::pack<")
    match type_:
        case FloatType():
            return float_type
        case IntegerType():
            return float_type.replace("ks::pack<", "ks::pack_int<") if packed else "int64_t"
        case BoolType():
            return float_type.replace("ks::pack<", "ks::pack_mask<") if packed else "bool"
        case TensorType(rank=rank, elem=elem):
            return f"ks::tensor<{cpp_type(elem, float_type)}, {rank}>"
        case BoxType(name=name):
            return f"const {box_struct(name, float_type)} *"
        case AccType(value=value):
            return cpp_type(value, float_type)
        case _:
            raise InvalidIRError(
                f"a value of type {type_} has no C++ form", remedy="flatten tuples before code generation"
            )


def sized_type(type_: Type, float_type: str) -> str:
    """That of an argument of a grid: what is known of its sizes, for loops that are functions of their own."""
    if not isinstance(type_, TensorType) or all(size is None for size in type_.sizes):
        return cpp_type(type_, float_type)
    sizes = ", ".join("-1" if size is None else str(size) for size in type_.sizes)
    return f"ks::sized_tensor<{cpp_type(type_.elem, float_type)}, {sizes}>"


def declaration(type_: Type, name: str, float_type: str, *, const: bool = True) -> str:
    """``const float x`` and the like, in declarations of variables and parameters."""
    text = cpp_type(type_, float_type)
    if text.endswith("*"):
        return f"{text}{'const ' if const else ''}{name}"
    return f"{'const ' if const else ''}{text} {name}"
