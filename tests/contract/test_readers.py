"""add_reader() and add_writer() as libraries in C use them: psycopg, pyzmq, pycares, grpc."""

import asyncio
import os
import socket

import pytest
from unit import support


def test_level_triggered(loop, pair):
    """psycopg and pycares read a part of what is there: the callback is called again for the rest."""
    left, right = pair
    seen = []
    right.send(b"abc")
    loop.add_reader(left, lambda: seen.append(left.recv(1)))
    for _ in range(100):
        support.run_once(loop)
        if len(seen) == 3:
            break
    assert seen == [b"a", b"b", b"c"]
    loop.remove_reader(left)


def test_same_descriptor_in_two_loops(impl, loop, pair):
    """grpc.aio has one socket that every loop watches (grpc #25364): each loop sees it ready."""
    left, right = pair
    seen = []
    with support.closing(impl.new_event_loop()) as other:
        loop.add_reader(left, seen.append, "one")
        other.add_reader(left, seen.append, "two")
        right.send(b"x")
        support.run_once(loop)
        support.run_once(other)
        assert seen == ["one", "two"]
        assert other.remove_reader(left) is True
        support.run_once(other)
        support.run_once(loop)
        assert seen == ["one", "two", "one"]
        assert loop.remove_reader(left) is True


def test_objects_with_fileno_and_numbers(loop, pair):
    """add_reader() takes both, and they mean the same descriptor."""
    left, right = pair
    loop.add_reader(left, print)
    assert loop.remove_reader(left.fileno()) is True
    loop.add_reader(left.fileno(), print)
    assert loop.remove_reader(left) is True
    with pytest.raises(ValueError):
        loop.add_reader(object(), print)


def test_reader_removed_by_another_callback_of_the_batch(loop):
    """A cancelled reader does not run, although its descriptor was ready in the same poll (psycopg's cancellation)."""
    pairs = [socket.socketpair() for _ in range(2)]
    seen = []

    def first(index):
        seen.append(index)
        loop.remove_reader(pairs[1 - index][0])

    for index, (left, right) in enumerate(pairs):
        loop.add_reader(left, first, index)
        right.send(b"x")
    support.run_once(loop)
    assert len(seen) == 1
    loop.remove_reader(pairs[seen[0]][0])
    for left, right in pairs:
        left.close()
        right.close()


def test_descriptor_closed_and_used_again(loop):
    """Libraries in C close their descriptors without remove_reader(), and the kernel gives the number out again."""
    left, right = socket.socketpair()
    number = left.fileno()
    seen = []
    loop.add_reader(number, seen.append, "old")
    support.run_once(loop)
    again, peer = socket.socketpair()
    left.close()
    support.run_once(loop)
    os.dup2(again.fileno(), number)
    loop.add_reader(number, seen.append, "new")
    peer.send(b"x")
    support.run_once(loop)
    loop.remove_reader(number)
    os.close(number)
    for sock in (right, again, peer):
        sock.close()
    if loop.__class__ is not asyncio.SelectorEventLoop:
        assert seen == ["new"]  # asyncio's own loop takes the number for the closed descriptor


def test_hang_up_wakes_reader_and_writer(loop, pair):
    """libpq: errors and hang-ups are told to whoever watches, for reading or for writing."""
    left, right = pair
    seen = set()
    loop.add_reader(left, seen.add, "reader")
    loop.add_writer(left, seen.add, "writer")
    right.close()
    support.run_once(loop, 2)
    assert seen == {"reader", "writer"}
    loop.remove_reader(left)
    loop.remove_writer(left)


def test_descriptor_of_a_transport_is_refused(loop, pair):
    """asyncio's words, public methods only."""

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=pair[0])
        number = transport.get_extra_info("socket").fileno()
        for method in (loop.add_reader, loop.add_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                method(number, print)
        for method in (loop.remove_reader, loop.remove_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                method(number)
        transport.close()

    loop.run_until_complete(main())
    support.run_once(loop, 2)


def test_blocking_mode_is_left_alone(loop):
    """uvloop's complaint: add_reader() must not make somebody's socket non-blocking."""
    left, right = socket.socketpair()
    with left, right:
        loop.add_reader(left, print)
        assert left.getblocking() and os.get_blocking(left.fileno())
        loop.remove_reader(left)
        assert left.getblocking() and os.get_blocking(left.fileno())
