"""test.test_asyncio.test_taskgroups: TaskGroup."""

from .loading import bind

CLASSES = ["TestTaskGroup", "TestEagerTaskTaskGroup"]

globals().update(bind("test_taskgroups", {"loop": CLASSES, "patch": CLASSES}))
