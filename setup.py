"""What pyproject.toml cannot say: the top-level folders that travel inside the package as ``ksc/_data``."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = {
    "prelude": ("*.h", "*.hpp", "*.cuh"),
    "examples": ("*.py", "*.cpp"),
}


def data_files() -> list[tuple[Path, Path]]:
    """Each file that travels and its place below ``ksc/_data``."""
    return [
        (path, path)
        for folder, patterns in DATA.items()
        for pattern in patterns
        for path in sorted(Path(folder).rglob(pattern))
    ]


class BuildWithData(build_py):
    """Copies the data beside the modules; an editable install reads them from the checkout instead."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source, place in data_files():
            target = Path(self.build_lib, "ksc", "_data", place)
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return outputs
        return outputs + [str(Path(self.build_lib, "ksc", "_data", place)) for _, place in data_files()]


# build/ is where kernels lie; setuptools keeps to a folder of its own.
setup(cmdclass={"build_py": BuildWithData}, options={"build": {"build_base": "build/setuptools"}})
