"""The forms that functions of elements have for Integers, of which torch makes Integers."""

from __future__ import annotations


def heaviside(input: int, values: int) -> int:
    """1 above zero, ``values`` at zero, else 0."""
    if input == 0:
        return values
    return 1 if input > 0 else 0


def relu(input: int, inplace: bool = False) -> int:
    """The larger of ``input`` and 0."""
    return 0 if input <= 0 else input


def relu6(input: int, inplace: bool = False) -> int:
    """``input`` kept between 0 and 6."""
    return hardtanh(input, 0, 6)


def hardtanh(input: int, min_val: float = -1, max_val: float = 1, inplace: bool = False) -> int:
    """``input`` kept between two bounds, which are rounded towards 0."""
    assert min_val <= max_val, "min_val is larger than max_val"
    if input <= int(min_val):
        return int(min_val)
    return int(max_val) if input >= int(max_val) else input


def threshold(input: int, threshold: float, value: float, inplace: bool = False) -> int:
    """``input`` above the threshold, else ``value``; both are rounded towards 0."""
    return int(value) if input <= int(threshold) else input
