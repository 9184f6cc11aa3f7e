"""Leaks made on purpose, one reference for each task, connection, cancelled timer and failed connect, and the same without.

Run by test_planted.py: the plugin has to find `test_leak_...` guilty and `test_flat_...` innocent.
"""

import asyncio
import ctypes
import os
import socket

import pytest

import asyncio_c

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p


def leak_reference(thing):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def leak_nothing(thing):
    pass


# Referred to by the module whatever happens: a leaked reference to it costs no memory.
ETERNAL = object()


def leak_reference_without_memory(thing):
    leak_reference(ETERNAL)


def both(name):
    leaks = [pytest.param(leak_reference, id="leak"), pytest.param(leak_nothing, id="flat")]
    return pytest.mark.parametrize(name, [*leaks, pytest.param(leak_reference_without_memory, id="leak_ref")])


def run(main):
    with asyncio.Runner(loop_factory=asyncio_c.new_event_loop) as runner:
        return runner.run(main)


@both("leak")
def test_task(leak):
    async def child():
        leak(asyncio.current_task())

    async def main():
        await asyncio.get_running_loop().create_task(child())

    run(main())


@both("leak")
def test_connection(leak):
    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
            leak(transport)
            transport.close()

    run(main())


@both("leak")
def test_cancelled_timer(leak):
    async def main():
        timer = asyncio.get_running_loop().call_later(3600, int)
        timer.cancel()
        leak(timer)

    run(main())


@both("leak")
def test_failed_connect(leak):
    async def main():
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            try:
                await asyncio.get_running_loop().create_connection(asyncio.Protocol, *nobody.getsockname())
            except ConnectionRefusedError as error:
                leak(error)

    run(main())


@pytest.mark.parametrize("size", [pytest.param(64, id="leak"), pytest.param(0, id="flat")])
def test_own_memory(size):
    if size:
        _libc.malloc(size)


@pytest.mark.parametrize("leak", [pytest.param(True, id="leak"), pytest.param(False, id="flat")])
def test_descriptor(leak):
    fd = os.open("/", os.O_RDONLY)
    if not leak:
        os.close(fd)


@pytest.mark.parametrize(
    "of_asyncio", [8192, 0, 4096, None], ids=["shared", "leak", "leak_more", "leak_alone"]
)
@pytest.mark.parametrize("impl", ["asyncio", "asyncio_c"])
def test_twin(impl, of_asyncio):
    """One leaks as much with stock asyncio, and is forgiven."""
    size = 8192 if impl == "asyncio_c" else of_asyncio
    if size is None:
        pytest.skip("what cannot be compared is no excuse")
    if size:
        _libc.malloc(size)


@pytest.fixture(scope="module")
def of_all_tests():
    pass


@pytest.fixture
def of_one_test(of_all_tests):
    pass


@pytest.mark.parametrize("number", [pytest.param(1, id="flat")])
def test_fixture(of_one_test, number):
    """What pytest keeps of each use is nobody's leak."""
