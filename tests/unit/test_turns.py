"""In which turn of the loop something is seen: the same as on asyncio, each time.

Programs and tests are full of "two `sleep(0)`, then the data is there". A scenario does something to a real descriptor and notes
what happens in which turn from then on; it runs on asyncio and on ours, and the notes must be the same. A prelude comes
first, as whether a loop looks for events may depend on what it has done.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import selectors
import signal
import socket
import sys
import threading

import pytest

from . import support
from .net.peers import SMALL, reset_on_close

LONG_BUSY = 300  # turns, after which a loop may look for events more rarely unless it has a reason


class Trace:
    """What happened, with the number of the turn since the last mark."""

    def __init__(self, impl):
        self.impl = impl
        self.notes = []
        self.turn = 0
        self.closing = contextlib.ExitStack()

    def note(self, *what):
        self.notes.append((self.turn, *what))

    def mark(self):
        """From here on turns are counted anew."""
        self.notes.append("mark")
        self.turn = 0

    async def turns(self, count=6):
        for _ in range(count):
            await self.impl.sleep(0)
            self.turn += 1

    async def noted(self, awaitable, name):
        """Await, and note the turn in which that ended."""
        try:
            result = await awaitable
        except OSError as error:
            result = type(error).__name__
        self.note(name, *([result] if isinstance(result, (int, str, bytes)) else []))
        return result

    def task(self, awaitable, name):
        return self.impl.create_task(self.noted(awaitable, name))

    def protocol(self, name="", base=asyncio.Protocol):
        return _Noting(self, name) if base is asyncio.Protocol else _NotingDatagrams(self, name)

    def sockets(self, **options):
        """A connected pair of non-blocking sockets."""
        pair = socket.socketpair(**options)
        for sock in pair:
            sock.setblocking(False)
            self.closing.enter_context(sock)
        return pair

    def pipe(self):
        """The two ends of a pipe as files."""
        read_fd, write_fd = os.pipe()
        return [
            self.closing.enter_context(os.fdopen(fd, mode, 0))
            for fd, mode in ((read_fd, "rb"), (write_fd, "wb"))
        ]

    async def stream(self, sock, name=""):
        """A transport on `sock`, and time for it to begin to read."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: self.protocol(name), sock=sock)
        self.closing.callback(transport.abort)
        return transport


class _Noting(asyncio.Protocol):
    def __init__(self, trace, name):
        self.trace, self.name = trace, name

    def _note(self, *what):
        self.trace.note(*([self.name] if self.name else []), *what)

    def connection_made(self, transport):
        self.transport = transport
        self._note("made")

    def connection_lost(self, exc):
        self._note("lost", type(exc).__name__)

    def data_received(self, data):
        self._note("data", len(data))

    def eof_received(self):
        self._note("eof")

    def pause_writing(self):
        self._note("pause")

    def resume_writing(self):
        self._note("resume")


class _NotingDatagrams(_Noting, asyncio.DatagramProtocol):
    def datagram_received(self, data, addr):
        self._note("datagram", data)

    def error_received(self, exc):
        self._note("error", type(exc).__name__)


# ---- Preludes ----

PRELUDES = {}
SCENARIOS = {}
# What the loop itself does, so that it knows of it however long nothing has happened.
BY_THE_LOOP = []


def prelude(function):
    PRELUDES[function.__name__] = function
    return function


def scenario(function, by_the_loop=False):
    SCENARIOS[function.__name__] = function
    if by_the_loop:
        BY_THE_LOOP.append(function.__name__)
    return function


def scenario_by_the_loop(function):
    return scenario(function, by_the_loop=True)


@prelude
async def nothing(trace):
    pass


@prelude
async def after_sleep(trace):
    await trace.impl.sleep(0.001)


@prelude
async def after_some_busy_turns(trace):
    await trace.impl.sleep(0.001)
    for _ in range(40):
        await trace.impl.sleep(0)


