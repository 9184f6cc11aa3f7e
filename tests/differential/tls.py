"""Random programs for byte streams over TLS: what streams.py does, with TLS at both ends and a wire in between.

The wire passes on at most so many bytes at a time, so that records come in pieces; and it can hold up the handshake after so
many bytes until that is given up. What is different by design is left out: as asyncio_c encrypts what one callback writes
as few records, where the wire cuts is not the same, so that there nobody reacts to a part of what comes; limits of
zero, by which asyncio pauses at each write and resumes at the next; and that asyncio does not pause after a write that is too
large for the kernel.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import pathlib
import socket
import ssl
from typing import Any

from hypothesis import strategies as st

from . import compare, streams
from .streams import End, StreamProgram

ENGINES = ("openssl", "object")
CERTIFICATE = pathlib.Path(__file__).parents[1] / "unit" / "net" / "localhost.pem"
# Of a handshake, some of its messages, or more than it has.
HELD = [0, 4, 5, 100, 600, 1500, 4000]


@dataclasses.dataclass(frozen=True, repr=False)
class TLSProgram(StreamProgram):
    """The ends begin with TLS, or are upgraded to it by start_tls(); `a` is the server."""

    version: str
    upgraded: bool
    cut: int | None
    held: int | None
    large: bool

    def source(self) -> str:
        how = "upgraded" if self.upgraded else "connected"
        held = "" if self.held is None else f", held up after {self.held} bytes"
        return f"# {how} to {self.version}, cut at {self.cut}{held}\n" + super().source()


def _programs(large: bool, of_streams: bool, cut: bool) -> st.SearchStrategy[TLSProgram]:
    sizes = [1, 7, 100, 1000] if not large else [5000, 16_406, 60_000]
    return streams.stream_programs(
        large,
        of_streams,
        TLSProgram,
        tls=True,
        whole=not cut,
        version=st.sampled_from(["TLSv1_2", "TLSv1_3", "TLSv1_3"]),
        upgraded=st.booleans(),
        cut=st.sampled_from(sizes) if cut else st.none(),
        held=st.sampled_from([None, None, None, *HELD]) if cut else st.none(),
        large=st.just(large),
    )


programs = st.one_of(
    *(
        _programs(large, of_streams, cut)
        for large in (False, True)
        for of_streams in (False, True)
        for cut in (False, True)
    )
)


@functools.cache
def contexts(version: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server and of a client that trusts it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    client = ssl.create_default_context(cafile=CERTIFICATE)
    for context in (server, client):
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return server, client


class Wire:
    """What lies between two ends, and passes on their bytes in pieces."""

    def __init__(self, loop: Any, cut: int, held: int | None, *ends: socket.socket) -> None:
        self.loop = loop
        self.cut = cut
        self.ends = ends
        self.left = [held, held]  # what may still pass, from each end; None: everything
        self.kept = [b"", b""]  # what was read from an end, and not taken by the other
        for end in (0, 1):
            self._watch(end)

    def release(self) -> None:
        """Hold up nothing any more."""
        self.left = [None, None]
        for end in (0, 1):
            self._watch(end)

    def close(self) -> None:
        for sock in self.ends:
            if sock.fileno() < 0:
                continue  # closed, when it broke
            self.loop.remove_reader(sock)
            self.loop.remove_writer(sock)
            sock.close()

    def _watch(self, end: int) -> None:
        if self.left[end] != 0 and self.ends[end].fileno() >= 0 and not self.kept[end]:
            self.loop.add_reader(self.ends[end], self._pass_on, end)

    def _pass_on(self, end: int) -> None:
        source, left = self.ends[end], self.left[end]
        try:
            data = source.recv(self.cut if left is None else min(self.cut, left))
            if not data:
                self.loop.remove_reader(source)
                self.ends[1 - end].shutdown(socket.SHUT_WR)
                return
            if left is not None:
                self.left[end] = left - len(data)
            if self.left[end] == 0:
                self.loop.remove_reader(source)
            self.kept[end] = data
            self._send(end)
        except BlockingIOError:
            pass
        except OSError:
            self.close()  # one end is gone: so is the other

    def _send(self, end: int) -> None:
        target = self.ends[1 - end]
        try:
            self.kept[end] = self.kept[end][target.send(self.kept[end]) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()  # as above
            return
        if self.kept[end]:
            self.loop.remove_reader(self.ends[end])
            self.loop.add_writer(target, self._send, end)
        else:
            self.loop.remove_writer(target)
            self._watch(end)


class TLSRun(streams.StreamRun):
    """One run on one implementation: asyncio, or one of ours and an engine."""

    program: TLSProgram
    wire: Wire | None = None

    def __init__(self, program: TLSProgram, variant: str, clock: Any) -> None:
        variant, _, self.engine = variant.partition(" ")
        super().__init__(program, variant, clock)
        self.shows_buffers = not program.large

    def _run(self) -> None:
        os.environ["ASYNCIO_C_TLS"] = self.engine or "asyncio"
        super()._run()

    @staticmethod
    def new_buffer(size: int) -> memoryview:
        """Return what gets all that comes: asyncio writes what is not the first record to a copy of a bytearray."""
        return memoryview(bytearray(size))

    async def _main(self, names: dict[str, Any]) -> None:
        try:
            await super()._main(names)
        finally:
            if self.wire is not None:
                self.wire.close()

    async def _connect(self) -> bool:
        program = self.program
        pairs = [streams.connected(program.family)]
        if program.cut is not None:
            pairs.append(streams.connected(program.family))
            self.wire = Wire(self.loop, program.cut, program.held, pairs[0][1], pairs[1][0])
        ends = pairs[0][0], pairs[-1][1]
        if program.upgraded:
            for name, end, sock in zip("ab", program.ends, ends):
                await self._open(name, end, sock)
        opening = [
            asyncio.ensure_future(self._secure(name, end, sock))
            for name, end, sock in zip("ab", program.ends, ends)
        ]
        if program.held is not None:
            assert self.wire is not None
            await self._settle()
            for name, task in zip("ab", opening):
                self.log("giving up", name, task.done() or task.cancel())
            await self._settle()
            self.wire.release()
        for name, result in zip("ab", await asyncio.gather(*opening, return_exceptions=True)):
            if result is not None:
                self.log("no", name, type(result).__name__, str(result))
        await self._settle()
        return not any(task.cancelled() or task.exception() for task in opening)

    async def _secure(self, name: str, end: End, sock: socket.socket) -> None:
        """Bring one end to speak TLS."""
        server, client = contexts(self.program.version)
        is_server = name == "a"
        names = self.names
        if self.program.upgraded and end.kind == "streams":
            await names["w"].start_tls(client, server_hostname="localhost")
            names[name] = names["w"].transport
        elif self.program.upgraded:
            before = names[name]
            names[name] = await self.loop.start_tls(
                before,
                before.get_protocol(),
                server if is_server else client,
                server_side=is_server,
                server_hostname=None if is_server else "localhost",
            )
            names[name].get_protocol().transport = names[name]
        elif is_server:
            protocol = streams.PROTOCOLS[end.kind](self, name, end)
            names[name], _ = await self.loop.connect_accepted_socket(lambda: protocol, sock, ssl=server)
        else:
            await self._open(name, end, sock, ssl=client, server_hostname="localhost")


def check(program: TLSProgram, clock: Any) -> None:
    variants = [f"{variant} {engine}" for variant in ("loop_only", "patched") for engine in ENGINES]
    compare.compare(program, clock, variants, TLSRun)
