"""EventLoopPolicy: the event loop policy whose loops are C loops.

Policies are deprecated from Python 3.14 on and leave in 3.16. asyncio's own default policy class warns only under its
public name, so deriving from the private one keeps importing this module silent; nothing imports it before it is used.
"""

from __future__ import annotations

import sys
import threading
from asyncio import AbstractEventLoop, unix_events
from typing import Any

from .loop import Loop


class EventLoopPolicy(unix_events._UnixDefaultEventLoopPolicy):
    """Event loop policy that makes C loops; in all else the default policy of this Python.

    Mirrors asyncio.DefaultEventLoopPolicy ("Policies", "Policy Objects"). get_event_loop() in the main thread therefore
    creates a loop up to Python 3.13, with a DeprecationWarning from 3.12 on, and raises RuntimeError from 3.14 on.
    Child watchers, up to 3.13, are the stock ones.
    """

    _loop_factory = Loop

    if sys.version_info >= (3, 14):
        _local: Any  # of asyncio's class; typeshed knows it no more

        # patch() sets this, so that scripts written before 3.14 go on to run: the main thread's first get_event_loop()
        # then creates the loop, under the conditions of Python 3.11 and as silently.
        _creates_missing_loop = False

        def get_event_loop(self) -> AbstractEventLoop:
            """Return the current loop of this thread; raises RuntimeError if there is none."""
            if (
                self._creates_missing_loop
                and self._local._loop is None
                # A forked child is given a fresh _local, of the stock class.
                and not getattr(self._local, "_set_called", False)
                and threading.current_thread() is threading.main_thread()
            ):
                self.set_event_loop(self.new_event_loop())
            loop: AbstractEventLoop = super().get_event_loop()
            return loop

        def set_event_loop(self, loop: AbstractEventLoop | None) -> None:
            """Make loop the current loop of this thread; raises TypeError if it is not a loop or None."""
            super().set_event_loop(loop)
            self._local._set_called = True
