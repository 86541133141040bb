"""Functions of tensors, each written once in the language that kernels are written in.

The frontend traces them in the place of the call, where dimensions, ranks, texts and switches are known.
"""
