"""What both is tortured and meets failing system calls: sockets, and coroutines that use them and know what has to come of it."""

import asyncio
import contextlib
import functools
import pathlib
import socket
import ssl

from tests.unit import support

PEM = pathlib.Path(__file__).parent.parent / "unit" / "net" / "localhost.pem"
ENGINES = ("object", "openssl")


@contextlib.contextmanager
def udp_pair():
    """Two non-blocking UDP sockets on the loopback address."""
    kind = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*kind) as ours, socket.socket(*kind) as theirs:
        for sock in (ours, theirs):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield ours, theirs


async def exchange_datagrams(impl, loop, ours, theirs):
    receiving = loop.create_task(loop.sock_recvfrom(ours, 100))
    await impl.sleep(0)
    assert await loop.sock_sendto(theirs, b"x", ours.getsockname()) == 1
    assert await receiving == (b"x", theirs.getsockname())
    receiving = loop.create_task(loop.sock_recvfrom_into(ours, bytearray(10)))
    await impl.sleep(0)
    await loop.sock_sendto(theirs, b"yz", ours.getsockname())
    assert (await receiving)[0] == 2


@contextlib.contextmanager
def listener_and_client():
    """A listening socket and one to connect, non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        yield listener, client


async def accept_and_connect(loop, listener, client):
    accepting = loop.create_task(loop.sock_accept(listener))
    await loop.sock_connect(client, listener.getsockname())
    (await accepting)[0].close()


class Recorder(asyncio.Protocol):
    """Knows what has come, and counts the ends."""

    transport = None

    def __init__(self):
        self.received = bytearray()
        self.losses = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data

    def connection_lost(self, exc):
        self.losses += 1


def new_tls_contexts():
    """Contexts of a server and of a client that knows it, which are nobody else's."""
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    of_server.load_cert_chain(PEM)
    return of_server, ssl.create_default_context(cafile=PEM)


tls_contexts = functools.cache(new_tls_contexts)


async def connect_tls(loop, ours, theirs):
    """TLS between two connected sockets. Returns the protocols of the client and the server."""
    of_server, of_client = tls_contexts()
    serving = loop.create_task(loop.connect_accepted_socket(Recorder, theirs, ssl=of_server))
    try:
        _, client = await loop.create_connection(
            Recorder, sock=ours, ssl=of_client, server_hostname="localhost"
        )
        return client, (await serving)[1]
    finally:
        serving.cancel()


def patched_names(impl):
    """asyncio's names are the native ones where those of `impl` are: for what makes its streams by itself."""
    return support.patched() if impl.native_names else contextlib.nullcontext()


async def connect_pipe_streams(impl, loop, read_file, write_file, transports):
    """The reader of one end of a pipe and the writer of the other. Each transport is in `transports` as soon as it is there."""
    reader = impl.StreamReader(loop=loop)
    protocol = impl.StreamReaderProtocol(reader, loop=loop)
    transports.append((await loop.connect_read_pipe(lambda: protocol, read_file))[0])
    below = impl.StreamReaderProtocol(impl.StreamReader(loop=loop), loop=loop)
    transports.append((await loop.connect_write_pipe(lambda: below, write_file))[0])
    return reader, impl.StreamWriter(transports[1], below, None, loop)


async def accept_stream(impl, loop, sock, **options):
    """The `(reader, writer)` that a server makes of a connection."""
    accepted = loop.create_future()
    protocol = impl.StreamReaderProtocol(
        impl.StreamReader(loop=loop), lambda *both: accepted.set_result(both), loop=loop
    )
    await loop.connect_accepted_socket(lambda: protocol, sock, **options)
    return await accepted


async def connect_tls_streams(impl, loop, ours, theirs):
    """TLS between two connected sockets. Returns `(reader, writer)` of the client and of the server."""
    of_server, of_client = tls_contexts()
    serving = loop.create_task(accept_stream(impl, loop, theirs, ssl=of_server))
    try:
        near = await impl.open_connection(sock=ours, ssl=of_client, server_hostname="localhost")
        return near, await serving
    finally:
        serving.cancel()


@contextlib.contextmanager
def sockets_for_tls(loop, engine):
    """Two connected sockets, non-blocking, over which `loop` does TLS by one of our engines."""
    loop._tls_engine = engine
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def abort_both(loop, *transports):
    for transport in transports:
        transport.abort()
    for _ in range(10):
        loop.stop()
        loop.run_forever()


@contextlib.contextmanager
def tls_streams(impl, loop, engine):
    """Streams over TLS by one of our engines: `(reader, writer)` of each end."""
    with sockets_for_tls(loop, engine) as sockets:
        near, far = loop.run_until_complete(connect_tls_streams(impl, loop, *sockets))
        yield near, far
        abort_both(loop, near[1].transport, far[1].transport)


@contextlib.contextmanager
def tls_pair(loop, engine, strict=True):
    """A connection between two TLS transports of `loop`, by one of our engines: the protocols of its ends.

    Each of them is told of its end once; with `strict` false the code that does that, which is asyncio's, may lack memory.
    """
    with sockets_for_tls(loop, engine) as sockets:
        ends = loop.run_until_complete(connect_tls(loop, *sockets))
        try:
            yield ends
        finally:
            abort_both(loop, *(protocol.transport for protocol in ends))
            losses = [protocol.losses for protocol in ends]
            assert losses == [1, 1] if strict else max(losses) <= 1
