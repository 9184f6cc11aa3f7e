"""The implementations that are compared. Each is loaded in a worker process of its own, never in the parent."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

# Other event loops on PyPI: the module, and what in it makes a loop.
PEERS = {
    "rloop": "new_event_loop",
    "rsloop": "new_event_loop",
    "zuvloop": "new_event_loop",
    "zloop": "new_event_loop",
    "talyn": "Loop",
    "blazio": "new_event_loop",
    "loopmini": "new_event_loop",
}
TITLES = {
    "asyncio": "asyncio",
    "uvloop": "uvloop",
    "aiofastnet": "uvloop with aiofastnet",
    **{name: name for name in PEERS},
    "loop-only": "asyncio_c, loop only",
    "patched": "asyncio_c, patched",
    "floor": "a server in C",
}
CORE_TARGETS = ("asyncio", "uvloop", *PEERS, "loop-only", "patched")
NET_TARGETS = tuple(TITLES)


def installed(targets: Iterable[str]) -> list[str]:
    """Return these targets without the peers that are not installed."""
    return [name for name in targets if name not in PEERS or importlib.util.find_spec(name) is not None]


@dataclass(frozen=True)
class Target:
    """How a program on this target makes a loop, and how it runs a coroutine from start to end."""

    name: str
    version: str
    new_loop: Callable[[], asyncio.AbstractEventLoop]
    run: Callable[[Coroutine[Any, Any, Any]], Any] = field(repr=False)


def load(name: str) -> Target:
    """Import and set up target `name` for this process.

    Raises ImportError where it is not installed, and ValueError for a name that is none of Python's in `TITLES`.
    """
    if name == "asyncio":
        return Target(name, "", asyncio.new_event_loop, lambda main: asyncio.run(main))
    if name == "uvloop":
        import uvloop

        return by_factory(name, uvloop.__version__, uvloop.new_event_loop)
    if name == "aiofastnet":
        import aiofastnet
        import uvloop

        version = f"{aiofastnet.__version__}, uvloop {uvloop.__version__}"
        return by_factory(name, version, aiofastnet.loop_factory(uvloop.new_event_loop))
    if name in PEERS:
        factory = getattr(importlib.import_module(name), PEERS[name])
        return by_factory(name, importlib.metadata.version(name), factory)
    if name == "loop-only":
        import asyncio_c

        return by_factory(name, asyncio_c.__version__, asyncio_c.new_event_loop)
    if name == "patched":
        import asyncio_c

        asyncio_c.patch()
        # Looked up after patch(), and by a name that is stock asyncio's in every other target.
        return Target(name, asyncio_c.__version__, asyncio.new_event_loop, lambda main: asyncio.run(main))
    raise ValueError(f"unknown target {name!r}; there are {', '.join(TITLES)}")


def belongs(target: str, loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether the class of `loop`, or one that it derives from, is of the package that `target` measures."""
    package = {"aiofastnet": "uvloop", "loop-only": "asyncio_c", "patched": "asyncio_c"}.get(target, target)
    # Loops of others derive from asyncio's, so that it has to be the class itself that is asyncio's.
    bases = type(loop).__mro__[:1] if package == "asyncio" else type(loop).__mro__
    return any(base.__module__.partition(".")[0] == package for base in bases)


def by_factory(name: str, version: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Target:
    """Return a target that changes nothing but the loop factory of `asyncio.Runner`."""

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        # asyncio.run takes a loop_factory only from CPython 3.12 on; this is all that it does with one.
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(main)

    return Target(name, version, new_loop, run)
