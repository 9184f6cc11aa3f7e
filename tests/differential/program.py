"""A random program as data, and its printing as Python.

What is printed is what runs: there is no second interpreter that could mean something else by a statement, and a failing
example can be copied into a test as it stands. A body is a tuple of statements; a statement is one line of Python, or a
Block with statements below it, so a failing program shrinks line by line and block by block.
"""

from __future__ import annotations

import dataclasses
import re

Body = tuple["Statement", ...]


@dataclasses.dataclass(frozen=True)
class Block:
    """A compound statement: clauses of a header line and a body, such as `try:`, `except E as error:`."""

    clauses: tuple[tuple[str, Body], ...]


Statement = str | Block


@dataclasses.dataclass(frozen=True)
class Options:
    """What holds for the whole run of a program.

    ticking    each turn of the loop is a second, and none waits; otherwise time passes only in waiting
    slow       time() of the loop is overridden, so the loop of asyncio_c takes none of its shortcuts
    debug      debug mode
    handler    a custom exception handler, instead of the log
    factory    the task factory: none, eager, python (asyncio's Task in Python), subclass (of asyncio.Task)
    """

    ticking: bool = False
    slow: bool = False
    debug: bool = False
    handler: bool = False
    factory: str = "none"


@dataclasses.dataclass(frozen=True)
class Program:
    """A program; coroutines[i] starts as task t<i> before main's own body runs.

    disturbances    what happens from outside, such as cancellation: lines that call later() or in_turns()
    """

    options: Options
    disturbances: Body
    callbacks: tuple[Body, ...]
    coroutines: tuple[Body, ...]
    main: Body

    def source(self) -> str:
        """Return the program as Python. The names it uses are made by execution.Run."""
        lines = [f"# {self.options}"]
        for number, body in enumerate(self.callbacks):
            lines += function(f"def b{number}(*args):", (f'log("b{number}", *args)', *body))
        for number, body in enumerate(self.coroutines):
            lines += function(
                f"async def c{number}():", (f"var.set({number + 1})", f'log("c{number} starts")', *body)
            )
        starts = tuple(
            f't{n} = asyncio.create_task(c{n}(), name="t{n}")' for n in range(len(self.coroutines))
        )
        lines += function("async def main():", ("var.set(9)", *starts, *self.disturbances, *self.main))
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        return f"the program\n\n{self.source()}"


_ASSIGNED = re.compile(r"^([tfh]\d) = | as ([sg]\d):$")


def function(header: str, body: Body) -> list[str]:
    """Return the lines of a function, with a declaration of the global names that it assigns."""
    lines = printed(body, 1)
    names = sorted({match[1] or match[2] for line in lines if (match := _ASSIGNED.search(line.strip()))})
    if names:
        lines.insert(0, f"    global {', '.join(names)}")
    return ["", header, *lines]


def printed(body: Body, depth: int) -> list[str]:
    indentation = "    " * depth
    lines = []
    for statement in body:
        if isinstance(statement, str):
            lines.append(indentation + statement)
        else:
            for header, below in statement.clauses:
                lines.append(indentation + header)
                lines += printed(below, depth + 1)
    return lines or [indentation + "pass"]
