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
    from .stats import Histogram as Histogram
    from .stats import Stats as Stats
    from .watchdog import Report as Report
    from .watchdog import Watch as Watch
    from .watchdog import watch as watch

# Where what this package exports is.
_PLACES = {
    "Histogram": "stats",
    "Recording": "recording",
    "Report": "watchdog",
    "Serving": "server",
    "Stats": "stats",
    "Watch": "watchdog",
    "record": "recording",
    "serve": "server",
    "watch": "watchdog",
}

__all__ = ["Histogram", "Recording", "Report", "Serving", "Stats", "Watch", "record", "serve", "watch"]

# Not for type checkers, which would take any name for one of ours.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
