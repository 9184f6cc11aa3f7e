"""Random programs for byte streams: both ends of a loopback pair, in one loop, and what each end sees.

A program is lines of Python here, too. Chunks of data that arrive in the same phase, between two waits of the program, are one event, since where
one ends and the next begins is the kernel's affair; so is how much of a large write gets through before something breaks
the connection, so programs with large writes have nothing in them that loses data.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import sys
import zlib
from typing import Any

from hypothesis import strategies as st

from . import compare, execution
from .grammar import attempts, each
from .program import Body, printed

KINDS = ("protocol", "buffered")


def _count_every_end(cls: Any) -> None:
    """Let asyncio's transport be as it is from Python 3.14 on.

    Before, write() and abort() fail with an AttributeError after the end of a connection that was closed with data left to
    send, because only a close without any counts it as lost.
    """
    call_connection_lost = cls._call_connection_lost

    def counted(self: Any, exc: BaseException | None) -> None:
        if type(self) is cls:
            self._conn_lost = self._conn_lost or 1
        call_connection_lost(self, exc)

    cls._call_connection_lost = counted


if sys.version_info < (3, 14):
    _count_every_end(asyncio.selector_events._SelectorSocketTransport)  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class End:
    """One end: the kind of protocol, what it does when the first data comes, what eof_received() returns."""

    kind: str
    reaction: str
    keep_open: bool


@dataclasses.dataclass(frozen=True)
class StreamProgram:
    family: str
    debug: bool
    ends: tuple[End, End]
    steps: Body

    def source(self) -> str:
        head = [
            f"# over {self.family}, debug={self.debug}",
            *(f"# {n}: {e}" for n, e in zip("ab", self.ends)),
        ]
        return "\n".join([*head, "async def main():", *printed(self.steps, 1)]) + "\n"

    def __repr__(self) -> str:
        return f"the program\n\n{self.source()}"


# ---- the strategies ----


def _steps(large: bool, streams: bool, tls: bool) -> list[list[Body]]:
    """Return the steps of a program: lists of one or two lines."""
    ends = ["a", "b"]
    sizes = ["1", "0", "10", "1000", *(["1_000_000"] if large else [])]
    # From 3.12 on, asyncio keeps an empty chunk at the end of writelines() in its buffer and tries for ever to send it.
    # Early releases of 3.12 and 3.13 do not ask the protocol to pause after a large writelines().
    careless = sys.version_info[:2] in ((3, 12), (3, 13))
    chunks = [size for size in sizes if size != "0" and not (careless and len(size) > 4)]
    limits = [*([] if tls else ["high=0", "low=0"]), "high=10", "low=5", "low=9, high=3"]
    writes = attempts(
        *each("?.write(data(?))", ends, sizes),
        *each("?.write(bytearray(data(?)))", ends, sizes),
        *each("?.write(?)", ends, ["'text'", "None", "memoryview(data(9))"]),
    )
    lines = [
        ["await settle()"],
        attempts(
            *each("?.?()", ends, ["pause_reading", "resume_reading", "write_eof", "can_write_eof"]),
            *each("?.get_write_buffer_limits()", ends),
            *each("?.set_write_buffer_limits(?)", ends, limits),
            *(f"{end}.set_protocol(new_protocol('{end}', '{kind}'))" for end in ends for kind in KINDS),
            # The socket is of a class derived from asyncio's, which sends first what was written before its shutdown().
            *each("isinstance(?.get_extra_info('socket'), asyncio.trsock.TransportSocket)", ends),
            *each("type(?.get_extra_info(?))", ends, ["'peername'", "'nothing'"]),
        ),
    ]
    # What a write has done to the connection shows when it is sent, with asyncio_c at the end of the callback.
    settled = attempts(
        *each("?.?()", ends, ["is_reading", "is_closing", "get_write_buffer_size"][: 3 - large])
    )
    # asyncio's writelines() of a closed transport raises a TypeError from 3.12 on, where write() does nothing.
    for end in ends:
        settled += attempts(
            *each(f"{end}.is_closing() or {end}.writelines([data(?), data(?)])", chunks, chunks)
        )
    if not large:
        lines.append(attempts(*each("?.?()", ends, ["close", "abort"])))
    if streams:
        calls = ["read(1)", "read()", "readline()", "readexactly(5)", "readuntil(b'c')", "readexactly(0)"]
        lines.append([f'log("{call}", await within(r.{call}))' for call in calls])
        lines.append([f'begin("{call}", {call})' for call in calls])
        lines.append(["cancel()", "cancel('enough')"])
        # asyncio's drain() over TLS does not wait, however much the kernel has left.
        waits = [*([] if large and tls else ["w.drain()"]), *([] if large else ["w.wait_closed()"])]
        lines.append([f'log("{wait}", await within({wait}))' for wait in waits])
        settled += attempts("r.at_eof()", "w.is_closing()", "w.write(data(1000))", "w.can_write_eof()")
    return [
        [("await settle_if_closed()", line) for line in writes],
        *([(line,) for line in some] for some in lines if some),
        [("await settle()", line) for line in settled],
    ]


def _flat(steps: list[Body]) -> Body:
    return tuple(line for step in steps for line in step)


def stream_programs(
    large: bool,
    streams: bool,
    kind: Any = StreamProgram,
    /,
    *,
    tls: bool = False,
    whole: bool = True,
    **more: Any,
) -> st.SearchStrategy[Any]:
    """Return programs of a kind, for which `more` has what it has more; `whole`: what is sent at once comes at once."""
    losing = ["pause", "close", "abort", "raise"]
    reactions = ["nothing", "echo", "write_eof", *([] if large or not whole else losing)]
    end = st.builds(End, st.sampled_from(list(KINDS)), st.sampled_from(reactions), st.booleans())
    # Only one end reacts: which of two is first would be the kernel's affair.
    passive = st.builds(End, st.sampled_from(list(KINDS)), st.just("nothing"), st.booleans())
    other = st.just(End("streams", "nothing", True)) if streams else passive
    steps = st.one_of(*map(st.sampled_from, _steps(large, streams, tls)))
    return st.builds(
        kind,
        st.sampled_from(["unix", "tcp"]),
        st.sampled_from([False, False, False, True]),
        st.tuples(end, other),
        st.lists(steps, min_size=2, max_size=14).map(_flat),
        **more,
    )


programs = st.one_of(
    *(stream_programs(large, streams) for large in (False, True) for streams in (False, True))
)


# ---- running one ----


class Events:
    """What one end saw: events with the phase of the program, adjoining data of one phase as one."""

    def __init__(self, run: StreamRun) -> None:
        self.run = run
        self.events: list[list[Any]] = []

    def __call__(self, *event: Any) -> None:
        self.events.append([self.run.phase, *map(execution.described, event)])

    def data(self, data: bytes) -> None:
        phase = self.run.phase
        last = self.events[-1] if self.events else [None, None]
        if last[:2] == [phase, "data"]:
            last[2] += len(data)
            last[3] = zlib.crc32(data, last[3])
        else:
            self.events.append([phase, "data", len(data), zlib.crc32(data)])


class _Common:
    def __init__(self, run: StreamRun, name: str, end: End) -> None:
        self.run = run
        self.log = run.ends[name]
        self.end = end
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.log("connection_made")

    def connection_lost(self, error: BaseException | None) -> None:
        self.log("connection_lost", type(error).__name__)

    def pause_writing(self) -> None:
        if self.run.shows_buffers:
            self.log("pause_writing")

    def resume_writing(self) -> None:
        if self.run.shows_buffers:
            self.log("resume_writing")

    def eof_received(self) -> bool:
        self.log("eof_received")
        return self.end.keep_open

    def received(self, data: bytes) -> None:
        self.log.data(data)
        reaction, self.end = self.end.reaction, dataclasses.replace(self.end, reaction="nothing")
        if reaction == "echo":
            self.transport.write(b"echo")
        elif reaction == "pause":
            self.transport.pause_reading()
        elif reaction == "raise":
            raise execution.Boom("received")
        elif reaction != "nothing":
            getattr(self.transport, reaction)()


class RecordingProtocol(_Common, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.received(data)


class BufferedRecordingProtocol(_Common, asyncio.BufferedProtocol):
    def __init__(self, run: StreamRun, name: str, end: End) -> None:
        super().__init__(run, name, end)
        self.buffer = run.new_buffer(4096)

    def get_buffer(self, hint: int) -> Any:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.received(bytes(self.buffer[:count]))


PROTOCOLS = dict(zip(KINDS, (RecordingProtocol, BufferedRecordingProtocol)))


class StreamTrace(execution.Trace):
    """The results of the program's calls and what the exception handler was told, without the time."""

    def _circumstances(self) -> execution.Event:
        return ()


