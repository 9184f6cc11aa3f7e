"""test.test_asyncio.test_server_context: the context variables of a server's connections (from Python 3.15 on)."""

import asyncio

from .loading import bind

CLASSES = ["AsyncioEventLoopTests", "AsyncioEventLoopSSLTests"]


def make_loops_late(module):
    """Have the loops made by what asyncio.new_event_loop is during the test, not when the module was imported."""
    module.AsyncioEventLoopTests.loop_factory = staticmethod(lambda: asyncio.new_event_loop())


globals().update(bind("test_server_context", {"loop": CLASSES, "patch": CLASSES}, adapt=make_loops_late))
