"""What is tortured of descriptors, transports, servers, streams and TLS."""

import asyncio
import contextlib
import os
import socket
import tempfile

from .operations import (
    Recorder,
    abort_all,
    cancel_all,
    connected,
    drive,
    nothing,
    operation,
    turns,
    turns_that_may_fail,
)
from .programs import ENGINES, accept_and_connect, exchange_datagrams, listener_and_client, tls_pair, udp_pair


def for_each_engine(function):
    """Register an operation of `(impl, loop, engine)` once for each of our ways to do TLS."""
    for engine in ENGINES:

        def one(impl, loop, engine=engine):
            return function(impl, loop, engine)

        one.__name__ = f"{function.__name__}_{engine}"
        operation(one)
    return function


# ---- Descriptors and transports ----


@operation
def readers(impl, loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        yield
        try:
            loop.add_reader(ours, nothing)
            loop.add_writer(ours, nothing)
            turns(loop, 2)
        finally:
            loop.remove_reader(ours)
            loop.remove_writer(ours)


@operation
def many_readers(impl, loop):
    pairs = [socket.socketpair() for _ in range(20)]
    yield
    for ours, _ in pairs:
        loop.add_reader(ours, nothing)
    turns(loop, 1)
    yield
    for ours, theirs in pairs:
        loop.remove_reader(ours)
        ours.close()
        theirs.close()


@operation
def sock_methods(impl, loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)

        async def main():
            receiving = loop.create_task(loop.sock_recv(ours, 100))
            await impl.sleep(0)
            await loop.sock_sendall(theirs, b"x" * 10)
            await receiving
            receiving = loop.create_task(loop.sock_recv_into(ours, bytearray(100)))
            await impl.sleep(0)
            await loop.sock_sendall(theirs, b"x" * 10)
            await receiving

        yield
        drive(loop, main())
        yield
        turns(loop, 2)
        cancel_all(loop)


@operation
def large_sendall(impl, loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)

        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(loop.sock_sendall(theirs, bytes(3_000_000)))
                received = 0
                while received < 3_000_000:
                    received += len(await loop.sock_recv(ours, 1_000_000))

        yield
        drive(loop, main(), strict=False)
        yield
        cancel_all(loop)


@operation
def connection(impl, loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        protocol = Recorder()
        yield lambda: drive(loop, loop.create_connection(lambda: protocol, sock=ours), strict=False)
        turns(loop, 3)
        for transport in list(loop._transports.values()):
            transport.abort()  # which the protocol may not know, where connection_made() lacked memory
        turns(loop, 3)
        assert protocol.lost or protocol.transport is None


@operation
def write(impl, loop):
    with connected(loop) as (transport, protocol, theirs):

        def in_callback():
            transport.write(b"head")
            transport.write(b"body")
            transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])

        yield
        loop.call_soon(in_callback)
        turns(loop, 2)
        transport.write(b"outside")
        yield


@operation
def large_write(impl, loop):
    with connected(loop) as (transport, protocol, theirs):
        yield
        transport.write(b"x" * 1_000_000)
        transport.write(bytearray(1_000_000))
        turns(loop, 2)
        theirs.recv(1_000_000)
        turns(loop, 2)
        yield


@operation
def read(impl, loop):
    """What has been read is given to the protocol, or the connection is lost."""
    with connected(loop) as (transport, protocol, theirs):
        theirs.send(b"0123456789")
        yield
        with contextlib.suppress(MemoryError):
            turns(loop, 2)
        yield
        turns(loop, 2)
        assert protocol.received == b"0123456789" or protocol.lost


@operation
def end_of_stream(impl, loop):
    """connection_lost() is called, whatever fails."""
    with connected(loop) as (transport, protocol, theirs):
        theirs.close()
        yield
        with contextlib.suppress(MemoryError):
            turns(loop, 4)
        yield
        transport.abort()
        turns(loop, 4)
        # As in asyncio, a call of _call_connection_lost() that lacks memory to begin is not made again.
        assert protocol.lost or transport._conn_lost
        protocol.lost = True


