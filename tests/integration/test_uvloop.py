"""What docs/compatibility.md says about uvloop: each claim is run on asyncio, on asyncio_c and on uvloop.

asyncio and asyncio_c must answer alike, and uvloop as the document says, so that a claim that a new uvloop makes wrong is
noticed. The version in the extra `integration` is the one that the document speaks of.
"""

import asyncio
import os
import pathlib
import socket
import stat
import subprocess
import sys
import tempfile

import pytest

import asyncio_c

uvloop = pytest.importorskip("uvloop", reason="compares with uvloop, which has no wheel for every Python")

ROOT = pathlib.Path(__file__).parents[2]
STOCK = asyncio.SelectorEventLoop


def answer(new_event_loop, claim):
    """Return what the coroutine function `claim` returns on a fresh loop, or the type of what it raises."""
    loop = new_event_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(claim(loop), 30))
    except Exception as error:
        return type(error)
    finally:
        loop.close()


async def connected(loop, **options):
    """Return (server, transport) of a connection to a server that only listens."""
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname(), **options)
    return server, transport


async def loop_is_a_base_event_loop(loop):
    return isinstance(loop, asyncio.BaseEventLoop)


async def attributes_of_the_loop(loop):
    return [hasattr(loop, name) for name in ("_ready", "_thread_id", "_default_executor")]


async def transport_is_an_asyncio_transport(loop):
    server, transport = await connected(loop)
    server.close()
    transport.abort()
    return isinstance(transport, asyncio.Transport)


async def socket_is_a_transport_socket(loop):
    server, transport = await connected(loop)
    server.close()
    transport.abort()
    return isinstance(transport.get_extra_info("socket"), asyncio.trsock.TransportSocket)


async def handles_are_asyncio_handles(loop):
    handles = loop.call_soon(str), loop.call_later(1, str), loop.call_later(0, str)
    for handle in handles:
        handle.cancel()
    kinds = (asyncio.Handle, asyncio.TimerHandle, asyncio.TimerHandle)
    return [isinstance(*pair) for pair in zip(handles, kinds, strict=True)]


async def write_after_close(loop):
    lost = loop.create_future()

    class Client(asyncio.Protocol):
        def connection_lost(self, exc):
            lost.set_result(exc)

    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(Client, *server.sockets[0].getsockname())
    server.close()
    transport.close()
    await lost
    transport.write(b"dropped")
    return None


async def datagrams_by_sock_sendto(loop):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        await loop.sock_sendto(sock, b"data", sock.getsockname())
        data, _ = await loop.sock_recvfrom(sock, 100)
        return data


async def sendfile(loop):
    server, transport = await connected(loop)
    with tempfile.TemporaryFile() as file:
        file.write(b"data")
        file.seek(0)
        try:
            return await loop.sendfile(transport, file)
        finally:
            server.close()
            transport.abort()


async def sock_sendfile(loop):
    sender, receiver = socket.socketpair()
    with sender, receiver, tempfile.TemporaryFile() as file:
        sender.setblocking(False)
        file.write(b"data")
        file.seek(0)
        return await loop.sock_sendfile(sender, file)


async def happy_eyeballs(loop):
    server, transport = await connected(loop, happy_eyeballs_delay=1)
    server.close()
    transport.abort()
    return None


async def all_errors(loop):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
    await loop.create_connection(asyncio.Protocol, *address, all_errors=True)


async def keep_alive(loop):
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, keep_alive=True)
    server.close()
    return None


async def server_can_close_its_clients(loop):
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    server.close()
    return hasattr(server, "close_clients") and hasattr(server, "abort_clients")


async def call_later_zero_stays_behind_call_soon(loop):
    order, end = [], loop.create_future()
    loop.call_soon(order.append, "first")
    loop.call_later(0, order.append, "timer")
    loop.call_soon(order.append, "second")
    loop.call_later(0.01, end.set_result, None)
    await end
    return order


