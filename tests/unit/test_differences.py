"""Where asyncio_c differs from asyncio, as docs/compatibility.md tells users; asyncio's side is asserted alike.

What is here is a promise neither to keep nor to end these differences: whoever ends one corrects the document.
"""

import asyncio
import inspect
import os
import select
import signal
import socket
import traceback
from unittest import mock

import pytest

from . import support


def readable(file):
    return bool(select.select([file], [], [], 0)[0])


def test_public_names_and_signatures_of_the_loop_are_asyncios(ours):
    def parameters(method):
        # C methods mark self as positional-only.
        return [(p.name, p.kind, p.default) for p in list(inspect.signature(method).parameters.values())[1:]]

    stock = asyncio.SelectorEventLoop
    methods = [name for name in dir(stock) if not name.startswith("_") and callable(getattr(stock, name))]
    # Takes its keywords from the Python at hand, for which its C signature has no words.
    methods.remove("create_task")
    assert {"call_soon", "call_at", "create_server", "sock_recv", "subprocess_exec"} < set(methods)
    assert {n: parameters(getattr(ours.Loop, n)) for n in methods} == {
        n: parameters(getattr(stock, n)) for n in methods
    }


def test_native_tasks_are_tasks_to_isinstance_only(impl, loop):
    task = loop.create_task(asyncio.sleep(0))
    future = loop.create_future()
    assert isinstance(task, asyncio.Task) and isinstance(future, asyncio.Future)
    assert asyncio.isfuture(task) and asyncio.isfuture(future)
    exact = not impl.native_loop
    assert (type(task) is asyncio.Task) == issubclass(type(task), asyncio.Task) == exact
    assert (type(future) is asyncio.Future) == issubclass(type(future), asyncio.Future) == exact
    loop.run_until_complete(task)


def test_protocol_factory_of_a_server_runs_outside_of_a_task(impl, loop):
    current = loop.create_future()

    def factory():
        current.set_result(asyncio.current_task())
        return asyncio.Protocol()

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()):
            task = await current
        server.close()
        return task

    assert (loop.run_until_complete(main()) is None) == impl.native_loop


def test_state_of_a_lock_is_not_in_its_dict(impl):
    lock, queue = impl.Lock(), impl.Queue()
    lock.mark = 1
    assert (lock._locked, list(queue._queue)) == (False, [])
    assert vars(lock) == (
        {"mark": 1} if impl.native_names else {"_waiters": None, "_locked": False, "mark": 1}
    )
    assert ("_queue" in vars(queue)) is not impl.native_names


def test_buffer_of_a_stream_is_a_bytearray_while_somebody_looks(impl, loop):
    reader = impl.StreamReader(loop=loop)
    reader.feed_data(b"ab")
    buffer = reader._buffer
    assert buffer == b"ab" and buffer is reader._buffer
    buffer.clear()
    number = id(buffer)
    del buffer
    reader.feed_data(b"cd")
    others = [bytearray(1) for _ in range(1000)]  # one of which is where the other was, if that is gone
    assert reader._buffer == b"cd" and (id(reader._buffer) == number) is not impl.native_names
    assert len(others) == 1000


@pytest.mark.whole_calls
def test_write_that_fails_is_known_after_the_step(impl, loop):
    async def main():
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.transport.pause_reading()
        theirs.close()
        writer.write(b"x")
        known = writer.transport.is_closing()
        await asyncio.sleep(0)
        assert writer.transport.is_closing()
        writer.close()
        with pytest.raises(BrokenPipeError):
            await writer.wait_closed()
        return known

    assert loop.run_until_complete(main()) != impl.native_loop


@pytest.mark.whole_calls
def test_view_with_gaps_is_written(impl, loop):
    reported = []
    loop.set_exception_handler(lambda loop, context: reported.append(type(context["exception"])))

    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            writer.write(memoryview(b"abc")[::2])
            await asyncio.sleep(0)
            lost = writer.transport.is_closing()
            writer.transport.abort()
            await asyncio.sleep(0)
            return lost, theirs.recv(10)

    assert loop.run_until_complete(main()) == ((False, b"ac") if impl.native_loop else (True, b""))
    assert reported == ([] if impl.native_loop else [BufferError])


