"""add_reader and add_writer beside what test_readers.py has: several loops, reuse behind the loop's back, ends of peers."""

import asyncio
import contextvars
import os
import socket

import pytest

from .. import support
from . import peers
from .peers import SMALL, in_thread, turns


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


async def event(loop, add, fd):
    """Wait until `fd` is ready once."""
    future = loop.create_future()
    add(fd, lambda: future.done() or future.set_result(None))
    await future


async def test_level_triggered_writer(loop, pair):
    left, right = pair
    calls = []
    done = loop.create_future()

    def writable():
        calls.append(1)
        if len(calls) == 5:
            loop.remove_writer(left)
            done.set_result(None)

    loop.add_writer(left, writable)
    await done
    await turns(5)
    assert len(calls) == 5


async def test_peer_that_closes_wakes_the_reader(loop, pair):
    left, right = pair
    future = loop.create_future()
    loop.add_reader(left, lambda: future.done() or future.set_result(left.recv(10)))
    right.close()
    assert await future == b""
    loop.remove_reader(left)


async def test_peer_that_closes_wakes_the_writer(loop, pair):
    """A full socket becomes writable, to fail."""
    left, right = pair
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    with pytest.raises(BlockingIOError):
        while True:
            left.send(b"x" * 65536)
    waiting = asyncio.ensure_future(event(loop, loop.add_writer, left))
    await turns(5)
    assert not waiting.done()
    right.close()
    await waiting
    loop.remove_writer(left)
    with pytest.raises(BrokenPipeError):
        left.send(b"x")


async def test_reset_wakes_both(loop):
    ours, theirs = peers.socket_pair("tcp", ours_sndbuf=SMALL, theirs_rcvbuf=SMALL)
    with ours, theirs:
        with pytest.raises(BlockingIOError):
            while True:
                ours.send(b"x" * 65536)
        waiting = [
            asyncio.ensure_future(event(loop, loop.add_writer, ours)),
            asyncio.ensure_future(event(loop, loop.add_reader, ours)),
        ]
        await turns(5)
        peers.reset_on_close(theirs)
        theirs.close()
        await asyncio.gather(*waiting)
        loop.remove_writer(ours)
        loop.remove_reader(ours)


async def test_reader_only_is_woken_by_hangup_of_a_pipe(loop):
    reading, writing = os.pipe()
    waiting = asyncio.ensure_future(event(loop, loop.add_reader, reading))
    await turns(5)
    os.close(writing)
    await waiting
    assert os.read(reading, 1) == b""
    loop.remove_reader(reading)
    os.close(reading)


async def test_writer_is_woken_by_the_end_of_the_reading_side(loop):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"x" * 65536)
    waiting = asyncio.ensure_future(event(loop, loop.add_writer, writing))
    await turns(5)
    assert not waiting.done()
    os.close(reading)
    await waiting
    loop.remove_writer(writing)
    os.close(writing)


async def test_one_descriptor_in_two_loops(loop, impl, pair):
    left, right = pair
    seen = []

    def in_other_loop():
        other = impl.new_event_loop()
        other.add_reader(left, lambda: (seen.append("other"), other.stop()))
        other.run_forever()
        assert other.remove_reader(left) is True
        other.close()

    mine = asyncio.ensure_future(event(loop, loop.add_reader, left))
    theirs = asyncio.ensure_future(in_thread(in_other_loop))
    right.send(b"x")
    await asyncio.gather(mine, theirs)
    assert seen == ["other"]
    # The other loop's end has not taken the watch from this one.
    assert loop.remove_reader(left) is True


def test_reader_in_a_second_loop_after_the_first_was_closed(loop, impl, pair):
    left, right = pair
    first = impl.new_event_loop()
    first.add_reader(left, print)
    first.close()
    seen = []
    loop.add_reader(left, lambda: (seen.append(left.recv(1)), loop.stop()))
    right.send(b"x")
    loop.run_forever()
    assert seen == [b"x"]
    loop.remove_reader(left)


def socket_with_number(fd):
    """Return a pair of sockets of which the first has the number `fd`, which is free."""
    left, right = socket.socketpair()
    if right.fileno() == fd:
        left, right = right, left
    assert left.fileno() == fd
    left.setblocking(False)
    return left, right


