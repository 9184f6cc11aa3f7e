"""test.test_asyncio.test_waitfor: wait_for, and wait_for of shield."""

from .loading import bind

CLASSES = ["AsyncioWaitForTest", "WaitForShieldTests"]

globals().update(bind("test_waitfor", {"loop": CLASSES, "patch": CLASSES}))
