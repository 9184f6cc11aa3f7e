"""test.test_asyncio.test_sock_lowlevel: the loop's sock_*() methods."""

import types

from .loading import ONE_PER_SELECTOR, bind, merge_loop_classes

CLASSES = ["EventLoopTests"]


def adapt(module: types.ModuleType) -> None:
    merge_loop_classes(module, "SelectEventLoopTests")


globals().update(
    bind(
        "test_sock_lowlevel",
        {"loop": CLASSES, "patch": CLASSES},
        adapt=adapt,
        unbound=ONE_PER_SELECTOR,
    )
)