@pytest.mark.parametrize("impl", ("epoll", "poll"), indirect=True)
async def test_closed_without_removal_then_reused(loop, pair):
    """The watch of the number that was closed must not keep the number's next owner from being watched.

    With asyncio it does: its selector believes that epoll still knows the number.
    """
    left, right = pair
    fd = left.fileno()
    loop.add_reader(left, lambda: None)
    left.close()
    await turns(3)
    reused, other = socket_with_number(fd)
    with reused, other:
        seen = loop.create_future()
        loop.add_reader(reused, lambda: seen.done() or seen.set_result(reused.recv(1)))
        other.send(b"!")
        assert await seen == b"!"
        assert loop.remove_reader(reused) is True


async def test_closed_removed_then_reused(loop, pair):
    left, right = pair
    fd = left.fileno()
    loop.add_reader(left, lambda: None)
    left.close()
    assert loop.remove_reader(fd) is True
    assert loop.remove_reader(fd) is False
    reused, other = socket_with_number(fd)
    with reused, other:
        seen = loop.create_future()
        loop.add_reader(fd, lambda: seen.done() or seen.set_result(reused.recv(1)))
        other.send(b"!")
        assert await seen == b"!"
        loop.remove_reader(fd)


async def test_closed_while_a_copy_is_open(loop, pair):
    """epoll goes on to tell of a description of which a copy is open, though the number is no longer ours.

    Once removed, the old watch must not run, nor spin.
    """
    left, right = pair
    fd = left.fileno()
    calls = []
    loop.add_reader(fd, calls.append, 1)
    copy = left.dup()
    with copy:
        loop.remove_reader(fd)
        left.close()
        right.send(b"x")
        await turns(10)
        assert calls == []


async def test_removing_others_of_the_batch(loop):
    """Ten are ready at once; the first that runs removes all others, which must not run."""
    pairs = [socket.socketpair() for _ in range(10)]
    ran = []

    def callback(i):
        ran.append(i)
        for sock, _ in pairs:
            loop.remove_reader(sock)

    for i, (left, right) in enumerate(pairs):
        loop.add_reader(left, callback, i)
        right.send(b"x")
    await turns(5)
    assert len(ran) == 1
    for left, right in pairs:
        left.close()
        right.close()


async def test_closing_others_of_the_batch_and_reusing_their_numbers(loop):
    """The first that runs closes the second, whose number a new socket gets: the new one's callback is the one to run."""
    pairs = [socket.socketpair() for _ in range(2)]
    ran = []
    fresh = []

    def callback(mine, other):
        ran.append("old")
        sock = pairs[other][0]
        fd = sock.fileno()
        loop.remove_reader(fd)
        sock.close()
        left, right = socket_with_number(fd)
        fresh.extend((left, right))
        loop.add_reader(left, ran.append, "new")

    for i, (left, right) in enumerate(pairs):
        loop.add_reader(left, callback, i, 1 - i)
        right.send(b"x")
    await turns(1)
    while not ran:
        await turns(1)
    first = pairs[0][0] if pairs[1][0].fileno() == -1 else pairs[1][0]
    loop.remove_reader(first)
    await turns(5)
    assert ran == ["old"], "the new socket is not readable"
    fresh[1].send(b"x")
    while "new" not in ran:
        await turns(1)
    loop.remove_reader(fresh[0])
    for sock in [*fresh, *[sock for both in pairs for sock in both]]:
        sock.close()


async def test_reader_added_in_a_callback(loop, pair):
    left, right = pair
    left.send(b"x")
    right.send(b"x")
    order = []
    loop.add_reader(
        left, lambda: (order.append("left"), loop.remove_reader(left), loop.add_reader(right, second))
    )
    done = loop.create_future()

    def second():
        order.append("right")
        loop.remove_reader(right)
        done.set_result(None)

    await done
    assert order == ["left", "right"]


