"""What holds for all tests: none starts with asyncio patched by the environment, and none leaves it patched.

On the stress build (make stress) each test has a seed of its own for what happens to system calls, so that one which failed
fails again when it is run alone; ASYNCIO_C_STRESS_SEED=2, 3, ... gives other ones, and 0 leaves system calls alone.
"""

import os
import signal
import sys
import zlib

import pytest

# The tests decide for themselves what is patched; the variable's .pth has run by now.
os.environ.pop("ASYNCIO_C", None)

# A shell ignores Ctrl-C for what it starts in the background, and so would this process and what the tests start: Python leaves
# an ignored signal alone.
signal.signal(signal.SIGINT, signal.default_int_handler)

STRESS_SEED = int(os.environ.get("ASYNCIO_C_STRESS_SEED", "1"))


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "whole_calls: it says how much a system call moves or when, which the stress build leaves alone here",
    )
    config.addinivalue_line("markers", "over_tls: it runs on each engine of TLS")


@pytest.fixture(autouse=True)
def nothing_left_patched():
    yield
    package = sys.modules.get("asyncio_c")
    if package is not None:
        package.uninstall()


@pytest.fixture(autouse=True)
def stress(request, monkeypatch):
    """The seed of the stress build, for this process and those that the test starts."""
    try:
        from asyncio_c import _core
    except ImportError:  # not built
        return
    if not hasattr(_core, "_stress"):
        return
    whole = request.node.get_closest_marker("whole_calls")
    seed = 0 if whole or not STRESS_SEED else STRESS_SEED << 32 | zlib.crc32(request.node.nodeid.encode())
    _core._stress(seed)
    monkeypatch.setenv("ASYNCIO_C_STRESS_SEED", str(seed))