async def short_sleep_is_never_early(loop):
    async def slept(delay):
        start = loop.time()
        await asyncio.sleep(delay)
        return loop.time() - start

    # uvloop waits a whole number of milliseconds, and for this none; it would have to be stopped in each of the sleeps.
    return min([await slept(0.0004) for _ in range(50)]) >= 0.0004


async def overridden_time_is_asked(loop):
    loop.time = lambda: 1000.0
    handle = loop.call_later(1, str)
    handle.cancel()
    when = handle.when()
    del loop.time
    return when


async def standard_streams_of_a_child_are_pipes(loop):
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=pipe, stdout=pipe, stderr=pipe
    )
    modes = [os.stat(f"/proc/{child.pid}/fd/{fd}").st_mode for fd in (0, 1, 2)]
    await child.communicate(b"\n")
    return [stat.S_ISFIFO(mode) for mode in modes]


async def fork_hooks_run_by_a_spawn(loop):
    calls.clear()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await child.wait()
    return len(calls)


calls = []
os.register_at_fork(before=lambda: calls.append("before"))

PY312, PY313 = sys.version_info >= (3, 12), sys.version_info >= (3, 13)
# claim: (what asyncio and asyncio_c answer, what uvloop answers, whether this Python's asyncio has it)
CLAIMS = {
    loop_is_a_base_event_loop: (True, False, True),
    attributes_of_the_loop: ([True] * 3, [False] * 3, True),
    transport_is_an_asyncio_transport: (True, False, True),
    socket_is_a_transport_socket: (True, False, True),
    handles_are_asyncio_handles: ([True] * 3, [False] * 3, True),
    write_after_close: (None, RuntimeError, True),
    datagrams_by_sock_sendto: (b"data", NotImplementedError, True),
    sendfile: (4, NotImplementedError, True),
    sock_sendfile: (4, NotImplementedError, True),
    happy_eyeballs: (None, TypeError, True),
    all_errors: (ExceptionGroup, TypeError, PY312),
    keep_alive: (None, TypeError, PY313),
    server_can_close_its_clients: (True, False, PY313),
    call_later_zero_stays_behind_call_soon: (
        ["first", "second", "timer"],
        ["first", "timer", "second"],
        True,
    ),
    short_sleep_is_never_early: (True, False, True),
    overridden_time_is_asked: (1001.0, "another", True),
    standard_streams_of_a_child_are_pipes: ([True] * 3, [False] * 3, True),
    fork_hooks_run_by_a_spawn: (0, 1, True),
}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_claim(claim):
    expected, of_uvloop, exists = CLAIMS[claim]
    if not exists:
        pytest.skip("asyncio has it on a newer Python only")
    assert answer(STOCK, claim) == expected
    assert answer(asyncio_c.new_event_loop, claim) == expected
    found = answer(uvloop.new_event_loop, claim)
    # Where uvloop's answer is no fixed value it must be another one.
    assert found != expected if of_uvloop == "another" else found == of_uvloop


def test_stop_ends_with_the_turn_it_is_called_in():
    def ran_after_stop(new_event_loop):
        loop, ran = new_event_loop(), []

        def stop():
            loop.stop()
            loop.call_soon(ran.append, "of the next turn")

        loop.call_soon(stop)
        loop.run_forever()
        loop.close()
        return ran

    assert ran_after_stop(STOCK) == []
    assert ran_after_stop(asyncio_c.new_event_loop) == []
    assert ran_after_stop(uvloop.new_event_loop) == ["of the next turn"]


NESTED = """
import asyncio, sys, nest_asyncio

async def main():
    nest_asyncio.apply()
    return asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, "nested"))

module = __import__(sys.argv[1])
print(module.new_event_loop().run_until_complete(main()))
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="nest_asyncio was given up before Python 3.14")
def test_nesting():
    pytest.importorskip("nest_asyncio")

    def last_line(module):
        # In a process of its own: nothing takes back what apply() does to asyncio.
        command = [sys.executable, "-W", "ignore", "-c", NESTED, module]
        child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        return (child.stdout + child.stderr).splitlines()[-1]

    assert last_line("asyncio") == last_line("asyncio_c") == "nested"
    assert last_line("uvloop").startswith("ValueError: Can't patch loop")
