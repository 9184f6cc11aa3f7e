"""The process of one server: `python -m benchmarks.net.servers TARGET KIND DIRECTORY`.

It says in a line of JSON where it listens, or what went wrong. Then it answers every line on stdin with the CPU time that
it has used, from a thread that sleeps otherwise, and it ends with its stdin. DIRECTORY has the certificate, and is where
Unix sockets are made.

The programs below are what a user would write, the same for all targets. Each returns its address when it listens.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ..targets import load
from ..worker import describe, error_text, open_answers
from .cases import HTTP_BODY, KINDS
from .programs import certificate

BACKLOG = 1024  # all connections of a case at once, while the server has not accepted one yet
CHUNK = 64 * 1024
HEAD = 128  # bytes

Program = Callable[[Path], Awaitable[str]]
PROGRAMS: dict[str, Program] = {}
RUNNING: list[Any] = []  # what has to live as long as the process


def program(function: Program) -> Program:
    """List the decorated function as the program of the kind of its name."""
    PROGRAMS[function.__name__] = function
    return function


def port_of(server: asyncio.Server) -> str:
    RUNNING.append(server)
    return str(server.sockets[0].getsockname()[1])


def listening_socket() -> socket.socket:
    # asyncio sets TCP_NODELAY on connections only if their listener names its protocol, as create_server's own does.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.view = memoryview(bytearray(CHUNK))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view

    def buffer_updated(self, nbytes: int) -> None:
        # A copy: not every loop makes one of what it cannot send at once, and the buffer is used again.
        self.transport.write(bytes(self.view[:nbytes]))


class TwoWrites(Echo):
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        if data.endswith(b"\n"):
            message = b"".join(self.parts)
            self.parts.clear()
            self.transport.write(message[:HEAD])
            self.transport.write(message[HEAD:])


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


async def serve(factory: Callable[[], asyncio.BaseProtocol], **options: Any) -> str:
    loop = asyncio.get_running_loop()
    return port_of(await loop.create_server(factory, "127.0.0.1", 0, backlog=BACKLOG, **options))


def tls_context(directory: Path, kind: str) -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(directory, KINDS[kind].certificate))
    return context


# ---- The programs ----


@program
async def protocol(directory: Path) -> str:
    """`create_server` with a Protocol whose `data_received` writes what it gets."""
    return await serve(Echo)


@program
async def buffered(directory: Path) -> str:
    """`create_server` with a BufferedProtocol of one 64 KiB buffer, which writes a copy of what it gets."""
    return await serve(BufferedEcho)


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@program
async def streams(directory: Path) -> str:
    """`start_server`, with `read`, `write` and `drain` in turn."""
    return port_of(await asyncio.start_server(echo_stream, "127.0.0.1", 0, backlog=BACKLOG))


@program
async def readline(directory: Path) -> str:
    """`start_server`, with `readline`, `write` and `drain` in turn; a message is a line."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0, backlog=BACKLOG, limit=2**20)
    return port_of(server)


