"""What the traces of test_tls_alike.py and its neighbours are made by: a protocol that tells, a peer by hand, and what is logged."""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
import warnings

import pytest

from .. import support
from . import peers
from .peers import new_client_context, new_server_context

ENGINES = ("asyncio", "object", "openssl")
SCENARIOS = {}
# What a step of one side needs of turns until all of its consequences have come about.
TURNS = 12


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def text_of(exc):
    """The type and the text of an exception, of which nothing else remains."""
    return None if exc is None else f"{type(exc).__name__}: {exc}"


class Trace:
    """What happens in a scenario, as a list of lines, and what scenarios are made of."""

    def __init__(self, loop):
        self.loop = loop
        self.lines = []
        self.stack = contextlib.ExitStack()
        self.transports = []

    def note(self, *words):
        """Add a line, in which numbers that the kernel gives and the class of the socket's transport are hidden."""
        line = " ".join(map(str, words)).replace("_SelectorSocketTransport", "StreamTransport")
        line = re.sub(r"fd=\d+", "fd=N", line)
        self.lines.append(re.sub(r"\('127.0.0.1', \d+\)", "(address)", line))

    @contextlib.contextmanager
    def noted(self, what):
        """Note the exception that ends the block."""
        try:
            yield
        except Exception as exc:
            self.note(what, "raises", text_of(exc))
        else:
            self.note(what, "is done")

    def report(self, loop, context):
        keys = " ".join(sorted(context.keys() - {"message", "exception"}))
        self.note("reported:", context["message"], "|", text_of(context.get("exception")), "|", keys)

    async def settle(self):
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def sockets(self, family="unix"):
        ours, theirs = peers.socket_pair(family)
        theirs.setblocking(False)
        self.stack.enter_context(theirs)
        return ours, theirs

    async def connect(self, protocol=None, *, server_side=True, of_server=None, of_client=None, **keywords):
        """Open a connection whose end `protocol` is told of, and return it with its transport and the other end."""
        await self.end()
        other, opening = self.begin(
            protocol, server_side=server_side, of_server=of_server, of_client=of_client, **keywords
        )
        await other.handshake()
        transport, protocol = await opening
        self.transports.append(transport)
        await self.settle()
        return transport, protocol, other

    async def end(self):
        """Break off what connect() has opened, lest it is in the way of what comes."""
        while self.transports:
            self.transports.pop().abort()
        await self.settle()

    def begin(
        self,
        protocol=None,
        *,
        server_side=True,
        of_server=None,
        of_client=None,
        family="unix",
        name="localhost",
        **keywords,
    ):
        """The same with the handshake yet to be made."""
        ours, theirs = self.sockets(family)
        protocol = protocol or Told(self)
        of_server, of_client = of_server or new_server_context(), of_client or new_client_context()
        other = Other(self, theirs, of_client if server_side else of_server, not server_side)
        if server_side:
            opening = self.loop.connect_accepted_socket(lambda: protocol, ours, ssl=of_server, **keywords)
        else:
            opening = self.loop.create_connection(
                lambda: protocol, sock=ours, ssl=of_client, server_hostname=name, **keywords
            )
        return other, asyncio.ensure_future(opening)

    async def opened(self, opening, what="opening"):
        """Note what becomes of what begin() has begun."""
        with self.noted(what):
            await opening
        await self.settle()


class Other:
    """The other end of a connection."""

    def __init__(self, trace, sock, context, server_side):
        self.trace = trace
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=None if server_side else "localhost",
        )

    def flush(self):
        self._send(self.outgoing.read())

    def _send(self, data):
        with contextlib.suppress(ConnectionError):  # which shows in what is heard
            self.sock.sendall(data)

    def pull(self):
        """Take what has come; returns whether the connection has ended, which the session is told as well."""
        with contextlib.suppress(BlockingIOError):
            while data := self.sock.recv(1 << 18):
                self.incoming.write(data)
            self.incoming.write_eof()
            return True
        return False

    async def attempt(self, function, *args):
        while True:
            self.pull()
            try:
                result = function(*args)
            except ssl.SSLWantReadError:
                self.flush()
                await self.trace.settle()
            else:
                self.flush()
                await self.trace.settle()
                return result

    async def handshake(self):
        await self.attempt(self.tls.do_handshake)

    def seal(self, data):
        self.tls.write(data)
        return self.outgoing.read()

    async def say(self, data):
        self.sock.sendall(self.seal(data))
        await self.trace.settle()

    async def send(self, data):
        self._send(data)
        await self.trace.settle()

    def goodbye(self):
        with contextlib.suppress(ssl.SSLError):  # it waits for an answer, or is broken
            self.tls.unwrap()
        return self.outgoing.read()

    async def hang_up(self, how=socket.SHUT_WR):
        self.sock.shutdown(how)
        await self.trace.settle()

    async def reset(self):
        """Close the socket, in which something is unread."""
        self.sock.close()
        await self.trace.settle()

    async def hear(self):
        """Note what has been said by now."""
        await self.trace.settle()
        heard = bytearray()
        try:
            ended = self.pull()
        except OSError as exc:
            self.trace.note("the peer has", text_of(exc))
            return
        end = "and the end of the connection" if ended else ""
        try:
            while data := self.tls.read(1 << 16):
                heard += data
            end = "and goodbye " + end
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            end = f"and {text_of(exc)} {end}"
        said = bytes(heard) if len(heard) < 100 else peers.digest(heard)
        self.trace.note("the peer hears", said, end)


