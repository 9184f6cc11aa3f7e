"""add_reader, add_writer and their removal: level-triggered watching of descriptors."""

import asyncio
import contextvars
import os
import socket
import weakref

import pytest

from . import support


@pytest.fixture
def pair():
    """Two connected non-blocking sockets."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


def test_reader_is_called(loop, pair):
    left, right = pair
    seen = []

    def readable(*args):
        seen.append((args, left.recv(100)))
        loop.stop()

    assert loop.add_reader(left, readable, 1, 2) is None
    right.send(b"hello")
    loop.run_forever()
    assert seen == [((1, 2), b"hello")]
    assert loop.remove_reader(left) is True
    assert loop.remove_reader(left) is False


def test_writer_is_called(loop, pair):
    left, _ = pair
    seen = []
    assert loop.add_writer(left, lambda: (seen.append(1), loop.stop())) is None
    loop.run_forever()
    assert seen == [1]
    assert loop.remove_writer(left) is True
    assert loop.remove_writer(left) is False


def test_descriptors_as_integers_and_objects_are_the_same(loop, pair):
    left, right = pair
    loop.add_reader(left.fileno(), loop.stop)
    right.send(b"x")
    loop.run_forever()
    assert loop.remove_reader(left) is True


def test_level_triggered(loop, pair):
    left, right = pair
    seen = []
    right.send(b"abc")

    def readable():
        seen.append(left.recv(1))
        if len(seen) == 3:
            loop.stop()

    loop.add_reader(left, readable)
    loop.run_forever()
    assert seen == [b"a", b"b", b"c"]
    loop.remove_reader(left)


def test_reader_and_writer_of_one_descriptor(loop, pair):
    left, right = pair
    seen = []
    right.send(b"x")
    loop.add_reader(left, seen.append, "read")
    loop.add_writer(left, seen.append, "write")
    support.run_once(loop)
    assert sorted(seen) == ["read", "write"]
    assert loop.remove_reader(left) is True
    seen.clear()
    support.run_once(loop)
    assert seen == ["write"]
    assert loop.remove_writer(left) is True
    seen.clear()
    support.run_once(loop)
    assert seen == []


def test_adding_again_replaces(loop, pair):
    left, right = pair
    right.send(b"x")
    seen = []
    loop.add_reader(left, seen.append, "old")
    loop.add_reader(left, seen.append, "new")
    support.run_once(loop)
    assert seen == ["new"]
    assert loop.remove_reader(left) is True
    assert loop.remove_reader(left) is False


def test_removed_by_an_earlier_callback_of_the_same_batch(loop, pair):
    """Both descriptors are ready in one poll; the first callback unregisters the second, which must not run."""
    left, right = pair
    left.send(b"x")
    right.send(b"x")
    seen = []

    def callback(mine, other):
        seen.append(mine)
        loop.remove_reader(other)

    loop.add_reader(left, callback, left, right)
    loop.add_reader(right, callback, right, left)
    support.run_once(loop)
    assert len(seen) == 1
    loop.remove_reader(left)
    loop.remove_reader(right)


def test_removed_by_call_soon_after_it_became_ready(loop, pair):
    left, right = pair
    right.send(b"x")
    seen = []
    loop.add_reader(left, seen.append, 1)
    loop.call_soon(loop.remove_reader, left)
    support.run_once(loop, 2)
    assert seen == []


def test_reader_removes_itself(loop, pair):
    left, right = pair
    right.send(b"x")
    seen = []
    loop.add_reader(left, lambda: (seen.append(1), loop.remove_reader(left)))
    support.run_once(loop, 3)
    assert seen == [1]


def test_ready_order_is_call_soon_then_io_then_timers(loop, pair):
    left, right = pair
    right.send(b"x")
    order = []
    loop.add_reader(left, order.append, "io")
    loop.call_later(0, order.append, "timer")
    loop.call_soon(order.append, "soon")
    support.run_once(loop)
    assert order == ["soon", "io", "timer"]
    loop.remove_reader(left)


def test_io_is_not_starved_by_a_busy_loop(loop, pair):
    left, right = pair
    loop.add_reader(left, loop.stop)

    def busy():
        loop.call_soon(busy)

    loop.call_soon(busy)
    right.send(b"x")
    loop.run_forever()
    loop.remove_reader(left)


def test_io_is_not_starved_by_busy_tasks(loop, impl, pair):
    left, right = pair

    async def main():
        readable = loop.create_future()
        loop.add_reader(left, lambda: readable.done() or readable.set_result(None))
        right.send(b"x")
        while not readable.done():
            await impl.sleep(0)
        loop.remove_reader(left)

    loop.run_until_complete(main())


def test_hang_up_wakes_reader_and_writer(loop):
    read_end, write_end = os.pipe()
    seen = set()
    loop.add_writer(write_end, seen.add, "writer")
    os.close(read_end)
    support.run_once(loop, 2)
    assert seen == {"writer"}
    loop.remove_writer(write_end)
    os.close(write_end)

    read_end, write_end = os.pipe()
    loop.add_reader(read_end, seen.add, "reader")
    os.close(write_end)
    support.run_once(loop, 2)
    assert seen == {"writer", "reader"}
    loop.remove_reader(read_end)
    os.close(read_end)


def test_invalid_descriptors(ours, stock):
    def outcome(impl, bad):
        with support.closing(impl.new_event_loop()) as loop:
            results = []
            for method in ("add_reader", "add_writer", "remove_reader", "remove_writer"):
                args = (bad, int) if method.startswith("add") else (bad,)
                try:
                    results.append(getattr(loop, method)(*args))
                except Exception as exc:
                    results.append(support.described(exc))
            return results

    class NoFileno:
        def __repr__(self):
            return "<NoFileno>"

    class BadFileno:
        def fileno(self):
            return "x"

        def __repr__(self):
            return "<BadFileno>"

    for bad in (-1, "1", None, NoFileno(), BadFileno(), 1.5):
        assert outcome(ours, bad) == outcome(stock, bad), bad


@pytest.mark.skipif(os.environ.get("ASYNCIO_C_POLLER") == "poll", reason="poll(2) takes regular files")
def test_a_regular_file_is_refused(loop, tmp_path):
    """epoll answers EPERM; so do asyncio's selectors."""
    with open(tmp_path / "file", "wb") as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, int)
        assert loop.remove_reader(file) is False


