"""What the network tests talk to: plain blocking sockets as peers, and protocols that record what they are told."""

import asyncio
import contextlib
import functools
import hashlib
import os
import pathlib
import random
import socket
import ssl
import struct
import sys

GUARD_SECONDS = 120
# Small socket buffers, so that a few hundred kilobytes fill a connection.
SMALL = 16 * 1024


def open_descriptors():
    """Return what each descriptor of the process is open on."""
    open_on = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            open_on[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return open_on


def socket_pair(family, *, ours_sndbuf=None, theirs_rcvbuf=None):
    """Return two connected stream sockets: ours non-blocking, theirs blocking."""
    if family == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.socket() as listener:
            if theirs_rcvbuf:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, theirs_rcvbuf)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
    if ours_sndbuf:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ours_sndbuf)
    ours.setblocking(False)
    theirs.settimeout(GUARD_SECONDS)
    return ours, theirs


def payload(size, seed=1):
    """Return `size` bytes that repeat nowhere, so that a byte lost, doubled or moved changes the digest."""
    return random.Random(seed).randbytes(size)


def digest(data):
    """Return a checksum to compare instead of megabytes."""
    return len(data), hashlib.sha256(data).hexdigest()


def reset_on_close(sock):
    """Let closing a TCP socket send a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def new_server_context(kind=ssl.SSLContext, **attributes):
    """Return a context that is nobody else's, with these attributes."""
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate())
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def new_client_context(**attributes):
    context = ssl.create_default_context(cafile=certificate())
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def context_of(**methods):
    """Return a server's context whose objects have these methods."""

    class Object(ssl.SSLObject):
        locals().update(methods)

    class Context(ssl.SSLContext):
        sslobject_class = Object

    return new_server_context(Context)


# Cached: most tests need none of their own.
@functools.cache
def server_context():
    return new_server_context()


@functools.cache
def client_context():
    return new_client_context()


async def connect_tls(loop, address, context, factory=None, **keywords):
    """Return the transport and the protocol of a TLS connection of `loop`."""
    factory = factory or Recorder
    return await loop.create_connection(
        factory, *address, ssl=context, server_hostname="localhost", **keywords
    )


async def finish(transport, protocol):
    transport.close()
    assert await protocol.lost() is None


class Peer:
    """A blocking socket whose waiting is done in threads, so that the loop runs on meanwhile.

    Nothing is read from within a step of the loop: a transport may send what a callback wrote when the callback ends.
    """

    def __init__(self, sock):
        self.sock = sock

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.sock.close()

    def send(self, data):
        """Send what surely fits into the socket's buffer."""
        self.sock.sendall(data)

    async def send_all(self, data):
        await in_thread(self.sock.sendall, data)

    async def read(self, size):
        """Read exactly `size` bytes."""
        return await in_thread(self._read, size)

    def _read(self, size):
        data = bytearray()
        while len(data) < size:
            chunk = self.sock.recv(size - len(data))
            if not chunk:
                raise EOFError(f"the connection ended after {len(data)} of {size} bytes")
            data += chunk
        return bytes(data)

    async def read_all(self):
        """Read until the end of the stream."""
        return await in_thread(self._read_all)

    def _read_all(self):
        chunks = []
        while chunk := self.sock.recv(1 << 18):
            chunks.append(chunk)
        return b"".join(chunks)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def reset(self):
        """Close a TCP socket by a reset."""
        reset_on_close(self.sock)
        self.sock.close()


class TLSPeer:
    """TLS by hand over the socket of a Peer: what is sent can be cut, changed and forged."""

    def __init__(self, peer, context, server_side):
        self.peer = peer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hostname = None if server_side else "localhost"
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=hostname
        )

    async def attempt(self, function, *args):
        """Call a function of `tls` until it needs nothing more from the other side."""
        while True:
            try:
                result = function(*args)
            except ssl.SSLWantReadError:
                await self.peer.send_all(self.outgoing.read())
                data = await in_thread(self.peer.sock.recv, 1 << 16)
                if not data:
                    raise EOFError("the connection ended in the middle") from None
                self.incoming.write(data)
            else:
                await self.peer.send_all(self.outgoing.read())
                return result

    def sealed(self, data, record=16384):
        """Return the bytes of the records for `data`, which are then to be sent in this order."""
        for start in range(0, len(data), record):
            self.tls.write(data[start : start + record])
        return self.outgoing.read()

    def opened(self, data):
        """Return what records say."""
        self.incoming.write(data)
        plain = bytearray()
        with contextlib.suppress(ssl.SSLWantReadError):  # the last ones may hold no data
            while self.incoming.pending or self.tls.pending():
                plain += self.tls.read(1 << 16)
        return bytes(plain)

    async def read(self, size):
        """Read until `size` bytes have been said."""
        plain = bytearray()
        while len(plain) < size:
            plain += await self.attempt(self.tls.read, 1 << 16)
        return bytes(plain)

    async def read_records(self, size):
        """Return the records that say `size` bytes, as a list of their bytes."""
        records, plain = [], b""
        while len(plain) < size:
            header = await self.peer.read(5)
            record = header + await self.peer.read(int.from_bytes(header[3:]))
            said = self.opened(record)
            plain += said
            records += [record] if said else []  # not the tickets
        return records


async def in_thread(function, *args):
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


