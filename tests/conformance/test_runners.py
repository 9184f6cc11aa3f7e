"""test.test_asyncio.test_runners: run and Runner, what they close, and SIGINT."""

import types
from typing import Any

from .binding import TYPES
from .loading import bind

CLASSES = ["RunTests", "RunnerTests"]


def adapt(module: types.ModuleType) -> None:
    def new_loop(self: Any) -> Any:
        loop: Any = TYPES.Loop()
        loop.shutdown_ag_run = False

        async def shutdown_asyncgens() -> None:
            loop.shutdown_ag_run = True

        loop.shutdown_asyncgens = shutdown_asyncgens
        return loop

    module.BaseTest.new_loop = new_loop  # type: ignore[attr-defined]


globals().update(bind("test_runners", {"loop": CLASSES, "patch": CLASSES}, adapt=adapt))