@prelude
async def after_a_cancelled_handle(trace):
    loop = asyncio.get_running_loop()
    loop.call_soon(print).cancel()
    loop.call_later(0, print).cancel()
    reader, writer = trace.sockets()
    loop.add_reader(reader, print)
    writer.send(b"x")
    await trace.impl.sleep(0)
    loop.remove_reader(reader)


@prelude
async def after_an_event(trace):
    loop = asyncio.get_running_loop()
    reader, writer = trace.sockets()
    seen = loop.create_future()

    def read():
        loop.remove_reader(reader)
        seen.set_result(None)

    loop.add_reader(reader, read)
    writer.send(b"x")
    await seen


@prelude
async def after_much_sleeping(trace):
    for _ in range(5):
        await trace.impl.sleep(0.0001)


async def after_long_busy_turns(trace):
    await busy(trace.impl)


async def busy(impl):
    for _ in range(LONG_BUSY):
        await impl.sleep(0)


# ---- Scenarios: each yields once, where the prelude comes ----


@scenario_by_the_loop
async def data_of_a_transport(trace):
    ours, theirs = trace.sockets()
    writer, _ = await trace.stream(ours, "writer"), await trace.stream(theirs, "reader")
    await trace.turns()
    yield
    for size in 1, 100:
        trace.mark()
        writer.write(b"x" * size)
        await trace.turns()


@scenario
async def data_of_a_plain_socket(trace):
    ours, theirs = trace.sockets()
    await trace.stream(ours)
    await trace.turns()
    yield
    theirs.send(b"first")
    await trace.turns(3)
    theirs.send(b"second")
    await trace.turns()


@scenario_by_the_loop
async def data_that_is_there_before_the_transport(trace):
    ours, theirs = trace.sockets()
    theirs.send(b"early")
    yield
    trace.task(trace.stream(ours), "connected")
    await trace.turns(10)


@scenario_by_the_loop
async def answers_that_go_back_and_forth(trace):
    ours, theirs = trace.sockets()

    class Echo(_Noting):
        def data_received(self, data):
            super().data_received(data)
            if len(data) < 6:
                self.transport.write(data + b"x")

    loop = asyncio.get_running_loop()
    writer, _ = await loop.create_connection(lambda: Echo(trace, "a"), sock=ours)
    other, _ = await loop.create_connection(lambda: Echo(trace, "b"), sock=theirs)
    trace.closing.callback(other.abort)
    trace.closing.callback(writer.abort)
    await trace.turns()
    yield
    writer.write(b"x")
    await trace.turns(20)


@scenario
async def end_of_a_plain_socket(trace):
    ours, theirs = trace.sockets()
    await trace.stream(ours)
    await trace.turns()
    yield
    theirs.close()
    await trace.turns()


@scenario_by_the_loop
async def end_by_write_eof(trace):
    ours, theirs = trace.sockets()
    writer, _ = await trace.stream(ours, "writer"), await trace.stream(theirs, "reader")
    await trace.turns()
    yield
    writer.write_eof()
    await trace.turns(10)


@scenario_by_the_loop
async def end_by_close(trace):
    ours, theirs = trace.sockets()
    writer, _ = await trace.stream(ours, "writer"), await trace.stream(theirs, "reader")
    await trace.turns()
    yield
    writer.write(b"last")
    writer.close()
    await trace.turns(10)


@scenario_by_the_loop
async def end_by_close_of_a_paused_transport(trace):
    ours, theirs = trace.sockets()
    writer, _ = await trace.stream(ours, "writer"), await trace.stream(theirs, "reader")
    writer.pause_reading()
    await trace.turns()
    yield
    writer.close()
    await trace.turns(10)


@scenario_by_the_loop
async def end_by_abort(trace):
    ours, theirs = trace.sockets()
    writer, _ = await trace.stream(ours, "writer"), await trace.stream(theirs, "reader")
    await trace.turns()
    yield
    writer.abort()
    await trace.turns(10)


@scenario
async def reset(trace):
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = trace.closing.enter_context(socket.create_connection(server.getsockname()))
        theirs = trace.closing.enter_context(server.accept()[0])
    ours.setblocking(False)
    await trace.stream(ours)
    await trace.turns()
    yield
    reset_on_close(theirs)
    theirs.close()
    await trace.turns()


