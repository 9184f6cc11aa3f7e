"""What holds for all tests: none starts with asyncio patched by the environment, and none leaves it patched.

On the stress build (make stress) each test has a seed of its own for what happens to system calls, so that one which failed
fails again when it is run alone; ASYNCIO_C_STRESS_SEED=2, 3, ... gives other ones, and 0 leaves system calls alone.

`pytest` alone, which is the README's command, leaves out the LONG suites; `pytest tests` runs everything, a path everything in
it, and `pytest -m long tests` what the first leaves out.
"""

import os
import pathlib
import signal
import sys
import zlib

import pytest

from tests.unit import support

# The tests decide for themselves what is patched; the variable's .pth has run by now.
os.environ.pop("ASYNCIO_C", None)

# A shell ignores Ctrl-C for what it starts in the background, and so would this process and what the tests start: Python leaves
# an ignored signal alone.
signal.signal(signal.SIGINT, signal.default_int_handler)

STRESS_SEED = int(os.environ.get("ASYNCIO_C_STRESS_SEED", "1"))


TESTS = pathlib.Path(__file__).parent
# Folders and files whose tests are programs that run for long, or very many processes.
LONG = {"conformance", "crash", "differential", "faults", "fuzz", "soak", "torture"}
LONG_FILES = {"test_benchmarks.py", "test_benchmarks_net.py"}


def pytest_configure(config):
    # xdist's processes get the option, and not where the arguments are from.
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS and not (
        config.option.markexpr or config.option.keyword
    ):
        config.option.markexpr = "not long"
    config.addinivalue_line("markers", "long: `pytest` alone leaves it out")
    config.addinivalue_line(
        "markers",
        "whole_calls: it says how much a system call moves or when, which the stress build leaves alone here",
    )
    config.addinivalue_line("markers", "over_tls: it runs on each engine of TLS")


def pytest_make_parametrize_id(val, argname):
    """Data is no name: every process of a session keeps all of them, and the environment holds one."""
    if isinstance(val, str | bytes) and len(val) > 100:
        return f"{argname}_of_{len(val)}"
    return None


@pytest.hookimpl(tryfirst=True)  # before it is asked who has the mark
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in LONG or item.path.name in LONG_FILES:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session", autouse=True)
def gil_stays_off():
    yield
    support.check_gil()


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
