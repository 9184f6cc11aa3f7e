"""Selectors that others bring, as an argument, as the default, by replacing select() or the whole; and what _selector tells."""

import asyncio
import concurrent.futures
import contextvars
import logging
import os
import selectors
import signal
import socket
import threading

import pytest

from . import support

BROUGHT = (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector)
epoll = pytest.mark.skipif(
    os.environ.get("ASYNCIO_C_POLLER") == "poll", reason="the loop's own selector is then a PollSelector"
)


class Recording(selectors.EpollSelector):
    """Notes what is asked of it."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def register(self, fileobj, events, data=None):
        self.calls.append(("register", fileobj, events))
        return super().register(fileobj, events, data)

    def modify(self, fileobj, events, data=None):
        self.calls.append(("modify", fileobj, events))
        return super().modify(fileobj, events, data)

    def unregister(self, fileobj):
        self.calls.append(("unregister", fileobj))
        return super().unregister(fileobj)

    def select(self, timeout=None):
        self.calls.append(("select", timeout))
        return super().select(timeout)


class Virtual(selectors.SelectSelector):
    """Time passes when it is waited for."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.timeouts = []

    def select(self, timeout=None):
        ready = super().select(0)
        self.timeouts.append(timeout)
        if not ready and timeout is not None:
            self.now += timeout
        return ready


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


def own_entries(loop):
    """What a loop's selector holds besides that by which the loop is woken."""
    own = {loop._ssock.fileno()}
    return {fd: key for fd, key in loop._selector.get_map().items() if fd not in own}


async def use_everything(loop, left, right):
    """Streams, sock_*, a datagram, a pipe, a process, a thread, a timer, a signal."""

    async def answer(reader, writer):
        while data := await reader.read(1000):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    large = b"x" * 1_000_000
    writer.write(large)
    assert await reader.readexactly(len(large)) == large.upper()
    assert "read=polling" in repr(writer.transport)
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()

    receiving = loop.create_task(loop.sock_recv(left, 10))
    await asyncio.sleep(0)
    await loop.sock_sendall(right, b"data")
    assert await receiving == b"data"

    received = loop.create_future()

    class Datagrams(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            received.set_result(data)

    listening, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    address = listening.get_extra_info("sockname")
    sending, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
    sending.sendto(b"datagram")
    assert await received == b"datagram"
    listening.close()
    sending.close()

    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert await process.communicate(b"through a child") == (b"through a child", None)
    assert process.returncode == 0

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert await loop.run_in_executor(pool, threading.get_ident) != threading.get_ident()
    await asyncio.sleep(0.001)

    signalled = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, signalled.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await signalled.wait()
    loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.parametrize("selector_class", BROUGHT)
@pytest.mark.parametrize("debug", [False, True])
def test_everything_works_by_a_selector_that_is_passed_in(impl, pair, selector_class, debug):
    selector = selector_class()
    loop = impl.Loop(selector)
    loop.set_debug(debug)
    with support.closing(loop), support.recorded_logs(logging.WARNING) as logs:
        assert loop._selector is selector
        loop.run_until_complete(asyncio.wait_for(use_everything(loop, *pair), 30))
        assert own_entries(loop) == {}
    assert [log for log in logs if log[0] != "WARNING"] == []
    assert loop._selector is None and selector.get_map() is None


@pytest.mark.parametrize("keyword", [False, True])
def test_selector_is_an_argument_as_of_asyncio(impl, keyword):
    selector = Recording()
    loop = impl.Loop(selector=selector) if keyword else impl.Loop(selector)
    with support.closing(loop):
        assert selector.calls == [("register", loop._ssock.fileno(), selectors.EVENT_READ)]
        assert loop._selector is selector


def test_what_is_registered_modified_and_unregistered(impl, pair):
    left, right = pair
    selector = Recording()
    with support.closing(impl.Loop(selector)) as loop:
        selector.calls.clear()
        loop.add_reader(left, print)
        loop.add_writer(left, print)
        loop.add_reader(left, print, 1)
        (key,) = own_entries(loop).values()
        reads, writes = key.data
        assert (key.fileobj, key.fd, key.events) == (left, left.fileno(), 3)
        assert isinstance(reads, asyncio.Handle) and isinstance(writes, asyncio.Handle)
        assert reads._args == (1,) and selector.get_key(left) is key
        assert loop.remove_reader(left) is True
        assert loop.remove_writer(left) is True
        assert loop.remove_writer(left) is False
        loop.add_writer(right.fileno(), print)
        loop.remove_writer(right.fileno())
        assert selector.calls == [
            ("register", left, 1),
            ("modify", left, 3),
            ("modify", left, 3),
            ("modify", left, 2),
            ("unregister", left),
            ("register", right.fileno(), 2),
            ("unregister", right.fileno()),
        ]


def test_timeouts_are_those_of_asyncio(impl):
    """Virtual clocks live on them: none while work is queued, the time until the first timer, and for ever without one."""
    selector = Virtual()

    class Loop(impl.Loop):
        def time(self):
            return selector.now

    with support.closing(Loop(selector)) as loop:

        async def main():
            for _ in range(3):
                await asyncio.sleep(0)
            await asyncio.sleep(0.1)
            await asyncio.sleep(0.2)
            await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2.5), asyncio.sleep(10**6))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.create_future(), 7)

        loop.run_until_complete(main())
        assert selector.now == pytest.approx(10**6 + 7.3)
        waits = [timeout for timeout in selector.timeouts if timeout != 0]
        day = 24 * 3600
        assert waits[:4] == pytest.approx([0.1, 0.2, 1, 1.5])
        assert waits[4:-2] == [day] * 11
        assert sum(waits) == pytest.approx(selector.now)
        # A callback in each turn is a select(0) in each.
        before = len(selector.timeouts)
        loop.run_until_complete(asyncio.sleep(0))
        assert set(selector.timeouts[before:]) == {0}
        loop.call_soon_threadsafe(loop.stop)
        loop.run_forever()


