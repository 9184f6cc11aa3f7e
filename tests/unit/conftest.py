"""Fixtures of the unit tests; see support.py for the implementations."""

import asyncio
import gc
import shutil
import sys

import pytest

from tests.differential import virtual_clock

from . import support


@pytest.fixture(autouse=True)
def garbage_of_its_own():
    """Take what is older than the test out of the collector's sight, so that its many collections are quick.

    What the test leaves is collected before the next one, lest that is blamed for it; what is left between the two, once more, but
    without a GIL, where a collection looks at what is out of its sight, too, which is the tests themselves.
    """
    if not support.FREE_THREADED:
        gc.collect()
    gc.freeze()
    yield
    gc.collect()


@pytest.fixture
def collections_on_demand():
    """Garbage is collected where the test says so, and nowhere else: texts name what has ended before what."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=support.NAMES)
def impl(request):
    """One implementation: see `support.load`."""
    return support.load(request.param)


@pytest.fixture(params=support.NAMES[1:])
def ours(request):
    """An implementation on our loop, for behaviour that only ours has or that the test compares with stock itself."""
    return support.load(request.param)


@pytest.fixture
def native():
    """Our loop with our names."""
    return support.load("native")


@pytest.fixture
def stock():
    """Stock asyncio."""
    return support.load("asyncio")


@pytest.fixture
def loop(impl):
    """A fresh loop of `impl`, closed at the end."""
    with support.closing(impl.new_event_loop()) as loop:
        yield loop


@pytest.fixture
def virtual(impl):
    """`(loop, clock)` of `impl` on a virtual clock: one iteration is one second."""
    loop, clock = support.new_virtual_loop(impl)
    with support.closing(loop):
        yield loop, clock
        clock.stop()


@pytest.fixture(scope="session")
def clock_library(tmp_path_factory):
    """What is loaded before a process in which time passes only when a loop waits: see tests/differential/virtual_clock.py."""
    if shutil.which(virtual_clock.compiler()[0]) is None:
        pytest.skip("the virtual clock needs the C compiler")
    return virtual_clock.build(tmp_path_factory.mktemp("clock"))


@pytest.fixture(autouse=True)
def no_loop_left_running():
    """A test that leaves a running loop behind would break the next one."""
    yield
    left = asyncio._get_running_loop()
    if left is not None:
        asyncio._set_running_loop(None)
    assert left is None


@pytest.fixture
def threads_take_turns_often():
    """With a GIL, too, threads are to be stopped in the middle of what they do."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)
