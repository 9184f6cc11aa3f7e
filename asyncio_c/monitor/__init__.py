"""See what the loops of a process do, from inside and from outside.

Nothing here is imported before somebody asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .recording import Recording as Recording
    from .recording import record as record
    from .server import Serving as Serving
    from .server import serve as serve
    from .stats import Stats as Stats

# Where what this package exports is.
_PLACES = {
    "Recording": "recording",
    "Serving": "server",
    "Stats": "stats",
    "record": "recording",
    "serve": "server",
}

__all__ = ["Recording", "Serving", "Stats", "record", "serve"]

# Not for type checkers, which would take any name for one of ours.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