@operation
def close(impl, loop):
    with connected(loop) as (transport, protocol, theirs):
        transport.write(b"x" * 1_000_000)
        yield
        transport.close()
        turns(loop, 2)
        yield


async def serve_one(impl, start, connect):
    """Start a server, and make a connection to its address."""
    async with await start() as server:
        transport, protocol = await connect(server.sockets[0].getsockname())
        transport.write(b"x")
        await impl.sleep(0)
        transport.close()
        await impl.sleep(0)


# The socket module forgets the new socket, if memory lacks for its address.
@operation(may_leak="socket:")
def server(impl, loop):
    def start():
        return loop.create_server(Recorder, "127.0.0.1", 0)

    def connect(address):
        return loop.create_connection(Recorder, *address)

    yield lambda: drive(loop, serve_one(impl, start, connect), strict=False)
    abort_all(loop)


@operation
def streams(impl, loop):
    ours, theirs = socket.socketpair()

    async def main():
        reader, writer = await impl.open_connection(sock=ours)
        writer.write(b"x")
        await writer.drain()
        theirs.send(b"line\n")
        await reader.readline()
        writer.close()
        await writer.wait_closed()

    with ours, theirs:
        yield lambda: drive(loop, main(), strict=False)
        abort_all(loop)


@operation
def stream_reads(impl, loop):
    """Whatever fails, what was fed is read by somebody, or an exception says that it was not taken."""
    reader = impl.StreamReader(limit=64, loop=loop)
    taken = []

    async def read():
        for call in (
            lambda: reader.readline(),
            lambda: reader.readexactly(5),
            lambda: reader.readuntil(b"--"),
            lambda: reader.read(3),
        ):
            taken.append(await call())
        return taken

    def steps():
        task = loop.create_task(read())
        turns(loop, 1)
        for data in (b"ab", b"\ncde", b"fg", bytes(2000), b"-", b"-xyz"):
            reader.feed_data(data)
            turns(loop, 1)
        task.cancel()
        turns(loop, 1)

    yield steps


class BufferedRecorder(asyncio.BufferedProtocol, Recorder):
    def __init__(self):
        self.buffer = bytearray(4)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self.received += self.buffer[:count]


@operation
def buffered_protocol(impl, loop):
    """What has been read is given to the protocol, or the connection is lost; the protocol may be another by then."""
    with connected(loop) as (transport, first, theirs):
        second = BufferedRecorder()
        second.connection_lost = first.connection_lost
        theirs.send(b"0123456789")
        yield
        with contextlib.suppress(MemoryError):
            transport.set_protocol(second)
        with contextlib.suppress(MemoryError):
            turns(loop, 5)
        yield
        turns(loop, 5)
        assert first.received + second.received == b"0123456789" or first.lost


@operation
def pause_and_resume(impl, loop):
    """Reading can be resumed, however often that has failed."""
    with connected(loop) as (transport, protocol, theirs):
        yield
        transport.pause_reading()
        theirs.send(b"x")
        turns(loop, 2)
        transport.resume_reading()
        turns(loop, 2)
        yield
        if not transport.is_reading() and not protocol.lost:
            transport.resume_reading()
        turns(loop, 3)
        assert protocol.received == b"x" or protocol.lost


@operation
def write_eof(impl, loop):
    with connected(loop) as (transport, protocol, theirs):
        yield
        transport.write(b"x" * 300_000)
        transport.write_eof()
        theirs.recv(1_000_000)
        turns(loop, 2)
        yield


@operation
def limits_and_sizes(impl, loop):
    with connected(loop) as (transport, protocol, theirs):
        yield
        transport.set_write_buffer_limits(high=10, low=5)
        transport.get_write_buffer_limits()
        transport.write(b"x" * 1_000_000)
        transport.get_write_buffer_size()
        transport.get_extra_info("peername")
        transport.get_extra_info("socket").fileno()
        repr(transport)
        repr(transport._buffer)
        turns(loop, 2)
        yield


