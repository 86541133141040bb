"""What is known of the code that all threads of a grid walk through together.

Each of them computes the same numbers, so what they write must be shared out among them: by a loop that is divided, or
by a function of the prelude that handles a whole tensor. What is written one element at a time is written by one of
them while the others wait, which in a loop of nothing else would be most of the time: such a kernel has one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ksc.ir.nodes import Span


@dataclass(slots=True)
class Steps:
    """Code that is run once, or again and again as the body of a loop that is not divided.

    Attributes:
        writes: what it writes one element at a time, in words; empty if nothing.
        divides: whether a loop in it is divided.
    """

    writes: str = ""
    divides: bool = False


@dataclass(slots=True)
class Led:
    """A loop that a thread may walk through by itself.

    Attributes:
        possible: whether what it changes can be told to the other threads.
        why: what it does that threads cannot share, in words, where one walks through it; empty elsewhere.
    """

    possible: bool = True
    why: str = ""


@dataclass(slots=True)
class Walk:
    """The state of one function while it is printed.

    Attributes:
        together: whether what is printed now runs on all threads at once, so not in a divided loop.
        single: why the function had better run on one thread where it is called by all; empty if it need not.
        glances: whether elements of tensors are read by all threads, who must be done with it before others write.
        numbers: how many numbers a divided loop combines at most.
        steps: the function's own, or those of the innermost loop around.
        teams: whether what is printed now is the body of a loop of which teams take an iteration each.
        adds: whether loops in that body add to elements that iterations share.
        depth: how many loops around are not divided.
        multiplies: whether there is a product of matrices, whose tiles are made for two blocks to a processor.
    """

    together: bool
    single: str = ""
    glances: bool = False
    numbers: int = 0
    steps: Steps = field(default_factory=Steps)
    teams: bool = False
    adds: bool = False
    depth: int = 0
    multiplies: bool = False

    def write(self, what: str, span: Span | None) -> None:
        """Something is written here, one element at a time."""
        if self.together and not self.steps.writes:
            self.steps.writes = f"line {span.line} {what}" if span is not None else f"the kernel {what}"

    def glance(self) -> None:
        """Elements of a tensor are read here."""
        self.glances |= self.together

    def multiply(self) -> None:
        """Matrices are multiplied here, by all threads, as if in a loop that is divided."""
        self.steps.divides = True
        self.multiplies = True

    def call(self, callee: Walk, *, reads: bool) -> None:
        """A function is called here, which ``reads`` tensors."""
        if self.together:
            self.single = self.single or callee.single
            self.glances |= callee.glances or reads
            self.steps.writes = self.steps.writes or callee.steps.writes
            self.steps.divides |= callee.steps.divides
        self.numbers = max(self.numbers, callee.numbers)
        self.multiplies |= callee.multiplies

    @contextmanager
    def repeated(self) -> Iterator[None]:
        """Inside of a loop that is not divided."""
        around, self.steps = self.steps, Steps()
        self.depth += 1
        yield
        self.depth -= 1
        if self.steps.writes and not self.steps.divides:
            self.single = self.single or self.steps.writes
        around.divides |= self.steps.divides
        self.steps = around

    @contextmanager
    def led(self) -> Iterator[Led]:
        """Inside of a loop that one thread may walk through while the others wait; afterwards it is said whether."""
        found, before, glances = Led(), self.single, self.glances
        self.single = ""
        yield found
        if found.possible and self.single and self.together and self.depth == 0 and not self.teams:
            found.why, self.single = self.single, ""
            # Who goes on must not overwrite what another has yet to hear.
            self.glances = True
        self.glances |= glances
        self.single = before or self.single

    @contextmanager
    def divided(self, numbers: int) -> Iterator[None]:
        """Inside of a loop that is divided, which combines so many numbers."""
        self.steps.divides = True
        self.numbers = max(self.numbers, numbers)
        together, self.together = self.together, False
        yield
        self.together = together

    @contextmanager
    def shared(self, numbers: int) -> Iterator[None]:
        """Inside of a loop that is divided among teams of threads, each of which walks through its iterations together.

        What is said of its body is not said of the function around; but ``single`` is set where each of its
        iterations had better be one thread's.
        """
        around, glances = self.steps, self.glances
        self.numbers = max(self.numbers, numbers)
        self.steps, self.teams, self.adds = Steps(), True, False
        yield
        self.steps, self.teams, self.glances = around, False, glances
        self.steps.divides = True
