"""test.test_asyncio.test_locks: Lock, Event, Condition, Semaphore and Barrier."""

from .loading import bind

CLASSES = ["LockTests", "EventTests", "ConditionTests", "SemaphoreTests", "BarrierTests"]

globals().update(bind("test_locks", {"loop": CLASSES, "patch": CLASSES}))
