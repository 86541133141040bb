"""A program saved by torch.export is loaded in a new process, which has imported its kernels and called none of them."""

from textwrap import dedent

import torch

from tests.processes import run_python

KERNELS = """
    import torch
    import ksc as knossos

    @knossos.elementwise
    def cube(x: float) -> float:
        return x * x * x

    @knossos.vmap
    def wave(x: float, y: float) -> tuple[float, float]:
        return x * y, x - y

    @knossos.elementwise
    def untold(x):
        return x + 1.0

    class Model(torch.nn.Module):
        def forward(self, x):
            a, b = wave(cube(x), x)
            slope = cube.grad(x)
            return a + b * slope

    class Untold(torch.nn.Module):
        def forward(self, x):
            return untold(x)
"""

LOADING = """
    import sys
    import torch
    import ksc
    from ksc.errors import ArgumentError

    def refused(name):
        try:
            getattr(torch.ops.knossos, name)
        except ArgumentError as error:
            return str(error)

    model, untold, place = sys.argv[1:]
    x, cube_name, untold_name = torch.load(place)

    @ksc.elementwise
    def cube(x: float) -> float:
        return x * x * 2.0

    assert "another function now" in refused(cube_name), refused(cube_name)
    assert "import the module" in refused(untold_name), refused(untold_name)
    import kernels
    loaded = torch.export.load(model).module()
    torch.testing.assert_close(loaded(x), kernels.Model()(x), rtol=0, atol=0)
    y = x.clone().requires_grad_()
    loaded(y).sum().backward()
    z = x.clone().requires_grad_()
    kernels.Model()(z).sum().backward()
    torch.testing.assert_close(y.grad, z.grad, rtol=0, atol=0)

    assert "call the kernel untold once" in refused(untold_name), refused(untold_name)
    kernels.untold(x)
    torch.testing.assert_close(torch.export.load(untold).module()(x), x + 1)
"""


def test_a_saved_program_finds_its_kernels(tmp_path):
    (tmp_path / "kernels.py").write_text(dedent(KERNELS))
    saving = """
        import sys
        import torch
        import kernels

        torch.manual_seed(0)
        x = torch.randn(5)
        model, untold, place = sys.argv[1:]
        kernels.untold(x)
        torch.export.save(torch.export.export(kernels.Model(), (x,)), model)
        torch.export.save(torch.export.export(kernels.Untold(), (x,)), untold)
        names = [kernel.op.name().split("::")[1] for kernel in (kernels.cube, kernels.untold)]
        torch.save((x, *names), place)
    """
    places = [str(tmp_path / name) for name in ("model.pt2", "untold.pt2", "x.pt")]
    script = tmp_path / "script.py"
    for text in (saving, LOADING):
        script.write_text(dedent(text))
        done = run_python(script, *places, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_names_that_are_no_operators_are_missing_attributes():
    assert not hasattr(torch.ops.knossos, "nothing")
    assert not hasattr(torch.ops.knossos, "__wrapped__")
