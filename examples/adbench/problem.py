"""What the four problems of ADBench share: the command line, and how objective and derivative are timed.

Each problem is a file of its own, in the folder of its field, that reads and generates instances.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.benchmark import Timer


@dataclass(frozen=True)
class Problem:
    """An objective and its derivative, with instances to measure them by.

    Attributes:
        about: the help of the command line.
        sizes: what the numbers are called that make a synthetic instance.
        example: those of the one that is measured where none is named.
        read: an instance from its path.
        generate: given the numbers and a path, writes a synthetic instance, or a folder of them; gives their paths.
        objective: of an instance.
        derivative: of an instance.
        summary: what the objective comes to, as a line of text.
    """

    about: str
    sizes: Sequence[str]
    example: Sequence[int]
    read: Callable[[str | Path], Any]
    generate: Callable[..., Iterable[Path]]
    objective: Callable[[Any], Any]
    derivative: Callable[[Any], Any]
    summary: Callable[[Any], str]

    def main(self, argv: Sequence[str] = ()) -> None:
        """Read the command line: generate an instance, or report on one."""
        parser = argparse.ArgumentParser(description=self.about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("path", nargs="?", help="an instance; a small synthetic one where it is left out")
        wanted = (*self.sizes, "PATH")
        parser.add_argument("--generate", nargs=len(wanted), metavar=wanted, help="write a synthetic instance")
        options = parser.parse_args(argv)
        if options.generate:
            *sizes, path = options.generate
            self.generate(*map(int, sizes), path)
        elif options.path:
            if not Path(options.path).exists():
                parser.error(f"there is no instance {options.path}")
            self.report(options.path)
        else:
            with tempfile.TemporaryDirectory() as folder:
                for path in self.generate(*self.example, Path(folder) / "instance"):
                    self.report(path)

    def report(self, path: str | Path) -> None:
        """Print the objective of an instance, and what it and its derivative take."""
        instance = self.read(path)
        print(self.summary(self.objective(instance)))
        print(f"objective {milliseconds(lambda: self.objective(instance)):.3f} ms")
        print(f"derivative {milliseconds(lambda: self.derivative(instance)):.3f} ms")


def milliseconds(run: Callable[[], object]) -> float:
    """The shortest time that a call takes, on one thread."""
    return 1e3 * min(Timer("run()", globals={"run": run}).blocked_autorange(min_run_time=1.0).times)