def fill(transport, trace):
    """Write until the transport has to keep something."""
    while not transport.get_write_buffer_size():
        transport.write(b"x" * SMALL)


def drain(sock):
    with contextlib.suppress(BlockingIOError):
        while sock.recv(1 << 20):
            pass


@scenario
async def room_in_a_socket_that_was_full(trace):
    ours, theirs = trace.sockets()
    writer = await trace.stream(ours)
    writer.set_write_buffer_limits(0)
    fill(writer, trace)
    await trace.turns()
    trace.notes.clear()
    yield
    for _ in range(3):
        drain(theirs)
        await trace.turns()
    trace.note(writer.get_write_buffer_size())


@scenario
async def drain_of_a_stream(trace):
    ours, theirs = trace.sockets()
    reader, writer = await asyncio.open_connection(sock=ours)
    trace.closing.callback(writer.transport.abort)
    writer.transport.set_write_buffer_limits(0)
    fill(writer.transport, trace)
    trace.task(writer.drain(), "drained")
    trace.task(reader.readline(), "line")
    await trace.turns()
    yield
    drain(theirs)
    theirs.send(b"line\n")
    await trace.turns()


@scenario
async def connections_at_a_server(trace):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: trace.protocol("server"), "127.0.0.1", 0)
    trace.closing.callback(server.close)
    address = server.sockets[0].getsockname()
    await trace.turns()
    yield
    for count in 1, 2, 5, 1:
        trace.mark()
        for _ in range(count):
            client = trace.closing.enter_context(socket.create_connection(address))
            client.send(b"x")
        await trace.turns()


@scenario_by_the_loop
async def connection_of_a_client(trace):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: trace.protocol("server"), "127.0.0.1", 0)
    trace.closing.callback(server.close)
    address = server.sockets[0].getsockname()
    await trace.turns()
    yield
    for _ in range(2):
        connecting = trace.task(
            loop.create_connection(lambda: trace.protocol("client"), *address), "connected"
        )
        await trace.turns(12)
        transport, _ = connecting.result()
        transport.close()
        await trace.turns(8)


@scenario_by_the_loop
async def connection_of_a_unix_client(trace):
    loop = asyncio.get_running_loop()
    address = f"\0turns-{os.getpid()}-{trace.impl.name}"
    server = await loop.create_unix_server(lambda: trace.protocol("server"), address)
    trace.closing.callback(server.close)
    await trace.turns()
    yield
    connecting = trace.task(
        loop.create_unix_connection(lambda: trace.protocol("client"), address), "connected"
    )
    await trace.turns(12)
    transport, _ = connecting.result()
    transport.write(b"hello")
    await trace.turns()
    transport.close()
    await trace.turns(8)


@scenario
async def connection_refused(trace):
    loop = asyncio.get_running_loop()
    with socket.socket() as silent:  # bound, so that nobody else listens on its port
        silent.bind(("127.0.0.1", 0))
        yield
        trace.task(loop.create_connection(lambda: trace.protocol("client"), *silent.getsockname()), "refused")
        await trace.turns(12)


async def datagrams(trace, address=("127.0.0.1", 0)):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: trace.protocol("endpoint", asyncio.DatagramProtocol), local_addr=address
    )
    trace.closing.callback(transport.abort)
    return transport


@scenario
async def datagrams_of_a_plain_socket(trace):
    endpoint = await datagrams(trace)
    peer = trace.closing.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    await trace.turns()
    yield
    for count in 1, 3:
        trace.mark()
        for i in range(count):
            peer.sendto(b"%d" % i, endpoint.get_extra_info("sockname"))
        await trace.turns()


@scenario_by_the_loop
async def datagrams_of_a_transport(trace):
    endpoint, sender = await datagrams(trace), await datagrams(trace)
    await trace.turns()
    yield
    sender.sendto(b"datagram", endpoint.get_extra_info("sockname"))
    await trace.turns()


