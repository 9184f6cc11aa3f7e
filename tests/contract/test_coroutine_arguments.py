"""When a coroutine of asyncio's lets go of what it was called with: as soon as it ends, however it ends, whoever still holds it.

A coroutine in Python has a frame, which is cleared then. Programs that keep their tasks, and so the coroutines of these, count on
it, as do those that close a coroutine which they never began.
"""

import asyncio
import errno
import gc
import socket
import types
import weakref
from unittest import mock

import pytest
from unit import support

# These Pythons clear no frame by a close() of what never began. Ours is let go on all.
CLOSE_KEEPS = support.PY312 and not support.PY314


class Token:
    """Something that can be watched."""


class Data(bytearray):
    pass


async def entered(manager):
    await manager.__aenter__()
    return manager


async def acquired(lock):
    await lock.acquire()
    return lock


def full_queue(impl):
    queue = impl.Queue(1)
    queue.put_nowait(0)
    return queue


# What is called, with the object to be watched; and what that is made of.
KINDS = {
    "sleep": (lambda impl, token, has: impl.sleep(1, token), lambda impl, loop: Token()),
    "sleep(0)": (lambda impl, token, has: impl.sleep(0, token), lambda impl, loop: Token()),
    "wait": (lambda impl, token, has: impl.wait([token]), lambda impl, loop: loop.create_future()),
    "wait for the first": (
        lambda impl, token, has: impl.wait([has.done, token], return_when=asyncio.FIRST_COMPLETED),
        lambda impl, loop: loop.create_future(),
    ),
    "wait_for": (lambda impl, token, has: impl.wait_for(token, 5), lambda impl, loop: loop.create_future()),
    "wait_for without end": (
        lambda impl, token, has: impl.wait_for(token, None),
        lambda impl, loop: loop.create_future(),
    ),
    "to_thread": (lambda impl, token, has: impl.to_thread(has.in_thread, token), lambda impl, loop: Token()),
    "timeout entered": (lambda impl, token, has: token.__aenter__(), lambda impl, loop: impl.timeout(None)),
    "timeout left": (
        lambda impl, token, has: token.__aexit__(None, None, None),
        lambda impl, loop: entered(impl.timeout(None)),
    ),
    "group entered": (lambda impl, token, has: token.__aenter__(), lambda impl, loop: impl.TaskGroup()),
    "group left": (
        lambda impl, token, has: token.__aexit__(None, None, None),
        lambda impl, loop: entered(impl.TaskGroup()),
    ),
    "lock": (lambda impl, token, has: token.acquire(), lambda impl, loop: impl.Lock()),
    "lock that is taken": (
        lambda impl, token, has: token.acquire(),
        lambda impl, loop: acquired(impl.Lock()),
    ),
    "lock entered": (lambda impl, token, has: token.__aenter__(), lambda impl, loop: impl.Lock()),
    "lock left": (
        lambda impl, token, has: token.__aexit__(None, None, None),
        lambda impl, loop: acquired(impl.Lock()),
    ),
    "semaphore": (lambda impl, token, has: token.acquire(), lambda impl, loop: impl.Semaphore()),
    "condition waited for": (
        lambda impl, token, has: token.wait(),
        lambda impl, loop: acquired(impl.Condition()),
    ),
    "barrier": (lambda impl, token, has: token.wait(), lambda impl, loop: impl.Barrier(2)),
    "event": (lambda impl, token, has: token.wait(), lambda impl, loop: impl.Event()),
    "get": (lambda impl, token, has: token.get(), lambda impl, loop: impl.Queue()),
    "put": (lambda impl, token, has: impl.Queue().put(token), lambda impl, loop: Token()),
    "put that waits": (lambda impl, token, has: has.full.put(token), lambda impl, loop: Token()),
    "join": (lambda impl, token, has: token.join(), lambda impl, loop: full_queue(impl)),
    "read": (lambda impl, token, has: token.read(10), lambda impl, loop: impl.StreamReader()),
    "readline": (lambda impl, token, has: token.readline(), lambda impl, loop: impl.StreamReader()),
    "readuntil": (lambda impl, token, has: has.reader.readuntil(token), lambda impl, loop: Data(b"x")),
    "sock_recv_into": (
        lambda impl, token, has: has.loop.sock_recv_into(has.sock, token),
        lambda impl, loop: Data(1),
    ),
    "sock_sendall": (
        lambda impl, token, has: has.loop.sock_sendall(has.sock, token),
        lambda impl, loop: Data(1),
    ),
}


