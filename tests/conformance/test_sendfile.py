"""test.test_asyncio.test_sendfile: sendfile() over transports and sock_sendfile()."""

import types

from .loading import ONE_PER_SELECTOR, bind, merge_loop_classes

CLASSES = ["EventLoopTests"]


def adapt(module: types.ModuleType) -> None:
    merge_loop_classes(module, "SelectEventLoopTests")


globals().update(
    bind(
        "test_sendfile",
        {"loop": CLASSES, "patch": CLASSES},
        adapt=adapt,
        unbound=ONE_PER_SELECTOR,
    )
)
