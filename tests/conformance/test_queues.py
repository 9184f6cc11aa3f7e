"""test.test_asyncio.test_queues: Queue, LifoQueue and PriorityQueue."""

from .loading import bind

CLASSES = [
    "QueueBasicTests",
    "QueueGetTests",
    "QueuePutTests",
    "LifoQueueTests",
    "PriorityQueueTests",
    "QueueJoinTests",
    "LifoQueueJoinTests",
    "PriorityQueueJoinTests",
    "QueueShutdownTests",
    "LifoQueueShutdownTests",
    "PriorityQueueShutdownTests",
]

globals().update(bind("test_queues", {"loop": CLASSES, "patch": CLASSES}))