def test_tracebacks_have_no_frames_of_what_is_native(impl, loop):
    def fails():
        raise ValueError("in a callback")

    reported = []
    loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    loop.call_soon(fails)
    support.run_once(loop)
    names = [frame.name for frame in traceback.extract_tb(reported[0].__traceback__)]
    assert names == (["fails"] if impl.native_loop else ["_run", "fails"])


def test_reading_of_a_transport_does_not_pass_through_handle_run(impl, loop, monkeypatch):
    callbacks = []
    run = asyncio.Handle._run
    monkeypatch.setattr(
        asyncio.Handle, "_run", lambda handle: (callbacks.append(repr(handle)), run(handle))[1]
    )

    async def main():
        mine, peers = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=mine)
        callbacks.clear()
        peers.send(b"data")
        for _ in range(3):
            await asyncio.sleep(0)
        transport.close()
        peers.close()
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert callbacks
    assert any("read_ready" in callback for callback in callbacks) != impl.native_loop


def test_cancelled_timer_leaves_the_queue_at_once(impl, loop):
    timer = loop.call_later(1000, int)
    timer.cancel()
    assert timer._scheduled is True
    kept = 0 if impl.native_loop else 1
    assert (len(loop._scheduled), loop._timer_cancelled_count) == (kept, kept)


def test_run_once_is_not_what_runs(impl):
    class Loop(impl.Loop):
        def _run_once(self):
            turns.append(self)
            super()._run_once()

    turns = []
    with support.closing(Loop()) as loop:
        loop.run_until_complete(asyncio.sleep(0))
        assert bool(turns) != impl.native_loop


@pytest.mark.whole_calls
def test_what_is_written_is_sent_when_the_callback_ends(impl, loop):
    """os._exit(), execv() or a blocking read of the peer in the same callback come before what was written."""
    mine, peers = socket.socketpair()
    peers.setblocking(False)

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=mine)
        transport.write(b"data")
        at_once = readable(peers)
        await asyncio.sleep(0)
        assert peers.recv(10) == b"data"
        transport.close()
        return at_once

    with mine, peers:
        assert loop.run_until_complete(main()) != impl.native_loop


@pytest.mark.whole_calls
def test_what_is_written_to_a_pipe_is_there_at_once(impl, loop):
    reading, writing = os.pipe()

    async def main():
        transport, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(writing, "wb"))
        transport.write(b"data")
        assert readable(reading) and os.read(reading, 10) == b"data"
        transport.close()

    loop.run_until_complete(main())
    os.close(reading)


@pytest.mark.whole_calls
def test_another_file_under_the_number_of_a_living_socket(impl, loop):
    """os.dup2() onto a socket that lives on: the loop has kept its interest in what was there before, and epoll tells."""
    first, first_peer = socket.socketpair()
    second, second_peer = socket.socketpair()

    async def received(peer, data):
        waiting = loop.create_task(loop.sock_recv(first, 10))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        peer.send(data)
        for _ in range(500):  # more turns than the loop makes without a look at its descriptors
            await asyncio.sleep(0)
        woken = waiting.done()
        waiting.cancel()
        return woken

    async def main():
        assert await received(first_peer, b"first")
        os.dup2(second.fileno(), first.fileno())
        os.set_blocking(first.fileno(), False)
        return await received(second_peer, b"second")

    with first, first_peer, second, second_peer:
        first.setblocking(False)
        by_epoll = impl.native_loop and os.environ.get("ASYNCIO_C_POLLER") != "poll"
        assert loop.run_until_complete(main()) != by_epoll