def test_time_that_is_short_of_a_timer_by_the_last_digit(impl):
    """0.1 + 0.2 is more than 0.3 in floating point, by less than the resolution of the clock."""
    selector = Virtual()
    with support.closing(impl.Loop(selector)) as loop:
        loop.time = lambda: round(selector.now, 6)
        timer = loop.call_at(0.1 + 0.2, loop.stop)
        assert timer.when() > 0.3
        selector.now = 0.3
        loop.run_forever()
        assert selector.timeouts == [0.1 + 0.2 - 0.3]


def test_waits_for_ever_without_a_timer(impl):
    selector = Virtual()
    with support.closing(impl.Loop(selector)) as loop:
        selector.select = lambda timeout: timeouts.append(timeout) or loop.stop() or []
        timeouts = []
        loop.run_forever()
        assert timeouts == [None]


def test_events_that_a_selector_makes_up_count(impl):
    """Tests bring selectors in which nothing real is registered."""

    class MadeUp(selectors.BaseSelector):
        def __init__(self):
            self.keys, self.ready = {}, []

        def register(self, fileobj, events, data=None):
            self.keys[fileobj] = selectors.SelectorKey(fileobj, 0, events, data)
            return self.keys[fileobj]

        def unregister(self, fileobj):
            return self.keys.pop(fileobj)

        def get_map(self):
            return self.keys

        def select(self, timeout=None):
            ready, self.ready = self.ready, []
            return ready

    class File:
        def fileno(self):
            return 10**6

    selector, file, seen = MadeUp(), File(), []
    with support.closing(impl.Loop(selector)) as loop:
        loop._add_reader(file, seen.append, "read")
        loop._add_writer("no file", seen.append, "written")
        selector.ready = [(selector.keys[file], 1), (selector.keys["no file"], 3)]
        support.run_once(loop)
        assert seen == ["read", "written"]
        # A handle that was cancelled by itself is taken out; asyncio asks for the key that it was given.
        selector.keys[file].data[0].cancel()
        selector.ready = [(selector.keys[file], 1)]
        support.run_once(loop)
        assert file not in selector.keys and seen == ["read", "written"]
        loop._remove_writer("no file")