class StreamRun(execution.Run):
    """One run of a stream program on one implementation."""

    grace_ms = 2  # TCP on loopback may arrive a moment later
    ready_ms = 1  # a broken connection may be ready for ever
    new_trace = StreamTrace
    new_buffer: Any = bytearray
    shows_buffers = True  # that of what is written and not sent
    phase = 0  # how often the program has waited

    def _run(self) -> None:
        self.loop = loop = self.loop_type()
        loop.set_debug(self.program.debug)
        loop.set_exception_handler(self.log.handle)
        self.ends = {"a": Events(self), "b": Events(self)}
        names: dict[str, Any] = {}
        try:
            with self._alarm():
                loop.run_until_complete(self._main(names))
        finally:
            names.clear()  # among them are the transports
            loop.close()
        for name, events in self.ends.items():
            self.log.events += [(name, *event) for event in events.events]

    async def _main(self, names: dict[str, Any]) -> None:
        self.names = names
        names |= {
            "log": self.log,
            "attempt": execution.attempt,
            "data": data,
            "settle": self._settle,
            "settle_if_closed": self._settle_if_closed,
            "within": self._within,
            "begin": self._begin,
            "cancel": self._cancel,
            "new_protocol": lambda name, kind: PROTOCOLS[kind](self, name, End(kind, "nothing", True)),
        }
        self.begun: list[asyncio.Task[Any]] = []
        if await self._connect():
            exec(self.code, names)
            try:
                await names["main"]()
            except Exception as error:
                self.log("main raised", error)
            for _ in range(3):
                await self._settle()
        for name in filter(names.__contains__, "ab"):
            self.log(name, names[name].is_closing())
            if self.shows_buffers:
                # Over TLS, who has closed twice cannot ask any more.
                self.log(execution.attempt(lambda end=names[name]: end.get_write_buffer_size() > 0))
            names[name].abort()
        await self._settle()
        while self.begun:
            self._cancel()
        await self._settle()

    async def _connect(self) -> bool:
        """Make both ends; returns whether they are there."""
        for name, end, sock in zip("ab", self.program.ends, connected(self.program.family)):
            await self._open(name, end, sock)
        return True

    async def _open(self, name: str, end: End, sock: socket.socket, **keywords: Any) -> None:
        """Make one end of a pair of sockets."""
        names = self.names
        if end.kind == "streams":
            names["r"], names["w"] = await asyncio.open_connection(sock=sock, limit=100, **keywords)
            names[name] = names["w"].transport
        else:
            protocol = PROTOCOLS[end.kind](self, name, end)
            names[name], _ = await self.loop.create_connection(lambda: protocol, sock=sock, **keywords)

    async def _settle(self) -> None:
        """Wait until nothing happens any more, for only then a virtual second passes."""
        self.phase += 1
        await asyncio.sleep(1)
        self.phase += 1

    async def _settle_if_closed(self) -> None:
        """Let each write to a peer that may be gone be sent apart.

        The first one is what makes the kernel tell, and with asyncio_c all that one callback writes is the first one.
        """
        if any(self.names[name].is_closing() for name in "ab"):
            await self._settle()

    def _begin(self, call: str, awaitable: Any) -> None:
        """Let something be waited for while the program goes on; its end is logged."""

        async def wait() -> None:
            try:
                self.log("begun", self.phase, call, await awaitable)
            except (Exception, asyncio.CancelledError) as error:
                self.log("begun", self.phase, call, type(error).__name__, error.args)

        self.begun.append(asyncio.ensure_future(wait()))

    def _cancel(self, *message: str) -> None:
        """Cancel what was begun last."""
        if self.begun:
            self.log("cancelled", self.begun.pop().cancel(*message))

    async def _within(self, awaitable: Any) -> Any:
        """Return the result of what ends within a virtual second, or its exception."""
        await self._settle()
        try:
            return await asyncio.wait_for(awaitable, 1)
        except (Exception, asyncio.CancelledError) as error:
            return type(error).__name__, str(error)
        finally:
            await self._settle()


def data(size: int) -> bytes:
    return (b"abcdefghi\n" * (size // 10 + 1))[:size]


def connected(family: str) -> tuple[socket.socket, socket.socket]:
    """Return a connected pair of sockets that do not block."""
    if family == "unix":
        pair = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            pair = ours, listener.accept()[0]
        for sock in pair:  # which asyncio leaves to whoever made the socket without naming the protocol
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sock in pair:
        sock.setblocking(False)
    return pair


def check(program: StreamProgram, clock: Any) -> None:
    compare.compare(program, clock, ["loop_only", "patched"], StreamRun)