@scenario
async def pipe_to_read(trace):
    reader, writer = trace.pipe()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: trace.protocol("reader"), reader)
    trace.closing.callback(transport.close)
    await trace.turns()
    yield
    writer.write(b"data")
    await trace.turns()
    writer.write(b"last")
    writer.close()
    await trace.turns()


@scenario
async def pipe_to_write(trace):
    reader, writer = trace.pipe()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_write_pipe(lambda: trace.protocol("writer"), writer)
    transport.set_write_buffer_limits(0)
    fill(transport, trace)
    await trace.turns()
    yield
    reader.read(1 << 20)
    await trace.turns()
    reader.close()
    await trace.turns()


@scenario_by_the_loop
async def pipe_from_end_to_end(trace):
    reader, writer = trace.pipe()
    loop = asyncio.get_running_loop()
    reading, _ = await loop.connect_read_pipe(lambda: trace.protocol("reader"), reader)
    writing, _ = await loop.connect_write_pipe(lambda: trace.protocol("writer"), writer)
    trace.closing.callback(reading.close)
    await trace.turns()
    yield
    writing.write(b"data")
    await trace.turns()
    writing.close()
    await trace.turns()


@scenario_by_the_loop
async def old_pipe_closed_as_a_new_one_begins(trace):
    """asyncssh's `change_stdin`: what the new one has to say is seen before the end of the old one is told, or after it."""
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    old_reader, old_writer = trace.pipe()
    old, _ = await loop.connect_read_pipe(lambda: trace.protocol("old"), old_reader)
    await trace.turns()
    yield
    for name in "new", "newer":
        trace.mark()
        sock, peer = trace.sockets()
        peer.send(b"at once")
        trace.task(trace.stream(sock, name), "connected")
        await trace.turns(3)
        old.close()
        await trace.turns()
        old = (await loop.connect_read_pipe(lambda: trace.protocol("next"), trace.pipe()[0]))[0]
    old.close()


@scenario
async def readers_and_writers(trace):
    loop = asyncio.get_running_loop()
    pairs = [trace.sockets() for _ in range(4)]
    for i, (ours, _) in enumerate(pairs):
        loop.add_reader(ours, lambda i=i, ours=ours: trace.note("read", i, ours.recv(10)))
    await trace.turns()
    yield
    # The order in which they are told is that in which they became ready.
    for order in (0, 1, 2, 3), (3, 1, 0, 2), (1,), (2, 1):
        trace.mark()
        for i in order:
            pairs[i][1].send(b"%d" % i)
        await trace.turns()
    trace.mark()
    ours = pairs[1][0]
    loop.add_writer(ours, lambda: (trace.note("write"), loop.remove_writer(ours)))
    pairs[0][1].send(b"late")
    await trace.turns()
    for ours, _ in pairs:
        loop.remove_reader(ours)


@scenario_by_the_loop
async def reader_of_what_is_there_already(trace):
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    theirs.send(b"early")
    loop.add_reader(theirs, print)  # so that there is something to look for
    yield
    loop.add_reader(ours, lambda: (trace.note("read"), loop.remove_reader(ours)))
    await trace.turns()
    loop.add_writer(ours, lambda: (trace.note("written"), loop.remove_writer(ours)))
    await trace.turns()
    loop.remove_reader(theirs)


@scenario
async def reader_removed_when_its_handle_is_queued(trace):
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    loop.add_reader(ours, trace.note, "read")
    await trace.turns()
    yield
    theirs.send(b"x")
    loop.call_soon(lambda: loop.call_soon(loop.remove_reader, ours))
    await trace.turns()
    trace.note(len(loop._ready))


@scenario
async def events_and_timers_of_one_turn(trace):
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    loop.add_reader(ours, lambda: trace.note("read", ours.recv(10)))
    await trace.turns()
    yield
    for _ in range(3):
        trace.mark()
        loop.call_later(0, trace.note, "timer")
        theirs.send(b"x")
        loop.call_soon(trace.note, "soon")
        await trace.turns()
    loop.remove_reader(ours)