def test_events_in_the_order_of_the_selector_and_timers_behind_them(impl, pair):
    left, right = pair
    seen = []
    selector = selectors.SelectSelector()
    with support.closing(impl.Loop(selector)) as loop:
        select = selector.select
        selector.select = lambda timeout: sorted(select(timeout), key=lambda event: -event[0].fd)
        for sock in sorted(pair, key=socket.socket.fileno):
            loop.add_writer(sock, seen.append, sock)
        loop.call_later(0, seen.append, "timer")
        loop.call_soon(seen.append, "soon")
        support.run_once(loop)
        assert seen == ["soon", *sorted(pair, key=lambda sock: -sock.fileno()), "timer"]
        loop.remove_writer(left)
        loop.remove_writer(right)


def test_handle_that_is_cancelled_after_it_was_queued_does_not_run(impl, pair):
    left, right = pair
    with support.closing(impl.Loop(selectors.SelectSelector())) as loop:
        seen = []
        loop.add_writer(left, lambda: (seen.append("left"), loop.remove_writer(right)))
        loop.add_writer(right, lambda: (seen.append("right"), loop.remove_writer(left)))
        support.run_once(loop)
        assert len(seen) == 1
        loop.remove_writer(left)
        loop.remove_writer(right)


def test_select_that_raises_leaves_the_loop(impl):
    class Failing(selectors.SelectSelector):
        def select(self, timeout=None):
            raise ZeroDivisionError

    with support.closing(impl.Loop(selectors.SelectSelector())) as loop:
        loop._selector.select = Failing.select.__get__(loop._selector)
        with pytest.raises(ZeroDivisionError):
            loop.run_forever()
        del loop._selector.select


def test_another_thread_wakes_a_select(impl):
    selector = Recording()
    with support.closing(impl.Loop(selector)) as loop:
        waits = threading.Event()
        select = selector.select

        def waiting_select(timeout):
            if timeout is None:
                waits.set()
            return select(timeout)

        selector.select = waiting_select
        thread = threading.Thread(target=lambda: (waits.wait(), loop.call_soon_threadsafe(loop.stop)))
        thread.start()
        loop.run_forever()
        thread.join()
        assert ("select", None) in selector.calls


def test_call_soon_threadsafe_wakes_the_next_select(impl):
    """It writes to itself also where nobody sleeps, which a select() can see."""
    with support.closing(impl.Loop(selectors.SelectSelector())) as loop:
        loop.call_soon_threadsafe(loop.stop)
        assert [key.fileobj for key, _ in loop._selector.select(0)] == [loop._ssock.fileno()]
        loop.run_forever()


def test_context_of_a_write_that_waits(impl, pair):
    """resume_writing() runs in that of the write() that could not send all; from Python 3.15 on in the connection's own."""
    variable = contextvars.ContextVar("variable", default=None)
    left, right = pair
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    class Protocol(asyncio.Protocol):
        def resume_writing(self):
            seen.set_result(variable.get())

    with support.closing(impl.Loop(selectors.SelectSelector())) as loop:
        seen = loop.create_future()

        async def main():
            transport, _ = await loop.create_connection(Protocol, sock=left)
            variable.set("of the write")
            transport.write(b"x" * 1_000_000)
            variable.set("of the rest")
            received = 0
            while received < 1_000_000:
                received += len(await loop.sock_recv(right, 100_000))
            assert await seen == (None if support.PY315 else "of the write")
            transport.close()

        loop.run_until_complete(main())


# ---- The default ----


def test_replaced_default_selector_is_taken(impl, monkeypatch, pair):
    """What gevent's monkey.patch_all() does."""
    monkeypatch.setattr(selectors, "DefaultSelector", Recording)
    with support.closing(impl.new_event_loop()) as loop:
        assert type(loop._selector) is Recording
        loop.run_until_complete(use_everything(loop, *pair))
        assert ("select", None) in loop._selector.calls
        monkeypatch.undo()
        with support.closing(impl.new_event_loop()) as other:
            assert type(other._selector) is not Recording


def test_default_selector_whose_select_is_replaced(impl, monkeypatch):
    calls = []
    select = selectors.DefaultSelector.select
    monkeypatch.setattr(
        selectors.DefaultSelector,
        "select",
        lambda self, timeout=None: calls.append(timeout) or select(self, timeout),
    )
    with support.closing(impl.new_event_loop()) as loop:
        loop.run_until_complete(asyncio.sleep(0))
        assert calls and set(calls) == {0}