async def turns(count=3):
    """Let the loop run `count` turns."""
    for _ in range(count):
        await asyncio.sleep(0)


class _Recording:
    """Record callbacks in `events`; an action given for one runs in it, and its result is the callback's.

    `Recorder(data=lambda self, data: ...)`: actions are named made, data, eof, lost, pause, resume, get_buffer, updated.
    """

    def __init__(self, **actions):
        self.events = []
        self.received = bytearray()
        self.transport = None
        self.lost_with = None
        self._actions = actions
        self._changed = None

    def _happened(self, name, *args):
        self.events.append(name)
        try:
            if name in self._actions:
                return self._actions[name](self, *args)
        finally:
            if self._changed is not None and not self._changed.done():
                self._changed.set_result(None)

    async def until(self, predicate):
        """Wait until `predicate()` holds, which is asked after each callback."""
        while not predicate():
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed

    async def lost(self):
        """Wait for connection_lost, and return what it was given."""
        await self.until(lambda: "lost" in self.events)
        return self.lost_with

    async def bytes(self, size):
        """Wait until `size` bytes have come, and return all that have."""
        await self.until(lambda: len(self.received) >= size)
        return bytes(self.received)

    def connection_made(self, transport):
        self.transport = transport
        self._happened("made", transport)

    def connection_lost(self, exc):
        self.lost_with = exc
        self._happened("lost", exc)

    def eof_received(self):
        return self._happened("eof")

    def pause_writing(self):
        self._happened("pause")

    def resume_writing(self):
        self._happened("resume")


class Recorder(_Recording, asyncio.Protocol):
    """A protocol that records."""

    def data_received(self, data):
        self.received += data
        self._happened("data", data)


class BufferedRecorder(_Recording, asyncio.BufferedProtocol):
    """A buffered protocol that records, with one buffer of `size` bytes unless the action `get_buffer` returns another."""

    def __init__(self, size=4096, **actions):
        super().__init__(**actions)
        self.buffer = bytearray(size)
        self.hints = []

    def get_buffer(self, sizehint):
        self.hints.append(sizehint)
        if "get_buffer" in self._actions:
            self.buffer = self._happened("get_buffer", sizehint)
        return self.buffer

    def buffer_updated(self, nbytes):
        self.received += memoryview(self.buffer)[:nbytes]
        self._happened("updated", nbytes)


class DatagramRecorder(asyncio.DatagramProtocol):
    """A datagram protocol that records; `datagrams` holds (data, address), `errors` what error_received was given."""

    def __init__(self, **actions):
        self.datagrams = []
        self.errors = []
        self.events = []
        self.transport = None
        self.lost_with = None
        self._actions = actions
        self._changed = None

    _happened = _Recording._happened
    until = _Recording.until
    lost = _Recording.lost
    connection_made = _Recording.connection_made
    connection_lost = _Recording.connection_lost
    pause_writing = _Recording.pause_writing
    resume_writing = _Recording.resume_writing

    def datagram_received(self, data, addr):
        self.datagrams.append((data, addr))
        self._happened("datagram", data, addr)

    def error_received(self, exc):
        self.errors.append(exc)
        self._happened("error", exc)


class DatagramSockets:
    """Datagram sockets of a family, bound to addresses that nobody else has."""

    def __init__(self, kind, folder, stack):
        self.family = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}.get(kind, socket.AF_UNIX)
        self._kind = kind
        self._folder = folder
        self._stack = stack
        self._count = 0

    def address(self):
        self._count += 1
        return {
            "inet": ("127.0.0.1", 0),
            "inet6": ("::1", 0),
            "unix": str(self._folder / f"socket-ä-{self._count}"),
            "abstract": f"\0asyncio_c-{os.getpid()}-{self._folder.name}-{self._count}",
        }[self._kind]

    def new(self):
        sock = self._stack.enter_context(socket.socket(self.family, socket.SOCK_DGRAM))
        sock.settimeout(GUARD_SECONDS)
        sock.bind(self.address())
        return sock

    async def endpoint(self, factory=None, **keywords):
        if self.family == socket.AF_UNIX:
            keywords["family"] = self.family
        return await asyncio.get_running_loop().create_datagram_endpoint(
            factory or DatagramRecorder, local_addr=self.address(), **keywords
        )


_audited = []  # the lists that are filled at the moment, each with the events that belong there


def _audit_hook(event, args):
    for events, heard in _audited:
        if event in events:
            heard.append((event, *args))


@functools.cache
def _add_audit_hook():
    sys.addaudithook(_audit_hook)


@contextlib.contextmanager
def audited(*events):
    """Collect these audit events and their arguments.  A hook cannot be removed, so there is one for all tests."""
    _add_audit_hook()
    entry = events, []
    _audited.append(entry)
    yield entry[1]
    _audited.remove(entry)


def fill(transport, chunk=b"x" * 65536, limit=64 << 20):
    """Write until the protocol has been told to pause, which happens within the write that exceeds the limit."""
    protocol = transport.get_protocol()
    pauses = protocol.events.count("pause")
    written = 0
    while protocol.events.count("pause") == pauses:
        transport.write(chunk)
        written += len(chunk)
        assert written < limit, "pause_writing was never called"
    return written


def certificate():
    """Return the path of a certificate for localhost, signed by itself, with its key."""
    return str(pathlib.Path(__file__).with_name("localhost.pem"))
