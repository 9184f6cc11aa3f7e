"""test.test_asyncio.test_pep492: async with, and what counts as a coroutine."""

import types
from typing import Any

from .binding import TYPES
from .loading import bind

CLASSES = ["LockTests", "StreamReaderTests", "CoroutineTests"]


def adapt(module: types.ModuleType) -> None:
    base: Any = module.BaseTest  # type: ignore[attr-defined]

    def set_up(self: Any) -> None:
        super(base, self).setUp()
        self.loop = TYPES.Loop()
        self.set_event_loop(self.loop)

    base.setUp = set_up


globals().update(bind("test_pep492", {"loop": CLASSES, "patch": CLASSES}, adapt=adapt))