@scenario
async def events_and_timers_after_a_sleep(trace):
    """What a loop that slept finds: descriptors first, then timers, in the turn of the wake-up."""
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    woken = loop.create_future()
    loop.add_reader(ours, lambda: (trace.note("read", ours.recv(10)), woken.set_result(None)))
    yield
    for _ in range(2):
        trace.mark()
        when = loop.time() + 0.001  # of both: the thread may lose the processor between the two calls
        loop.call_at(when, lambda: (trace.note("timer"), theirs.send(b"x")))
        loop.call_at(when, trace.note, "later timer")
        await woken
        trace.note("woken")
        woken = loop.create_future()
        await trace.turns()
    loop.remove_reader(ours)


@scenario
async def coroutines_of_sockets(trace):
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    trace.task(loop.sock_recv(ours, 10), "received")
    await trace.turns()
    yield
    theirs.send(b"data")
    await trace.turns()
    trace.mark()
    trace.task(loop.sock_recv(ours, 10), "received")
    await trace.turns(2)
    theirs.send(b"more")
    await trace.turns()
    trace.mark()
    receiving = trace.task(loop.sock_recv(ours, 10), "cancelled")
    await trace.turns(2)
    theirs.send(b"kept")
    receiving.cancel()
    await trace.turns()
    trace.task(loop.sock_recv(ours, 10), "received")
    await trace.turns()


@scenario_by_the_loop
async def coroutines_of_two_sockets(trace):
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    trace.task(loop.sock_recv(ours, 10), "received")
    await trace.turns()
    yield
    for _ in range(3):
        trace.mark()
        trace.task(loop.sock_sendall(theirs, b"data"), "sent")
        await trace.turns()
        trace.task(loop.sock_recv(ours, 10), "received")
        await trace.turns()
    theirs.send(b"last")
    await trace.turns()


class DerivedSocket(socket.socket):
    """asyncio's own code sends by its methods."""


@scenario_by_the_loop
async def sendall_of_a_socket_that_is_not_plain(trace):
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    derived = trace.closing.enter_context(DerivedSocket(fileno=ours.detach()))
    await trace.stream(theirs)
    await trace.turns()
    yield
    for _ in range(3):
        trace.mark()
        trace.task(loop.sock_sendall(derived, b"data"), "sent")
        await trace.turns()


@scenario
async def sendall_that_waits_for_room(trace):
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(b"x" * SMALL)
    trace.task(loop.sock_sendall(ours, b"x" * SMALL), "sent")
    await trace.turns()
    yield
    drain(theirs)
    await trace.turns()


@scenario_by_the_loop
async def accept_and_connect(trace):
    loop = asyncio.get_running_loop()
    server = trace.closing.enter_context(socket.create_server(("127.0.0.1", 0)))
    server.setblocking(False)
    accepting = trace.task(loop.sock_accept(server), "accepted")
    await trace.turns()
    yield
    client = trace.closing.enter_context(socket.socket())
    client.setblocking(False)
    trace.task(loop.sock_connect(client, server.getsockname()), "connected")
    await trace.turns()
    trace.closing.enter_context(accepting.result()[0])


@contextlib.contextmanager
def pidfd_child_watcher():
    """Let asyncio of Python 3.11 watch children as ours and later Pythons do, and not by a thread."""
    if sys.version_info >= (3, 12):
        yield
        return
    policy = asyncio.get_event_loop_policy()
    watcher = asyncio.PidfdChildWatcher()
    watcher.attach_loop(asyncio.get_running_loop())
    policy.set_child_watcher(watcher)
    try:
        yield
    finally:
        policy.set_child_watcher(None)


@scenario
async def end_of_a_child(trace):
    trace.closing.enter_context(pidfd_child_watcher())
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        "/bin/cat", stdin=read_end, stdout=asyncio.subprocess.DEVNULL
    )
    os.close(read_end)
    trace.task(process.wait(), "ended")
    await trace.turns()
    yield
    os.close(write_end)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    await trace.turns(8)
    await process.wait()


@scenario
async def signal_of_the_process_itself(trace):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, trace.note, "handler")
    await trace.turns()
    yield
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGUSR1)
        await trace.turns()
    loop.remove_signal_handler(signal.SIGUSR1)