@pytest.mark.parametrize("name", ["register", "unregister", "modify"])
def test_default_selector_a_method_of_which_is_replaced(impl, monkeypatch, pair, name):
    """In the class: what tests and tracers wrap sees what the loops watch that are made from then on."""
    calls = []
    method = getattr(selectors.DefaultSelector, name)

    def wrapper(self, fileobj, *args):
        calls.append(fileobj)
        return method(self, fileobj, *args)

    with support.closing(impl.new_event_loop()) as before, monkeypatch.context() as patch:
        patch.setattr(selectors.DefaultSelector, name, wrapper)
        with support.closing(impl.new_event_loop()) as loop:
            loop.add_reader(pair[0], int)
            loop.add_writer(pair[0], int)
            loop.remove_reader(pair[0])
            loop.remove_writer(pair[0])
            assert pair[0] in calls
        before.run_until_complete(asyncio.sleep(0))
    calls.clear()
    with support.closing(impl.new_event_loop()) as loop:
        loop.run_until_complete(use_everything(loop, *pair))
    assert calls == []


@epoll
def test_log_names_the_selector(impl):
    with support.recorded_logs(logging.DEBUG) as logs:
        impl.new_event_loop().close()
        impl.Loop(Virtual()).close()
    assert logs == [
        ("DEBUG", "Using selector: EpollSelector", None),
        ("DEBUG", "Using selector: Virtual", None),
    ]


# ---- The loop's own ----


def test_loops_own_selector_tells_what_is_watched(impl, loop, pair):
    left, right = pair
    selector = loop._selector
    assert loop._selector is selector and isinstance(selector, selectors.BaseSelector)
    (own,) = selector.get_map().values()  # by which the loop is woken
    assert own.events == selectors.EVENT_READ and own.data[0]._callback == loop._read_from_self
    assert own.data[1] is None and not own.data[0].cancelled()
    mapping = selector.get_map()
    loop.add_reader(left, print, 1)
    loop.add_writer(left, print, 2)
    loop.add_writer(right.fileno(), print, 3)
    key = selector.get_key(left)
    assert key == mapping[left] == mapping[left.fileno()] and isinstance(key, selectors.SelectorKey)
    assert (key.fileobj, key.fd, key.events) == (left, left.fileno(), 3)
    assert [handle._args for handle in key.data] == [(1,), (2,)]
    key = selector.get_key(right.fileno())
    assert (key.fileobj, key.fd, key.events) == (right.fileno(), right.fileno(), selectors.EVENT_WRITE)
    assert key.data[0] is None and key.data[1]._args == (3,)
    assert len(mapping) == len(list(mapping)) == 3 and left in mapping
    loop.remove_writer(left)
    assert selector.get_key(left).events == selectors.EVENT_READ
    loop.remove_reader(left)
    loop.remove_writer(right)
    assert len(mapping) == 1 and left not in mapping and mapping.get(left) is None
    with pytest.raises(KeyError, match="is not registered"):
        selector.get_key(left)
    with pytest.raises(ValueError, match="Invalid file object"):
        selector.get_key("none")


@epoll
def test_loops_own_selector_is_an_epoll_selector(loop):
    assert isinstance(loop._selector, selectors.EpollSelector)
    assert type(loop._selector).__name__ == "EpollSelector"
    assert repr(loop._selector).startswith("<selectors.EpollSelector object at ")


@epoll
def test_loops_own_selector_can_be_waited_for(loop, pair):
    left, right = pair
    loop.add_reader(left, print)
    with selectors.SelectSelector() as around:
        around.register(loop._selector.fileno(), selectors.EVENT_READ)
        assert around.select(0) == []
        right.send(b"x")
        assert len(around.select(0)) == 1
    loop.remove_reader(left)


def test_looking_does_not_change_how_the_loop_waits(ours, pair):
    with support.closing(ours.new_event_loop()) as loop:
        view = type(loop._selector)
        loop.add_reader(pair[0], print)
        assert loop._selector.get_key(pair[0]).events == 1 and len(loop._selector.get_map()) == 2
        loop.run_until_complete(asyncio.sleep(0))
        loop.remove_reader(pair[0])
        assert type(loop._selector) is view and view is not selectors.DefaultSelector