def step(resume, *args):
    """Whether the coroutine has ended by it."""
    try:
        future = resume(*args)
    except (StopIteration, ValueError):
        return True
    del future
    return False


def close_unbegun(coro):
    coro.close()


def throw_unbegun(coro):
    assert step(coro.throw, ValueError)


def close_begun(coro):
    step(coro.send, None)
    coro.close()


def throw_begun(coro):
    if not step(coro.send, None):
        step(coro.throw, ValueError)


def begin(coro):
    """What ends at once ends, and the others wait."""
    step(coro.send, None)


async def alive(impl, sock, kind, end):
    loop = asyncio.get_running_loop()
    has = types.SimpleNamespace(loop=loop, sock=sock, full=full_queue(impl), reader=impl.StreamReader())
    has.done, has.in_thread = loop.create_future(), lambda token: None
    has.done.set_result(None)
    call, make = KINDS[kind]
    token = make(impl, loop)
    if asyncio.iscoroutine(token):
        token = await token
    coro = call(impl, token, has)
    watch = weakref.ref(token)
    del token
    seen = [watch() is not None]
    end(coro)
    seen.append(watch() is not None)
    del coro
    await asyncio.sleep(0)
    return seen


@pytest.mark.parametrize("end", [close_unbegun, throw_unbegun, close_begun, throw_begun, begin])
@pytest.mark.parametrize("kind", KINDS)
def test_arguments_live_no_longer_than_asyncios(ours, stock, pair, kind, end, collections_on_demand):
    """After the end of a coroutine that waited for a socket, asyncio's loop still has what it was given."""
    held, left = stock.run(alive(stock, pair[0], kind, end))
    gc.collect()
    assert held
    if end is throw_unbegun or (end is close_unbegun and not CLOSE_KEEPS):
        assert not left
    assert ours.run(alive(ours, pair[0], kind, end)) in ([True, left], [True, False])


def test_arguments_of_a_task_that_has_ended(ours, stock, collections_on_demand):
    """Its coroutine, which it keeps, has let go of what it was given."""

    async def main(impl):
        seen = []
        for make in (
            lambda token: impl.sleep(1e-9, token),
            lambda token: impl.Queue().put(token),
            lambda token: impl.to_thread(lambda token: None, token),
        ):
            token = Token()
            task = impl.create_task(make(token))
            watch = weakref.ref(token)
            del token
            result = await task
            seen += [task.get_coro() is not None, result is not None, result is watch()]
            del result
            seen.append(watch() is not None)
        return seen

    assert ours.run(main(ours)) == stock.run(main(stock))


def test_closed_while_it_tries_again(loop):
    """By a method that somebody has put into the class meanwhile: what is needed after that method is there."""

    async def main(listener, client):
        address = listener.getsockname()
        coro = loop.sock_connect(client, address)
        future = coro.send(None)
        future._asyncio_future_blocking = False

        def getsockopt(self, level, name):
            coro.close()
            return errno.ECONNREFUSED

        with mock.patch.object(socket.socket, "getsockopt", getsockopt, create=True):
            with pytest.raises(ConnectionRefusedError) as caught:
                await future
            assert caught.value.strerror == f"Connect call failed {address}"

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setblocking(False)
        loop.run_until_complete(main(listener, client))