@scenario_by_the_loop
async def call_of_a_thread_that_has_ended(trace):
    loop = asyncio.get_running_loop()
    ours, theirs = trace.sockets()
    loop.add_reader(ours, lambda: trace.note("read", ours.recv(10)))
    yield
    for _ in range(2):
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(trace.note, "called"))
        thread.start()
        thread.join()
        loop.call_soon(trace.note, "soon")
        await trace.turns()
    loop.remove_reader(ours)


@scenario
async def result_of_an_executor(trace):
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(
        1
    ) as executor:  # of two threads the second may be the quicker one
        done = loop.run_in_executor(executor, os.getpid)
        await loop.run_in_executor(executor, os.getpid)
        yield
        trace.task(done, "done")
        await trace.turns()


# ---- The tests ----


async def run(impl, name, before):
    trace = Trace(impl)
    with trace.closing:
        steps = SCENARIOS[name](trace)
        await steps.__anext__()
        await before(trace)
        trace.mark()
        async for _ in steps:
            pass
        notes = [note for note in trace.notes]
    await trace.turns(2)  # what was left open ends
    return notes


@pytest.mark.whole_calls
@pytest.mark.parametrize("before", PRELUDES.values(), ids=PRELUDES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_same_turns(ours, stock, name, before):
    expected = stock.run(run(stock, name, before))
    assert any(isinstance(note, tuple) for note in expected)
    assert ours.run(run(ours, name, before)) == expected


@pytest.mark.whole_calls
@pytest.mark.parametrize("name", BY_THE_LOOP)
def test_same_turns_after_a_long_busy_time(ours, stock, name):
    """What the loop itself sends, closes or connects has it look for what comes of that."""
    expected = stock.run(run(stock, name, after_long_busy_turns))
    assert ours.run(run(ours, name, after_long_busy_turns)) == expected


# What has a loop that was busy for long look in each turn again, without having done anything itself.


async def an_event(trace):
    """Whichever turn that is seen in; what is watched stays the same, and the loop is busy all the time."""
    loop = asyncio.get_running_loop()
    reader, writer = trace.sockets()
    seen = []
    loop.add_reader(reader, lambda: seen.append(reader.recv(10)))
    await busy(trace.impl)
    writer.send(b"x")
    while not seen:
        await trace.impl.sleep(0)
    trace.closing.callback(loop.remove_reader, reader)


async def a_sleep(trace):
    await busy(trace.impl)
    await trace.impl.sleep(0.001)


async def a_sleep_that_is_over_at_once(trace):
    await busy(trace.impl)
    await trace.impl.sleep(1e-9)


def turns_until_data(impl, loop, before=None):
    """Send by a plain socket, of which the loop does not know, after what `before` does; several times."""
    trace = Trace(impl)
    ours, theirs = trace.sockets()

    async def begin():
        loop.add_reader(ours, lambda: trace.note("read", ours.recv(10)))
        await busy(trace.impl)

    async def send():
        if before:
            await before(trace)
        trace.mark()
        theirs.send(b"x")
        await trace.turns()

    with support.closing(loop), trace.closing:
        loop.run_until_complete(begin())
        for _ in range(5):
            loop.run_until_complete(send())
            loop.run_until_complete(busy(impl))
        loop.remove_reader(ours)
    return trace.notes


@pytest.mark.parametrize("before", [an_event, a_sleep, a_sleep_that_is_over_at_once, None])
def test_looks_in_each_turn_again(ours, stock, before):
    """After an event, a sleep, and in a new run."""
    expected = turns_until_data(stock, stock.new_event_loop(), before)
    assert turns_until_data(ours, ours.new_event_loop(), before) == expected


@pytest.mark.parametrize("selector", [selectors.SelectSelector, selectors.EpollSelector])
def test_a_selector_that_is_brought_is_asked_in_each_turn(ours, stock, selector):
    """However long the loop is busy: it may be a clock, or another's loop."""
    expected = turns_until_data(stock, stock.Loop(selector()), after_long_busy_turns)
    assert turns_until_data(ours, ours.Loop(selector()), after_long_busy_turns) == expected