def test_select_is_set_on_the_loops_own_selector(impl, loop, pair):
    """What virtual clocks do, in the middle of a run, with readers and a sock_recv() that wait."""
    left, right = pair
    other, others_peer = socket.socketpair()
    timeouts, seen = [], []
    original = loop._selector.select

    def select(timeout=None):
        timeouts.append(timeout)
        return original(timeout)

    async def main():
        loop.add_reader(other, lambda: seen.append(other.recv(10)))
        receiving = loop.create_task(loop.sock_recv(left, 10))
        await asyncio.sleep(0)
        selector = loop._selector
        selector.select = select
        assert loop._selector is selector and loop._selector.select is select
        assert set(own_entries(loop)) == {left.fileno(), other.fileno()}
        assert selector.get_key(other).fileobj is other
        others_peer.send(b"other")
        await loop.sock_sendall(right, b"data")
        assert await receiving == b"data"
        while not seen:
            await asyncio.sleep(0)
        assert seen == [b"other"]
        assert loop.remove_reader(other) is True
        assert own_entries(loop) == {}
        del timeouts[:]
        await use_everything(loop, left, right)
        assert 0 in timeouts and len(set(timeouts)) > 1
        del loop._selector.select
        await asyncio.sleep(0)
        del timeouts[:]
        await use_everything(loop, left, right)
        assert timeouts == []

    with other, others_peer:
        other.setblocking(False)
        loop.run_until_complete(asyncio.wait_for(main(), 30))


def test_select_is_set_and_taken_back_by_mock(impl, loop):
    selector = loop._selector
    with pytest.MonkeyPatch.context() as patch:
        timeouts = []
        original = selector.select
        patch.setattr(selector, "select", lambda timeout: timeouts.append(timeout) or original(0))
        patch.setattr(loop, "time", lambda: 10.0 + len(timeouts))
        loop.run_until_complete(asyncio.sleep(3))
        assert timeouts and set(timeouts) <= {0, 1.0, 2.0, 3.0}
    loop.run_until_complete(asyncio.sleep(0.001))


def test_own_selector_is_wrapped(impl, loop, pair):
    class Wrapper(selectors.BaseSelector):
        def __init__(self, wrapped):
            self.wrapped, self.selects = wrapped, 0

        def register(self, fileobj, events, data=None):
            return self.wrapped.register(fileobj, events, data)

        def unregister(self, fileobj):
            return self.wrapped.unregister(fileobj)

        def modify(self, fileobj, events, data=None):
            return self.wrapped.modify(fileobj, events, data)

        def select(self, timeout=None):
            self.selects += 1
            return self.wrapped.select(timeout)

        def get_map(self):
            return self.wrapped.get_map()

        def close(self):
            self.wrapped.close()

    loop.add_reader(pair[0], print)
    wrapper = loop._selector = Wrapper(loop._selector)
    assert loop._selector is wrapper and set(own_entries(loop)) == {pair[0].fileno()}
    loop.remove_reader(pair[0])
    loop.run_until_complete(use_everything(loop, *pair))
    assert wrapper.selects > 0


def test_own_selector_is_told_to_watch(impl, loop, pair):
    """With handles for data, as asyncio has it; nobody should, but it works."""
    seen = []
    handle = asyncio.Handle(seen.append, ("written",), loop)
    key = loop._selector.register(pair[0], selectors.EVENT_WRITE, (None, handle))
    assert loop._selector.get_key(pair[0]) == key
    support.run_once(loop)
    assert seen == ["written"]
    assert loop._selector.modify(pair[0], selectors.EVENT_READ, (None, None)).events == 1
    assert loop._selector.unregister(pair[0]).fd == pair[0].fileno()
    assert [key.fd for key, _ in loop._selector.select(0)] == []


def test_select_is_set_while_the_loop_sleeps(impl, loop):
    """From another thread: the loop looks up and waits by it."""
    called = threading.Event()
    started = threading.Event()
    original = loop._selector.select

    def select(timeout=None):
        called.set()
        return original(timeout)

    def other():
        started.wait()
        loop._selector.select = select
        loop.call_soon_threadsafe(lambda: None)
        called.wait()
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=other)
    thread.start()
    loop.call_soon(started.set)
    loop.run_forever()
    thread.join()
    assert called.is_set()


