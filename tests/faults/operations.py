"""What is done while system calls fail: each operation is a generator function of `(impl, loop)`, see tests/torture/harness.py.

It yields the function that runs while a call fails, and gets the exception that this raised, or None. What it says after that
has to hold whatever failed.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import ssl
import sys
import tempfile

from tests.torture.harness import LostWakeUpError
from tests.torture.programs import (
    ENGINES,
    accept_and_connect,
    exchange_datagrams,
    listener_and_client,
    new_tls_contexts,
    tls_pair,
    udp_pair,
)

OPERATIONS = {}
TURNS = 200

# The pause after accept() has lacked resources is a second. What is counted here is turns of the loop, not time.
asyncio.constants.ACCEPT_RETRY_DELAY = 0


def operation(*never):
    """Register an operation. `never` are the functions, FUNCTION:ERRNO or FUNCTION::N, that cannot fail so there."""

    def register(function):
        function.never = never
        OPERATIONS[function.__name__] = function
        return function

    return register


@contextlib.contextmanager
def as_peer():
    """What is done within does not fail."""
    shim = ctypes.CDLL(None)
    shim.faults_spare(1)
    try:
        yield
    finally:
        shim.faults_spare(0)


def turns(loop, count=3):
    for _ in range(count):
        loop.stop()
        loop.run_forever()


def abort_all(loop):
    """End what an operation has left, which may be anything."""
    for transport in list(loop._transports.values()):
        transport.abort()
    turns(loop, 5)


def drive(loop, coro):
    """Run a task to its end, whatever the runs in between raise."""
    task = loop.create_task(coro)
    error = None
    for _ in range(TURNS):
        try:
            turns(loop, 1)
        except OSError as caught:
            error = caught
            asyncio._set_running_loop(None)
            loop._stopping = False
        if task.done():
            break
    else:
        raise LostWakeUpError(repr(task))
    task.result()
    if error is not None:
        raise error


def wait_for(loop, condition):
    """Run turns until something holds, which has to be soon."""
    for _ in range(TURNS):
        if condition():
            return
        turns(loop, 1)
    raise LostWakeUpError(condition)


def check_idle(loop):
    """A loop that waits for nothing but a timer does not spin."""
    waits = ctypes.CDLL(None).faults_waits
    turns(loop)
    before = waits()
    loop.run_until_complete(asyncio.sleep(0.002))
    assert waits() - before < 10, "the loop spins"


class Recorder(asyncio.Protocol):
    def __init__(self):
        self.transport = None
        self.received = bytearray()
        self.eof = self.lost = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data

    def eof_received(self):
        self.eof = True

    def connection_lost(self, exc):
        assert not self.lost, "connection_lost() is called twice"
        self.lost = True


class BufferedRecorder(asyncio.BufferedProtocol, Recorder):
    def __init__(self):
        super().__init__()
        self.buffer = bytearray(10)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self.received += self.buffer[:count]


@contextlib.contextmanager
def connected(loop, factory=Recorder):
    """A transport on a pair of sockets: `(transport, protocol, peer)`."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        protocol = factory()
        loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
        yield protocol.transport, protocol, theirs
        check_idle(loop)
        abort(protocol.transport, protocol)
        wait_for(loop, lambda: protocol.lost)


def abort(transport, protocol):
    if not protocol.lost:
        transport.abort()


def received_by(peer):
    data = b""
    with as_peer(), contextlib.suppress(BlockingIOError, ConnectionError):
        while chunk := peer.recv(1 << 20):
            data += chunk
    return data


def send_from(peer, data):
    with as_peer():
        peer.send(data)


def nothing():
    pass


# ---- The core ----


# Whether a descriptor is still ours is asked before it is closed, of fstat() and epoll_ctl(). They have one answer for what is
# open and watched, and another one means that it is not ours to close.
@operation("fstat::1", "fstat::2", "fstat::3", "epoll_ctl::1")
def new_loop(impl, loop):
    def armed():
        other = impl.new_event_loop()
        try:
            other.run_until_complete(impl.sleep(0.00001))
        finally:
            asyncio._set_running_loop(None)
            other.close()

    yield armed


