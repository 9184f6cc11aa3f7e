"""test.test_asyncio.test_ssl: TLS connections, start_tls(), shutdown, and TLS in TLS."""

import inspect
import types
from typing import Any

from .binding import TLS_BINDINGS
from .loading import bind

CLASSES = ["TestSSL"]


def adapt(module: types.ModuleType) -> None:
    # In later releases, of 3.13 as well, two tests ask for 2.2 GiB, and from 3.14 on run in a process of their own if they
    # are given it, which our binding would not reach. They need less than a tenth of it.
    case: Any = module.TestSSL  # type: ignore[attr-defined]
    for name, test in list(vars(case).items()):
        if hasattr(test, "memuse"):
            wrapped = inspect.getclosurevars(test).nonlocals["f"]
            setattr(case, name, _with_size(wrapped, test.size))


def _with_size(test: Any, size: int) -> Any:
    return lambda self: test(self, size)


globals().update(bind("test_ssl", dict.fromkeys(("loop", "patch", *TLS_BINDINGS), CLASSES), adapt=adapt))