def test_no_descriptor_is_left_for_a_real_selector(ours, pair):
    """Then all is as before."""
    import resource

    with support.closing(ours.new_event_loop()) as loop:
        view = loop._selector
        loop.add_reader(pair[0], loop.stop)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(OSError):
                view.select = view.select
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert loop._selector is view and view.get_key(pair[0]).events == 1
        assert not {"select", "_selector"} & set(vars(view))
        pair[1].send(b"x")
        loop.run_forever()
        loop.remove_reader(pair[0])


@pytest.mark.parametrize("fails", ["first", "last"])
def test_selector_that_cannot_be_told_what_is_watched(ours, pair, monkeypatch, fails):
    """The loop waits as before, by what it watched before, and no descriptor is left open."""
    left, right = pair
    register = selectors.EpollSelector.register
    calls = []

    def failing(self, *args):
        calls.append(args)
        if len(calls) == (1 if fails == "first" else 2):
            raise MemoryError
        return register(self, *args)

    with support.closing(ours.new_event_loop()) as loop:
        receiving = loop.create_task(loop.sock_recv(left, 10))
        loop._csock  # noqa: B018 - opens the pair of sockets that wakes the loop, as signal handlers do
        support.run_once(loop)
        before = sorted(os.listdir("/proc/self/fd"))
        monkeypatch.setattr(selectors.EpollSelector, "register", failing)
        with pytest.raises(MemoryError):
            loop._selector.select = print
        monkeypatch.undo()
        assert len(calls) == (1 if fails == "first" else 2)
        assert sorted(os.listdir("/proc/self/fd")) == before
        assert left.fileno() in loop._selector.get_map()
        right.send(b"data")
        assert loop.run_until_complete(receiving) == b"data"
        # The next attempt succeeds.
        select = loop._selector.select
        loop._selector.select = select
        receiving = loop.create_task(loop.sock_recv(left, 10))
        loop.call_soon(right.send, b"more")
        assert loop.run_until_complete(receiving) == b"more"


def test_reader_that_is_removed_while_the_selector_is_told(ours, pair):
    """What is registered in the end is what is watched in the end."""
    left, right = pair
    changed = []

    class Changing(selectors.SelectSelector):
        def register(self, fileobj, *args):
            if not changed:
                changed.append(loop.remove_reader(left))
                loop.add_reader(right, print)
            return super().register(fileobj, *args)

    with support.closing(ours.new_event_loop()) as loop:
        loop.add_reader(left, print)
        loop._wait_by(selector := Changing())
        loop._current_selector = selector
        assert changed == [True]
        assert left.fileno() not in selector.get_map() and right.fileno() in selector.get_map()
        loop.remove_reader(right)


def test_selector_is_let_go_of(impl):
    """Neither view nor selector keeps the loop alive, and nothing of it is open when it is closed."""
    before = os.listdir("/proc/self/fd")
    for brings in (False, True):
        loop = impl.new_event_loop()
        selector = loop._selector
        if brings:
            selector.select = selector.select
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        assert loop._selector is None and selector.get_map() is None
        with pytest.raises(RuntimeError):
            selector.get_key(0)
    assert os.listdir("/proc/self/fd") == before


def test_closed_selector_in_a_closed_loop(impl):
    loop = impl.Loop(selectors.SelectSelector())
    loop.close()
    loop._write_to_self()  # as a signal handler may
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.call_soon_threadsafe(print)
    assert loop._remove_reader(0) is False


def test_class_with_a_clock_of_its_own_in_the_place_of_the_loops(impl, loop):
    """looptime's patch_event_loop(): the class is swapped, the selector's select() replaced."""

    class Clock(type(loop)):
        now = 0.0

        def time(self):
            return self.now

        def replaced_select(self, timeout):
            ready = self.original_select(0)
            if not ready and timeout:
                self.now += timeout
            return ready

    loop.__class__ = Clock
    loop.original_select = loop._selector.select
    loop._selector.select = loop.replaced_select

    async def main():
        await asyncio.sleep(1000)
        return await loop.run_in_executor(None, lambda: loop.time())

    assert loop.run_until_complete(main()) == 1000.0
    loop.run_until_complete(loop.shutdown_default_executor())