def test_nagle_is_off_on_a_socket_of_no_named_protocol(impl, loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
            assert sock.proto == 0
            sock.connect(listener.getsockname())
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
            delays = not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            transport.abort()
            await asyncio.sleep(0)
            return delays

    assert loop.run_until_complete(main()) != impl.native_loop


def test_loop_needs_no_pair_of_sockets(impl):
    pair = mock.Mock(wraps=socket.socketpair)
    with mock.patch.object(socket, "socketpair", pair), support.closing(impl.new_event_loop()) as loop:
        assert pair.called != impl.native_loop
        loop.add_signal_handler(signal.SIGUSR1, pytest.fail)
        assert pair.call_count == 1
        loop.remove_signal_handler(signal.SIGUSR1)


def test_numeric_address_is_looked_up_without_a_thread(impl, loop):
    calls = []
    run_in_executor = loop.run_in_executor
    loop.run_in_executor = lambda *args: (calls.append(args), run_in_executor(*args))[1]
    (found,) = loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM))
    assert found[-1] == ("127.0.0.1", 80)
    assert bool(calls) != impl.native_loop
    loop.run_until_complete(loop.shutdown_default_executor())


@pytest.mark.parametrize("name", ["sleep", "wait"])
def test_native_coroutines_have_no_code(impl, loop, name):
    coroutine = impl.sleep(0) if name == "sleep" else impl.wait([loop.create_future()])
    assert asyncio.iscoroutine(coroutine)
    native = impl.native_names
    assert (coroutine.cr_frame.f_code.co_filename == "<asyncio_c>") == native
    assert hasattr(coroutine, "cr_code") == hasattr(coroutine, "cr_await") == (not native)
    coroutine.close()


@pytest.mark.skipif(not support.PY314, reason="call graphs came with Python 3.14")
@pytest.mark.parametrize("made", ["by_hand", "by_the_loop"])
def test_stock_future_made_by_hand_does_not_know_native_waiters(impl, loop, made):
    async def main():
        future = asyncio.Future() if made == "by_hand" else loop.create_future()
        task = loop.create_task(asyncio.wait([future]))
        loop.call_soon(loop.call_soon, future.set_result, None)
        await asyncio.sleep(0)
        graph = asyncio.capture_call_graph(future)
        await task
        return [entry.future for entry in graph.awaited_by] == [task]

    assert loop.run_until_complete(main()) == (not impl.native_loop or made == "by_the_loop")


@pytest.mark.skipif(not support.PY314, reason="python -m asyncio ps came with Python 3.14")
def test_other_processes_do_not_see_native_tasks(impl):
    """`python -m asyncio ps` reads the memory of asyncio's own task objects, from a process of its own."""
    remote = pytest.importorskip("_remote_debugging", reason="this build cannot look into other processes")

    async def main():
        task = asyncio.get_running_loop().create_task(asyncio.sleep(0), name="a task to be found")
        try:
            found = remote.RemoteUnwinder(os.getpid()).get_all_awaited_by()
        except (OSError, RuntimeError) as error:
            pytest.skip(f"processes cannot be looked into here: {error}")
        await task
        return [entry.task_name for thread in found for entry in thread.awaited_by]

    assert ("a task to be found" in impl.run(main())) != impl.native_loop


@pytest.mark.skipif(not support.PY314, reason="python -m asyncio ps came with Python 3.14")
def test_other_processes_do_not_see_the_native_task_that_runs(impl):
    """Where it is they read from the thread, and take whatever lies there for a task of asyncio's."""
    remote = pytest.importorskip("_remote_debugging", reason="this build cannot look into other processes")

    def names_found():
        try:
            unwinder = remote.RemoteUnwinder(os.getpid())
            unwinder.get_all_awaited_by()
        except (OSError, RuntimeError) as error:
            pytest.skip(f"processes cannot be looked into here: {error}")
        try:
            found = unwinder.get_async_stack_trace()
        except Exception:  # what comes of reading something else
            return []
        return [entry.task_name for thread in found for entry in thread.awaited_by]

    async def main():
        asyncio.current_task().set_name("the task that runs")
        return names_found()

    assert ("the task that runs" in impl.run(main())) != impl.native_loop