def test_closed_descriptor_reused(loop):
    """A library may close a descriptor without unregistering it; its number comes back with another file."""
    first_left, first_right = socket.socketpair()
    number = first_left.fileno()
    loop.add_reader(number, int)
    first_left.close()
    first_right.close()
    second_left, second_right = socket.socketpair()
    if second_left.fileno() != number:
        os.dup2(second_left.fileno(), number)
        watched = socket.socket(fileno=number)
    else:
        watched = second_left
    loop.remove_reader(number)
    seen = []
    loop.add_reader(watched, lambda: (seen.append(watched.recv(10)), loop.stop()))
    second_right.send(b"new")
    loop.run_forever()
    assert seen == [b"new"]
    loop.remove_reader(watched)
    watched.close()
    second_left.close()
    second_right.close()


def test_removing_a_closed_descriptor(loop):
    left, right = socket.socketpair()
    number = left.fileno()
    loop.add_reader(number, int)
    left.close()
    assert loop.remove_reader(number) is True
    right.close()
    support.run_once(loop)


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_numbers_that_are_no_descriptors(loop, direction):
    add, remove = getattr(loop, f"add_{direction}"), getattr(loop, f"remove_{direction}")
    for number in (-1, -(2**70)):
        with pytest.raises(ValueError, match=f"^Invalid file descriptor: {number}$"):
            add(number, int)
    for number in (2**31, 2**70):
        with pytest.raises(OverflowError, match="^Python int too large to convert to C int$"):
            add(number, int)
        assert remove(number) is False


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_removing_a_closed_socket(loop, direction):
    add, remove = getattr(loop, f"add_{direction}"), getattr(loop, f"remove_{direction}")
    left, right = socket.socketpair()
    add(left, int)
    left.close()
    assert remove(left) is True
    # Now it is forgotten, and has no number by which to ask.
    with pytest.raises(ValueError, match="^Invalid file descriptor: -1$"):
        remove(left)
    right.close()
    support.run_once(loop)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_watched_socket_is_kept_alive(loop):
    left, right = socket.socketpair()
    seen = []
    loop.add_reader(left, seen.append, "ready")
    watched = weakref.ref(left)
    del left
    support.collect()
    right.send(b"x")
    support.run_once(loop)
    assert seen == ["ready"]
    loop.remove_reader(watched())
    support.collect()
    assert watched() is None
    right.close()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_closed_loop_lets_go_of_watched_sockets(impl):
    left, right = socket.socketpair()
    loop = impl.new_event_loop()
    loop.add_reader(left, int)
    loop.add_writer(left, int)
    watched = weakref.ref(left)
    del left
    loop.close()
    support.collect()
    assert watched() is None
    right.close()


