"""Benchmarks: how long kernels take beside what else a PyTorch programmer could use, in one run.

A benchmark is what a file of examples says by its names, see ``ksc.bench.convention``. ``python -m ksc.bench FILE …``
measures it; docs/Benchmarking.md explains how to read the table. Needs the extra ``ksc[bench]``.
"""