@operation
def abort(impl, loop):
    """abort() that has failed can be called again: connected() does."""
    with connected(loop) as (transport, protocol, theirs):
        transport.write(b"x" * 1_000_000)
        yield
        transport.abort()
        turns(loop, 2)
        yield


# The socket module forgets the new socket, if memory lacks for its address.
@operation(may_leak="socket:")
def unix_server(impl, loop):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")

        def start():
            return loop.create_unix_server(Recorder, path)

        def connect(address):
            return loop.create_unix_connection(Recorder, address)

        yield lambda: drive(loop, serve_one(impl, start, connect), strict=False)
        abort_all(loop)


@operation
def accepted_socket(impl, loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield lambda: drive(loop, loop.connect_accepted_socket(Recorder, ours), strict=False)
        abort_all(loop)


@operation
def sendfile(impl, loop):
    with tempfile.TemporaryFile() as file, connected(loop) as (transport, protocol, theirs):
        file.write(b"x" * 300_000)
        file.flush()
        theirs.setblocking(False)

        async def main():
            sending = loop.create_task(loop.sendfile(transport, file))
            for _ in range(20):
                with contextlib.suppress(BlockingIOError):
                    theirs.recv(1_000_000)
                await impl.sleep(0)
            await sending

        yield lambda: drive(loop, main(), strict=False)
        cancel_all(loop)


@operation
def sock_sendfile(impl, loop):
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as file, ours, theirs:
        file.write(b"x" * 1000)
        file.flush()
        ours.setblocking(False)
        yield lambda: drive(loop, loop.sock_sendfile(ours, file), strict=False)
        cancel_all(loop)
        loop.remove_writer(ours)


@operation
def sock_datagrams(impl, loop):
    with udp_pair() as (ours, theirs):
        yield
        drive(loop, exchange_datagrams(impl, loop, ours, theirs), strict=False)
        yield
        cancel_all(loop)


# The socket module forgets the new socket, if memory lacks for its address.
@operation(may_leak="socket:")
def sock_accept_and_connect(impl, loop):
    with listener_and_client() as (listener, client):
        yield
        drive(loop, accept_and_connect(loop, listener, client), strict=False)
        yield
        cancel_all(loop)


class DatagramRecorder(asyncio.DatagramProtocol):
    lost = False

    def __init__(self):
        self.received = []

    def datagram_received(self, data, addr):
        self.received.append(data)

    def connection_lost(self, exc):
        self.lost = True


@operation
def datagrams(impl, loop):
    """What a turn could not do the next ones do: the endpoint lives on, or ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        theirs = peer.getsockname()
        opening = loop.create_datagram_endpoint(DatagramRecorder, local_addr=("127.0.0.1", 0))
        transport, protocol = loop.run_until_complete(opening)
        ours = transport.get_extra_info("sockname")
        yield
        for _ in range(3):
            with contextlib.suppress(MemoryError):
                transport.sendto(b"out", theirs)
                peer.sendto(b"in", ours)
        with contextlib.suppress(MemoryError):
            turns(loop, 3)
        yield
        peer.sendto(b"last", ours)
        turns(loop, 10)
        assert protocol.received[-1:] == [b"last"] or protocol.lost
        transport.abort()
        turns(loop, 3)
        assert protocol.lost


@operation
def datagrams_that_wait(impl, loop):
    """A socket without room: what is queued is sent or dropped, and the endpoint closes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        theirs.setblocking(False)
        transport, protocol = loop.run_until_complete(
            loop.create_datagram_endpoint(DatagramRecorder, sock=ours)
        )

        def armed():
            for _ in range(30):
                transport.sendto(bytearray(10_000))
            with contextlib.suppress(BlockingIOError):
                while theirs.recv(100_000):
                    turns(loop, 1)
            transport.close()

        yield armed
        transport.abort()
        turns(loop, 3)
        assert protocol.lost


@operation
def datagram_endpoint(impl, loop):
    async def main():
        opening = loop.create_datagram_endpoint(DatagramRecorder, remote_addr=("127.0.0.1", 9))
        transport, _ = await opening
        transport.close()

    yield lambda: drive(loop, main(), strict=False)
    abort_all(loop)


@operation
def pipes(impl, loop):
    read_end, write_end = os.pipe()
    reader, writer = Recorder(), Recorder()
    with open(read_end, "rb", 0) as read_file, open(write_end, "wb", 0) as write_file:
        transports = []

        async def main():
            transports.append((await loop.connect_read_pipe(lambda: reader, read_file))[0])
            transports.append((await loop.connect_write_pipe(lambda: writer, write_file))[0])

        loop.run_until_complete(main())
        yield
        with contextlib.suppress(MemoryError):
            writer.transport.write(b"x" * 100)
            writer.transport.write(bytearray(200_000))
        turns_that_may_fail(loop, 10)
        with contextlib.suppress(MemoryError):
            writer.transport.write_eof()
            turns(loop, 3)
        yield
        turns(loop, 10)
        writer.transport.abort()
        turns(loop, 5)
        assert writer.lost
        if not reader.lost:
            reader.transport.close()
        turns(loop, 5)
        assert reader.lost


@operation
def connecting_pipes(impl, loop):
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as read_file, open(write_end, "wb", 0) as write_file:
        transports = []

        async def main():
            transports.append((await loop.connect_read_pipe(Recorder, read_file))[0])
            transports.append((await loop.connect_write_pipe(Recorder, write_file))[0])

        yield lambda: drive(loop, main(), strict=False)
        for transport in transports:
            transport.close()
        turns(loop, 5)


# ---- TLS ----

# Of connections that are there: making an SSLObject that lacks memory crashes in CPython's own _ssl (seen with 3.11.7), and
# handshakes are asyncio's steps.


def check_tls(loop, protocol, other, sent):
    """All has come that was sent, or the connection is lost and it is the beginning of that."""
    turns(loop, 30)
    lost = protocol.losses or other.losses or protocol.transport.is_closing() or other.transport.is_closing()
    assert protocol.received == sent if not lost else sent.startswith(protocol.received)


@for_each_engine
def tls_echo(impl, loop, engine):
    with tls_pair(loop, engine) as (client, server):
        yield
        client.transport.write(b"head")
        client.transport.write(b"body")
        turns(loop, 3)
        server.transport.write(b"answer")
        turns(loop, 3)
        yield
        check_tls(loop, server, client, b"headbody")
        check_tls(loop, client, server, b"answer")


@for_each_engine
def tls_much(impl, loop, engine):
    """More than a socket takes, and than the transport below wants."""
    data = os.urandom(1_500_000)
    with tls_pair(loop, engine) as (client, server):
        yield
        for at in range(0, len(data), 300_000):
            client.transport.write(data[at : at + 300_000])
        client.transport.get_write_buffer_size()
        turns(loop, 20)
        yield
        check_tls(loop, server, client, data)


@for_each_engine
def tls_paused(impl, loop, engine):
    data = os.urandom(400_000)
    with tls_pair(loop, engine) as (client, server):
        server.transport.pause_reading()
        yield
        client.transport.write(data)
        turns(loop, 10)
        server.transport.resume_reading()
        turns(loop, 10)
        yield
        server.transport.pause_reading()
        server.transport.resume_reading()
        check_tls(loop, server, client, data)


@for_each_engine
def tls_close(impl, loop, engine):
    with tls_pair(loop, engine, strict=False) as (client, server):
        yield
        client.transport.write(b"last")
        client.transport.close()
        turns(loop, 10)
        yield
        check_tls(loop, server, client, b"last")
