"""Functions that are no primitives, each written once in the language that kernels are written in.

The frontend traces them like the user's own code, hence their plainness: a parameter that is a string, None or a bool
switch is known at compile time and chooses what is traced.
"""
