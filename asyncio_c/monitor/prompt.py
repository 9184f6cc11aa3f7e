"""For a moment, threads that want the interpreter get it at once."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_before: float | None = None  # the switch interval that the program has set, while it is another one


@contextlib.contextmanager
def switching(seconds: float) -> Iterator[None]:
    """Set the interval after which a thread gives the interpreter to another, unless it is shorter already.

    At the end it is what it was, and so it is in a child that is forked meanwhile; what the program sets meanwhile stays. One
    thread at a time may do so.
    """
    global _before
    _before = sys.getswitchinterval()
    sys.setswitchinterval(min(seconds, _before))
    ours = sys.getswitchinterval()
    try:
        yield
    finally:
        if sys.getswitchinterval() == ours:
            sys.setswitchinterval(_before)
        _before = None


def _restore() -> None:
    global _before
    if _before is not None:
        sys.setswitchinterval(_before)
        _before = None


os.register_at_fork(after_in_child=_restore)