async def test_reader_and_writer_of_one_descriptor_are_independent(loop, pair):
    left, right = pair
    order = []
    loop.add_writer(left, order.append, "write")
    loop.add_reader(left, order.append, "read")
    right.send(b"x")
    while not {"read", "write"} <= set(order):
        await turns(1)
    loop.remove_writer(left)
    order.clear()
    while not order:
        await turns(1)
    assert set(order) == {"read"}
    loop.remove_reader(left)


async def test_order_of_call_soon_and_readers(loop, pair):
    """In one turn: what was queued before, then what is ready."""
    left, right = pair
    order = []
    right.send(b"x")
    loop.add_reader(left, lambda: (order.append("reader"), loop.remove_reader(left)))
    loop.call_soon(order.append, "soon")
    while "reader" not in order:
        await turns(1)
    assert order == ["soon", "reader"]


async def test_many_descriptors(loop):
    pairs = [socket.socketpair() for _ in range(200)]
    seen = set()
    done = loop.create_future()

    def readable(i):
        seen.add(i)
        loop.remove_reader(pairs[i][0])
        if len(seen) == 200:
            done.set_result(None)

    for i, (left, _) in enumerate(pairs):
        loop.add_reader(left, readable, i)
    for _, right in reversed(pairs):
        right.send(b"x")
    await done
    for left, right in pairs:
        left.close()
        right.close()


async def test_exception_in_a_reader(loop, pair, reports):
    left, right = pair
    right.send(b"x")

    def fail():
        loop.remove_reader(left)
        raise LookupError("reader")

    loop.add_reader(left, fail)
    while not reports:
        await turns(1)
    context = reports.pop()
    assert type(context["exception"]) is LookupError
    assert set(context) == {"message", "exception", "handle"}
    assert context["message"].startswith("Exception in callback ")


@pytest.mark.parametrize("wrong", (-1, "x", None, 1.5, object()), ids=lambda wrong: type(wrong).__name__)
async def test_what_is_no_descriptor(loop, wrong):
    for add in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError):
            add(wrong, print)


@pytest.mark.parametrize(
    "error", (AttributeError, TypeError, ValueError, OSError, RuntimeError, KeyboardInterrupt)
)
async def test_fileno_that_raises(loop, error):
    """What says that the object is no file becomes a ValueError; anything else is not the loop's to judge."""

    class File:
        def fileno(self):
            raise error("from fileno()")

    expected = ValueError if issubclass(error, (AttributeError, TypeError, ValueError)) else error
    # Transports call the private ones.
    for method in (loop.add_reader, loop._add_reader, loop.add_writer, loop._add_writer):
        with pytest.raises(expected):
            method(File(), print)
    for method in (loop.remove_reader, loop._remove_reader, loop.remove_writer, loop._remove_writer):
        with pytest.raises(expected):
            method(File())


async def test_closed_descriptor(loop):
    reading, writing = os.pipe()
    os.close(writing)
    os.close(reading)
    with pytest.raises(OSError):
        loop.add_reader(reading, print)
    assert loop.remove_reader(reading) is False


async def test_callbacks_run_in_the_context_of_their_addition(loop, pair):
    variable = contextvars.ContextVar("variable")
    left, right = pair
    seen = loop.create_future()
    variable.set("added")
    loop.add_reader(left, lambda: (loop.remove_reader(left), seen.set_result(variable.get())))
    variable.set("later")
    right.send(b"x")
    assert await seen == "added"


def test_watches_do_not_keep_the_loop_alive(loop, pair):
    left, right = pair
    loop.add_reader(left, print)
    loop.add_writer(right, print)
    loop.remove_writer(right)
    support.run_once(loop)
    loop.close()
    assert loop.remove_reader(left) is False
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.add_reader(left, print)


def test_removing_what_was_closed_before_the_last_turn(loop, pair):
    """poll(2) has noticed by then that the descriptor is closed."""
    left, right = socket.socketpair()
    number = left.fileno()
    loop.add_reader(number, int)
    left.close()
    support.run_once(loop, 2)
    assert loop.remove_reader(number) is True
    assert loop.remove_reader(number) is False
    if right.fileno() != number:
        os.dup2(right.fileno(), number, inheritable=False)
        right.close()
        right = socket.socket(fileno=number)
    with right:
        loop.add_writer(number, int)
        assert loop.remove_writer(number) is True
