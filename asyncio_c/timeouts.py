"""Timeout: asyncio's, with its deadline, entering and leaving in C."""

from __future__ import annotations

from asyncio import timeouts
from typing import final

from . import _core


@final
class Timeout(_core.Timeout, timeouts.Timeout):  # type: ignore[misc]
    """Asynchronous context manager that cancels its block when the deadline comes; made by timeout() and timeout_at().

    Mirrors asyncio.Timeout ("Coroutines and Tasks", "Timeouts"). Leaving it then raises TimeoutError.
    """