class _Telling:
    """Notes what it is told, and then does what the scenario says: `actions` as peers.Recorder has them."""

    def __init__(self, trace, name="", **actions):
        self.trace = trace
        self.name = name
        self.actions = actions
        self.transport = None
        self.lost = asyncio.get_running_loop().create_future()

    def told(self, what, *args):
        self.trace.note(self.name + what, *[text_of(a) if isinstance(a, Exception) else a for a in args])

    def act(self, what, *args):
        return self.actions[what](self, *args) if what in self.actions else None

    def connection_made(self, transport):
        self.transport = transport
        self.told("made", transport.is_closing(), transport.get_extra_info("cipher") is not None)
        self.act("made", transport)

    def connection_lost(self, exc):
        self.told("lost", exc)
        self.lost.set_result(None)
        self.act("lost", exc)

    def eof_received(self):
        self.told("eof")
        return self.act("eof")

    def pause_writing(self):
        self.told("pause")
        self.act("pause")

    def resume_writing(self):
        self.told("resume")
        self.act("resume")


class Told(_Telling, asyncio.Protocol):
    def data_received(self, data):
        self.told("data", type(data).__name__, data if len(data) < 100 else len(data))
        self.act("data", data)


class ToldBuffered(_Telling, asyncio.BufferedProtocol):
    def __init__(self, trace, name="", size=8, **actions):
        super().__init__(trace, name, **actions)
        self.buffer = memoryview(
            bytearray(size)
        )  # of a bytearray asyncio fills a copy, from the second record on

    def get_buffer(self, sizehint):
        if "get_buffer" in self.actions:
            return self.act("get_buffer", sizehint)
        return self.buffer

    def buffer_updated(self, nbytes):
        self.told("updated", nbytes, bytes(self.buffer[:nbytes]))
        self.act("updated", nbytes)


def fail(*args):
    raise ZeroDivisionError("the protocol's")


def run(new_event_loop, function):
    """Return the trace of a scenario on a fresh loop."""
    loop = new_event_loop()
    trace = Trace(loop)
    loop.set_exception_handler(trace.report)
    logger = logging.getLogger("asyncio")
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: trace.note("logged:", record.levelname, record.getMessage())
    logger.addHandler(handler)

    async def guarded():
        async with asyncio.timeout(peers.GUARD_SECONDS):
            with trace.stack:
                await function(trace)
                await trace.end()
            await trace.settle()

    try:
        with support.closing(loop), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop.run_until_complete(guarded())
            support.run_until_idle(loop)
            support.collect()
        for warning in caught:
            trace.note("warned:", warning.category.__name__, warning.message)
    finally:
        logger.removeHandler(handler)
    return trace.lines


def scenarios_of(module):
    """The scenarios of a module, by name, for parametrize(), each with the marks that its function has."""
    return [
        pytest.param(name, marks=getattr(function, "pytestmark", ()))
        for name, function in SCENARIOS.items()
        if function.__module__ == module
    ]


def check_alike(monkeypatch, name):
    """A scenario leaves the same trace on asyncio's loop and on ours, by each engine."""
    expected = run(support.load("asyncio").new_event_loop, SCENARIOS[name])
    assert expected
    for engine in ENGINES:
        monkeypatch.setenv("ASYNCIO_C_TLS", engine)
        assert run(support.load("loop_only").new_event_loop, SCENARIOS[name]) == expected, engine