@program
async def sock(directory: Path) -> str:
    """A task a connection, with `loop.sock_recv` and `loop.sock_sendall` in turn."""
    loop = asyncio.get_running_loop()
    listener = listening_socket()
    tasks: set[asyncio.Task[None]] = set()

    async def client(connection: socket.socket) -> None:
        with connection:
            try:
                while data := await loop.sock_recv(connection, CHUNK):
                    await loop.sock_sendall(connection, data)
            except ConnectionError:
                pass

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(client(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    RUNNING.append(asyncio.create_task(accept()))
    return str(listener.getsockname()[1])


@program
async def unix(directory: Path) -> str:
    """`create_unix_server` with a Protocol whose `data_received` writes what it gets."""
    path = str(directory / f"{os.getpid()}.sock")
    loop = asyncio.get_running_loop()
    RUNNING.append(await loop.create_unix_server(Echo, path, backlog=BACKLOG))
    return path


@program
async def tls(directory: Path) -> str:
    """`create_server` with `ssl` and a Protocol whose `data_received` writes what it gets."""
    return await serve(Echo, ssl=tls_context(directory, "tls"))


@program
async def tls_streams(directory: Path) -> str:
    """`start_server` with `ssl`, with `read`, `write` and `drain` in turn."""
    context = tls_context(directory, "tls_streams")
    return port_of(await asyncio.start_server(echo_stream, "127.0.0.1", 0, backlog=BACKLOG, ssl=context))


@program
async def handshake(directory: Path) -> str:
    """As over TLS; a request is a connection with a handshake and an echo of one byte, closed by the client."""
    return await serve(Echo, ssl=tls_context(directory, "handshake"))


@program
async def handshake_rsa(directory: Path) -> str:
    """The same with a certificate of RSA, 2048 bits."""
    return await serve(Echo, ssl=tls_context(directory, "handshake_rsa"))


@program
async def resumption(directory: Path) -> str:
    """The same, where each connection but the first resumes the session of the one before."""
    return await serve(Echo, ssl=tls_context(directory, "resumption"))


@program
async def two_writes(directory: Path) -> str:
    """A Protocol that awaits a whole message and writes the first 128 bytes, then the others."""
    return await serve(TwoWrites)


@program
async def connect(directory: Path) -> str:
    """`create_server` with a Protocol; a request is a connection with an echo of one byte, closed by the client."""
    return await serve(Echo)


@program
async def udp(directory: Path) -> str:
    """`create_datagram_endpoint` with a protocol that sends every datagram back."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(DatagramEcho, local_addr=("127.0.0.1", 0))
    RUNNING.append(transport)
    return str(transport.get_extra_info("sockname")[1])


def serve_uvicorn(**tls: Any) -> str:
    import uvicorn

    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(HTTP_BODY))],
    }
    body = {"type": "http.response.body", "body": HTTP_BODY}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send(body)

    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        loop="none",
        access_log=False,
        log_level="warning",
        backlog=BACKLOG,
        timeout_keep_alive=3600,  # connections are silent while other targets are prepared, or fail
        **tls,
    )
    listener = listening_socket()
    RUNNING.append(asyncio.create_task(uvicorn.Server(config).serve(sockets=[listener])))
    return str(listener.getsockname()[1])


@program
async def uvicorn(directory: Path) -> str:
    """uvicorn with httptools and a raw ASGI application of 13 bytes; GET on kept-alive connections."""
    return serve_uvicorn()


@program
async def uvicorn_tls(directory: Path) -> str:
    """uvicorn with httptools over TLS and a raw ASGI application of 13 bytes; GET on kept-alive connections."""
    chain, key = certificate(directory, KINDS["uvicorn_tls"].certificate)
    return serve_uvicorn(ssl_certfile=chain, ssl_keyfile=key)


async def serve_aiohttp(context: Any) -> str:
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(body=HTTP_BODY)

    application = web.Application()
    application.router.add_get("/", hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listener = listening_socket()
    await web.SockSite(runner, listener, backlog=BACKLOG, ssl_context=context).start()
    RUNNING.append(runner)
    return str(listener.getsockname()[1])


@program
async def aiohttp(directory: Path) -> str:
    """aiohttp with a handler of 13 bytes; GET on kept-alive connections."""
    return await serve_aiohttp(None)


@program
async def aiohttp_tls(directory: Path) -> str:
    """aiohttp over TLS with a handler of 13 bytes; GET on kept-alive connections."""
    return await serve_aiohttp(tls_context(directory, "aiohttp_tls"))


# ---- The process ----


def usage() -> dict[str, int]:
    """Return the CPU time that all threads of this process have used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"user_ns": round(used.ru_utime * 1e9), "system_ns": round(used.ru_stime * 1e9)}


def control(answer: Callable[[dict[str, Any]], None]) -> None:
    for _ in sys.stdin:
        answer(usage())
    os._exit(
        0
    )  # whoever started this process has ended, or wants it to end: no reason to be polite to connections


def main() -> None:
    answer = open_answers()
    name, kind, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])

    async def run() -> None:
        address = await PROGRAMS[kind](directory)
        threading.Thread(target=control, args=(answer,), daemon=True).start()
        answer({"address": address})
        await asyncio.get_running_loop().create_future()

    try:
        target = load(name)
        describe(target)  # raises if the loop is not the one that is to be measured
        target.run(run())
    except Exception as error:  # noqa: BLE001 (the parent reports it, whatever it is)
        answer({"error": error_text(error)})


if __name__ == "__main__":
    main()
