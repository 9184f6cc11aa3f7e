"""test.test_asyncio.test_sendfile: sendfile() over transports and sock_sendfile()."""

import types

from .binding import TLS_BINDINGS
from .loading import ONE_PER_SELECTOR, bind, merge_loop_classes, only_over_tls

CLASSES = ["EventLoopTests"]


def adapt(module: types.ModuleType) -> None:
    merge_loop_classes(module, "SelectEventLoopTests")


globals().update(
    bind(
        "test_sendfile",
        dict.fromkeys(("loop", "patch", *TLS_BINDINGS), CLASSES),
        adapt=adapt,
        only=only_over_tls(*CLASSES),
        unbound=ONE_PER_SELECTOR,
    )
)