def test_one_descriptor_in_several_loops(impl, pair):
    left, right = pair
    right.send(b"x")
    seen = []
    with support.closing(impl.new_event_loop()) as first, support.closing(impl.new_event_loop()) as second:
        first.add_reader(left, seen.append, "first")
        second.add_reader(left, seen.append, "second")
        support.run_once(first)
        support.run_once(second)
        assert seen == ["first", "second"]
        assert first.remove_reader(left) and second.remove_reader(left)


def test_callback_runs_in_the_context_of_registration(loop, pair):
    left, right = pair
    right.send(b"x")
    var = contextvars.ContextVar("var", default="default")
    seen = []
    var.set("registered")
    loop.add_reader(left, lambda: seen.append(var.get()))
    var.set("later")
    support.run_once(loop)
    assert seen == ["registered"]
    loop.remove_reader(left)


def test_exception_of_a_reader_is_reported_and_it_stays(loop, pair):
    left, right = pair
    right.send(b"x")
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    loop.add_reader(left, divmod, 1, 0)
    support.run_once(loop, 2)
    assert len(contexts) == 2
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)
    loop.remove_reader(left)


def test_removal_drops_the_callback(loop, pair):
    class Callback:
        def __call__(self):
            pass

    callback = Callback()
    ref = weakref.ref(callback)
    loop.add_reader(pair[0], callback)
    del callback
    loop.remove_reader(pair[0])
    assert ref() is None


def test_close_drops_the_callbacks(impl, pair):
    class Callback:
        def __call__(self):
            pass

    loop = impl.new_event_loop()
    callback = Callback()
    ref = weakref.ref(callback)
    loop.add_reader(pair[0], callback)
    del callback
    loop.close()
    support.collect()
    assert ref() is None
    assert loop.remove_reader(pair[0]) is False


def test_many_descriptors(loop):
    pairs = [socket.socketpair() for _ in range(100)]
    seen = set()
    for i, (left, right) in enumerate(pairs):
        loop.add_reader(left, seen.add, i)
        right.send(b"x")
    support.run_once(loop, 3)
    assert seen == set(range(100))
    for left, right in pairs:
        assert loop.remove_reader(left)
        left.close()
        right.close()


def test_private_twins_that_libraries_call(loop, pair):
    """PidfdChildWatcher of asyncio itself calls loop._add_reader and loop._remove_reader."""
    left, right = pair
    right.send(b"x")
    loop._add_reader(left.fileno(), loop.stop)
    loop.run_forever()
    assert loop._remove_reader(left.fileno()) is True
    loop._add_writer(left.fileno(), loop.stop)
    loop.run_forever()
    assert loop._remove_writer(left.fileno()) is True


def test_waiting_in_a_task(loop, pair):
    left, right = pair

    async def receive():
        ready = loop.create_future()
        loop.add_reader(left, ready.set_result, None)
        try:
            await ready
        finally:
            loop.remove_reader(left)
        return left.recv(100)

    async def main():
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        right.send(b"data")
        return await task

    assert loop.run_until_complete(main()) == b"data"


@pytest.mark.parametrize("method", ["_add_reader", "_add_writer"])
def test_fileno_that_closes_the_loop(impl, pair, method):
    loop = impl.new_event_loop()

    class Closer:
        def fileno(self):
            loop.close()
            return pair[0].fileno()

    with pytest.raises((RuntimeError, KeyError, AttributeError, ValueError)) as caught:
        getattr(loop, method)(Closer(), int)
    if impl.native_loop:
        assert caught.type is RuntimeError
    assert loop.is_closed()