@operation()
def sleep(impl, loop):
    yield lambda: loop.run_until_complete(impl.sleep(0.00001))


@operation()
def call_soon_threadsafe(impl, loop):
    import threading

    called = loop.create_future()
    threading.Thread(target=lambda: loop.call_soon_threadsafe(called.set_result, None)).start()
    yield lambda: loop.run_until_complete(called)
    loop.run_until_complete(called)


@operation()
def readers(impl, loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        called = []

        def armed():
            loop.add_reader(ours, called.append, "read")
            loop.add_writer(ours, called.append, "write")
            turns(loop)
            loop.remove_reader(ours)
            turns(loop)

        if (yield armed) is None:
            assert {"read", "write"} <= set(called)
        loop.remove_reader(ours)
        loop.remove_writer(ours)


@operation()
def removed_writer(impl, loop):
    """What is left of a descriptor's interest stays."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        called = []
        loop.add_reader(ours, called.append, 1)
        loop.add_writer(ours, nothing)
        error = yield lambda: loop.remove_writer(ours)
        if error is not None:
            loop.remove_reader(ours)  # asyncio's selector forgets both
            loop.add_reader(ours, called.append, 1)
        theirs.send(b"x")
        wait_for(loop, lambda: called)
        loop.remove_reader(ours)


# Of a descriptor that is closed, which an open one does not become for a moment.
@operation("epoll_ctl:EBADF", "epoll_ctl::0", "epoll_ctl::3", "fstat::0", "fstat::2", "fstat::3", "fstat::4")
def after_fork(impl, loop):
    """The first use of a loop in a child makes it a poller of its own."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        called = []
        loop.add_reader(ours, called.append, 1)
        if impl.native_loop:
            from asyncio_c import _core

            _core._after_fork()
        theirs.send(b"x")
        yield lambda: turns(loop)
        wait_for(loop, lambda: called)
        loop.remove_reader(ours)


# The interpreter's signal handler writes; and a socket of our own to ourselves does not fail.
@operation("write", "recv", "send")
def signals(impl, loop):
    called = []

    def armed():
        loop.add_signal_handler(signal.SIGUSR1, called.append, 1)
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(TURNS):
            turns(loop, 1)
            if called:
                break
        else:
            raise LostWakeUpError
        loop.remove_signal_handler(signal.SIGUSR1)

    previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    yield armed
    with contextlib.suppress(RuntimeError):
        loop.remove_signal_handler(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, previous)


@operation()
def timers(impl, loop):
    """None is early, also where the kernel counts in milliseconds."""
    early = []

    async def main():
        for delay in (0.0001, 0.0004, 0.0011):
            due = loop.time() + delay
            await impl.sleep(delay)
            if loop.time() < due:
                early.append(delay)

    yield lambda: loop.run_until_complete(main())
    assert not early


# ---- Streams ----


@operation()
def connect(impl, loop):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield lambda: drive(loop, connect_and_close(impl, loop, *listener.getsockname()))


async def connect_and_close(impl, loop, *address):
    transport, protocol = await loop.create_connection(Recorder, *address)
    transport.close()
    while not protocol.lost:
        await impl.sleep(0)


@operation()
def create_server(impl, loop):
    async def main():
        async with await loop.create_server(Recorder, "127.0.0.1", 0):
            pass
        with tempfile.TemporaryDirectory() as folder:
            async with await loop.create_unix_server(Recorder, os.path.join(folder, "socket")):
                pass

    yield lambda: drive(loop, main())


@operation()
def accept(impl, loop):
    """Who connects is served, in the end, unless a connection ended before."""
    protocols = []

    def factory():
        protocols.append(Recorder())
        return protocols[-1]

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    address = server.sockets[0].getsockname()
    peers = [socket.create_connection(address) for _ in range(3)]
    error = yield lambda: turns(loop, 10)
    peers.append(socket.create_connection(address))
    peers[-1].send(b"late")
    if error is None:
        wait_for_data(impl, loop, protocols)
    server.close()
    for peer in peers:
        peer.close()
    abort_all(loop)
    assert all(protocol.lost for protocol in protocols if protocol.transport is not None)


def wait_for_data(impl, loop, protocols):
    async def main():
        async with asyncio.timeout(3):
            while not any(protocol.received == b"late" for protocol in protocols):
                await impl.sleep(0.0001)

    loop.run_until_complete(main())


def echo(impl, loop, factory):
    with connected(loop, factory) as (transport, protocol, peer):

        def armed():
            loop.call_soon(transport.write, b"head ")
            loop.call_soon(transport.writelines, [b"bo", b"dy"])
            send_from(peer, b"0123456789")
            turns(loop, 5)

        error = yield armed
        turns(loop, 3)
        if not protocol.lost:
            assert protocol.received == b"0123456789"
            assert error is not None or received_by(peer) == b"head body"


@operation()
def transport_echo(impl, loop):
    yield from echo(impl, loop, Recorder)


@operation()
def buffered_transport(impl, loop):
    yield from echo(impl, loop, BufferedRecorder)


@operation()
def large_write(impl, loop):
    """All arrives in order, or the connection ends."""
    data = os.urandom(1 << 20)
    with connected(loop) as (transport, protocol, peer):
        received = bytearray()

        def armed():
            transport.write(data[: 1 << 19])
            transport.write(data[1 << 19 :])
            for _ in range(50):
                received.extend(received_by(peer))
                turns(loop, 1)

        yield armed
        for _ in range(50):
            received += received_by(peer)
            turns(loop, 1)
        assert received == data if not protocol.lost else data.startswith(received)


@operation()
def close_with_data(impl, loop):
    """close() ends the connection, whatever fails on the way."""
    with connected(loop) as (transport, protocol, peer):
        received = bytearray()

        def armed():
            transport.write(b"x" * 1_000_000)
            transport.close()
            for _ in range(50):
                received.extend(received_by(peer))
                turns(loop, 1)

        yield armed
        if not protocol.lost:
            transport.close()
        for _ in range(50):
            received += received_by(peer)
            turns(loop, 1)
        assert protocol.lost


@operation()
def small_write_and_close(impl, loop):
    with connected(loop) as (transport, protocol, peer):

        def armed():
            transport.write(b"x")
            transport.close()

        yield armed
        if not protocol.lost:
            transport.close()
        wait_for(loop, lambda: protocol.lost)


@operation()
def write_and_abort(impl, loop):
    with connected(loop) as (transport, protocol, peer):

        def armed():
            transport.write(b"x" * 1_000_000)
            turns(loop, 1)
            transport.abort()

        yield armed
        abort(transport, protocol)
        wait_for(loop, lambda: protocol.lost)


@operation()
def end_of_stream(impl, loop):
    with connected(loop) as (transport, protocol, peer):

        def armed():
            transport.write(b"x" * 1_000_000)
            transport.write_eof()
            with as_peer():
                peer.shutdown(socket.SHUT_WR)
            for _ in range(20):
                received_by(peer)
                turns(loop, 1)

        yield armed


@operation()
def pause_and_resume(impl, loop):
    with connected(loop) as (transport, protocol, peer):

        def armed():
            transport.pause_reading()
            send_from(peer, b"x")
            turns(loop)
            transport.resume_reading()
            turns(loop)

        yield armed
        if not transport.is_reading() and not protocol.lost:
            transport.resume_reading()
        wait_for(loop, lambda: protocol.received == b"x" or protocol.lost)


async def echo_a_line(reader, writer):
    with contextlib.suppress(OSError):
        writer.write(await reader.readline())
        await writer.drain()
    writer.close()


async def ask(reader, writer):
    try:
        writer.write(b"line\n")
        await writer.drain()
        await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@operation()
def streams(impl, loop):
    async def main():
        server = await impl.start_server(echo_a_line, "127.0.0.1", 0)
        try:
            await ask(*await impl.open_connection(*server.sockets[0].getsockname()))
        finally:
            server.close()

    yield lambda: drive(loop, main())
    abort_all(loop)


def for_each_engine(function):
    """Register an operation once for each way to do TLS, which is that of its loop."""
    for engine in ("asyncio", *ENGINES):

        def one(impl, loop, engine=engine):
            loop._tls_engine = engine
            return function(impl, loop)

        one.__name__ = f"{function.__name__}_{engine}"
        operation()(one)
    return function


@for_each_engine
def tls(impl, loop):
    server_context, client_context = new_tls_contexts()
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    served = Recorder()

    async def serve():
        await loop.connect_accepted_socket(lambda: served, theirs, ssl=server_context)

    async def main():
        serving = loop.create_task(serve())
        try:
            transport, protocol = await loop.create_connection(
                Recorder, sock=ours, ssl=client_context, server_hostname="localhost"
            )
            transport.write(b"x" * 1000)
            while len(served.received) < 1000 and not served.lost and not protocol.lost:
                await impl.sleep(0)
            transport.close()
            while not protocol.lost:
                await impl.sleep(0)
        finally:
            serving.cancel()

    with ours, theirs:
        yield lambda: drive(loop, main())
        abort_all(loop)


@for_each_engine
def tls_much(impl, loop):
    """What arrives is the beginning of what was written, and all of it where the connection lives."""
    data = os.urandom(700_000)
    with tls_pair(loop, loop._tls_engine, strict=False) as (client, server):

        async def main():
            for at in range(0, len(data), 100_000):
                client.transport.write(data[at : at + 100_000])
            while len(server.received) < len(data) and not server.losses:
                await impl.sleep(0)

        yield lambda: drive(loop, main())
        turns(loop, 20)
        lost = client.losses or server.losses or client.transport.is_closing()
        assert data.startswith(server.received) if lost else server.received == data


@operation()
def sendfile(impl, loop):
    data = os.urandom(500_000)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        with connected(loop) as (transport, protocol, peer):
            received = bytearray()

            async def main():
                sending = loop.create_task(loop.sendfile(transport, file))
                while not sending.done():
                    received.extend(received_by(peer))
                    await impl.sleep(0)
                await sending
                received.extend(received_by(peer))

            if (yield lambda: drive(loop, main())) is None:
                assert received == data


# ---- sock_*(), datagrams, pipes, processes ----


@operation()
def sock_methods(impl, loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    async def main():
        receiving = loop.create_task(loop.sock_recv(ours, 100))
        await impl.sleep(0)
        await loop.sock_sendall(theirs, b"x" * 10)
        assert await receiving == b"x" * 10
        buffer = bytearray(100)
        receiving = loop.create_task(loop.sock_recv_into(ours, buffer))
        await impl.sleep(0)
        await loop.sock_sendall(theirs, b"y" * 10)
        assert await receiving == 10
        await transfer()

    async def transfer():
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(loop.sock_sendall(theirs, bytes(1_000_000)))
            received = 0
            while received < 1_000_000:
                received += len(await loop.sock_recv(ours, 1_000_000))
            await sending

    with ours, theirs:
        yield lambda: drive(loop, cancelling_the_rest(main()))
        turns(loop)


async def cancelling_the_rest(coro):
    """Do not leave tasks waiting for one that has failed."""
    try:
        await coro
    finally:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


@operation()
def sock_accept_and_connect(impl, loop):
    with listener_and_client() as (listener, client):
        yield lambda: drive(loop, cancelling_the_rest(accept_and_connect(loop, listener, client)))
        turns(loop)


@operation()
def sock_datagrams(impl, loop):
    with udp_pair() as (ours, theirs):
        yield lambda: drive(loop, cancelling_the_rest(exchange_datagrams(impl, loop, ours, theirs)))
        turns(loop)


@operation()
def unix_connection(impl, loop):
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(folder, "socket"))
        listener.listen()

        async def main():
            transport, protocol = await loop.create_unix_connection(Recorder, listener.getsockname())
            transport.close()
            while not protocol.lost:
                await impl.sleep(0)

        yield lambda: drive(loop, main())
        abort_all(loop)


class DatagramRecorder(asyncio.DatagramProtocol):
    def __init__(self):
        self.received, self.errors, self.lost = [], [], False

    def datagram_received(self, data, addr):
        self.received.append(data)

    def error_received(self, exc):
        self.errors.append(exc)

    def connection_lost(self, exc):
        assert not self.lost, "connection_lost() is called twice"
        self.lost = True


@operation()
def datagrams(impl, loop):
    """A datagram arrives, or an error is received for it; the next ones do."""

    async def open_endpoint():
        return await loop.create_datagram_endpoint(DatagramRecorder, local_addr=("127.0.0.1", 0))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        transport, protocol = loop.run_until_complete(open_endpoint())
        ours, theirs = transport.get_extra_info("sockname"), peer.getsockname()

        def armed():
            for n in range(3):
                transport.sendto(b"out", theirs)
                with as_peer():
                    peer.sendto(b"in", ours)
            turns(loop, 5)

        yield armed
        assert not protocol.lost
        peer.sendto(b"last", ours)
        wait_for(loop, lambda: protocol.received[-1:] == [b"last"])
        abort(transport, protocol)
        wait_for(loop, lambda: protocol.lost)


@operation()
def datagram_endpoint(impl, loop):
    async def main():
        transport, protocol = await loop.create_datagram_endpoint(
            DatagramRecorder, local_addr=("127.0.0.1", 0), remote_addr=("127.0.0.1", 9)
        )
        transport.close()
        while not protocol.lost:
            await impl.sleep(0)

    yield lambda: drive(loop, main())


@operation()
def pipes(impl, loop):
    """All arrives, or one of the sides ends."""
    data = os.urandom(200_000)
    read_end, write_end = os.pipe()
    reader, writer = Recorder(), Recorder()
    files = [open(read_end, "rb", 0), open(write_end, "wb", 0)]

    async def open_pipes():
        await loop.connect_read_pipe(lambda: reader, files[0])
        await loop.connect_write_pipe(lambda: writer, files[1])

    loop.run_until_complete(open_pipes())

    def armed():
        writer.transport.write(data[:100])
        writer.transport.write(data[100:])
        turns(loop, 20)
        writer.transport.close()
        turns(loop, 5)

    yield armed
    turns(loop, 20)
    abort(writer.transport, writer)
    turns(loop, 5)
    assert writer.lost
    assert data.startswith(reader.received)
    if not reader.lost:
        reader.transport.close()
    wait_for(loop, lambda: reader.lost)
    for file in files:
        file.close()


@operation()
def connecting_pipes(impl, loop):
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as read_file, open(write_end, "wb", 0) as write_file:
        transports = []

        async def main():
            transports.append((await loop.connect_read_pipe(Recorder, read_file))[0])
            transports.append((await loop.connect_write_pipe(Recorder, write_file))[0])

        yield lambda: drive(loop, main())
        for transport in transports:
            transport.close()
        turns(loop, 5)


# Popen reads from a pipe that blocks; and see new_loop().
@operation("read:EAGAIN", "fstat::1")
def subprocess(impl, loop):
    processes = []

    async def main():
        process = await asyncio.create_subprocess_exec(
            "/bin/cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        processes.append(process)
        return (await process.communicate(b"x"))[0]

    async def end(task):
        task.cancel()
        await asyncio.wait([task])
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            process._transport.close()
        await impl.sleep(0)

    task = loop.create_task(main())

    def armed():
        # A process takes its time, so this waits for it; the alarm ends a wait that is in vain.
        assert loop.run_until_complete(task) == b"x"

    yield armed
    loop.run_until_complete(end(task))
    turns(loop)
    if sys.version_info < (3, 12):
        asyncio.get_child_watcher().close()
