"""Marks that skip tests where a kernel or an asyncio lacks what they need; apart from support.py, which has no use for pytest."""

import asyncio
import os

import pytest

from . import support

# What is asyncio's own code is as good as in the asyncio at hand, and that of the first releases of 3.11 lacks some things: it
# pauses neither datagrams nor pipes that are being connected, reports a subprocess that reads nothing, and a task that has
# cancelled itself by way of a group stays so.
not_early = pytest.mark.skipif(
    not hasattr(asyncio.unix_events._UnixReadPipeTransport, "_add_reader"),
    reason="asyncio learnt that in a later release of Python 3.11",
)

needs_system_calls_of_threads = pytest.mark.skipif(
    not support.WAITS or not os.access("/proc/self/syscall", os.R_OK),
    reason="the kernel does not say which system call a thread is in",
)
