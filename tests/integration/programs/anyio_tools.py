"""anyio on asyncio: task groups, cancel scopes, sockets, TLS, processes, threads, files and signals."""

import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

import anyio
import common
import trustme
from anyio import from_thread, lowlevel, to_thread
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener, TLSStream

DATA = bytes(range(256)) * 4096  # 1 MiB


async def cancelling():
    """Scopes within scopes, shields, and an error that ends its siblings."""
    ended = []

    async def wait_forever(name, *, task_status=anyio.TASK_STATUS_IGNORED):
        try:
            task_status.started(name)
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await lowlevel.checkpoint()
                ended.append(name)

    async with anyio.create_task_group() as group:
        assert await group.start(wait_forever, "a") == "a"
        assert await group.start(wait_forever, "b") == "b"
        group.cancel_scope.cancel()
    assert sorted(ended) == ["a", "b"]

    async def fail():
        raise ValueError("meant")

    try:
        async with anyio.create_task_group() as group:
            await group.start(wait_forever, "c")
            group.start_soon(fail)
    except* ValueError as errors:
        assert [str(error) for error in errors.exceptions] == ["meant"]
    assert ended[-1] == "c"

    with anyio.move_on_after(0) as outer:
        with anyio.CancelScope() as inner:
            await anyio.sleep_forever()
        raise AssertionError("not cancelled by the outer scope")
    assert outer.cancelled_caught and not inner.cancelled_caught
    try:
        with anyio.fail_after(0):
            await anyio.Event().wait()
    except TimeoutError:
        pass
    else:
        raise AssertionError("no timeout")

    async with anyio.create_task_group() as group:
        group.start_soon(wait_forever, "d")
        await anyio.wait_all_tasks_blocked()
        assert len(anyio.get_running_tasks()) == 2
        group.cancel_scope.cancel()


async def talk(stream):
    """Send DATA and receive it back, at the same time."""
    reader = BufferedByteReceiveStream(stream)
    async with anyio.create_task_group() as group:
        group.start_soon(stream.send, DATA)
        assert await reader.receive_exactly(len(DATA)) == DATA
    # A receive that is cancelled loses nothing.
    with anyio.move_on_after(0):
        await reader.receive()
    await stream.send(b"after all\n")
    assert await reader.receive_until(b"\n", 100) == b"after all"


class Echo:
    """A handler of connections that knows when the last of them has ended."""

    def __init__(self, connections):
        self.left = connections
        self.all_ended = anyio.Event()

    async def __call__(self, stream):
        async with stream:
            async for data in stream:
                await stream.send(data)
        self.left -= 1
        if self.left == 0:
            self.all_ended.set()


async def sockets():
    """TCP, Unix sockets, TLS and UDP."""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "socket")
        async with anyio.create_task_group() as group:
            tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
            tls = TLSListener(await anyio.create_tcp_listener(local_host="127.0.0.1"), server_context)
            unix = await anyio.create_unix_listener(path)
            echo = Echo(3)
            for listener in (tcp, tls, unix):
                group.start_soon(listener.serve, echo)
            async with await anyio.connect_tcp("127.0.0.1", tcp.extra(SocketAttribute.local_port)) as stream:
                raw = stream.extra(SocketAttribute.raw_socket)
                assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
                await talk(stream)
                await stream.send_eof()
                try:
                    await stream.receive()
                except anyio.EndOfStream:
                    pass
                else:
                    raise AssertionError("received after the end")
            async with await anyio.connect_unix(path) as stream:
                await talk(stream)
            port = tls.listener.extra(SocketAttribute.local_port)
            plain = await anyio.connect_tcp("127.0.0.1", port)
            async with await TLSStream.wrap(
                plain, hostname="localhost", ssl_context=client_context
            ) as stream:
                await talk(stream)
            await echo.all_ended.wait()
            group.cancel_scope.cancel()
        for listener in (tcp, tls, unix):
            await listener.aclose()

    async with await anyio.create_udp_socket(local_host="127.0.0.1") as server:
        port = server.extra(SocketAttribute.local_port)
        async with await anyio.create_connected_udp_socket("127.0.0.1", port) as client:
            for number in range(50):
                await client.send(b"%d" % number)
                packet, peer = await server.receive()
                assert packet == b"%d" % number
                await server.sendto(packet + b"!", *peer)
                assert await client.receive() == packet + b"!"


async def processes():
    result = await anyio.run_process([sys.executable, "-S", "-c", "print(input()[::-1])"], input=b"abc\n")
    assert result.stdout == b"cba\n"
    async with await anyio.open_process(["cat"]) as process:
        await process.stdin.send(b"through cat")
        await process.stdin.aclose()
        assert b"".join([data async for data in process.stdout]) == b"through cat"
        assert await process.wait() == 0
    with anyio.move_on_after(0) as scope:
        await anyio.run_process(["cat"], stdin=subprocess.PIPE)
    assert scope.cancelled_caught


async def threads_and_files():
    async def answer():
        await lowlevel.checkpoint()
        return "from the loop"

    assert await to_thread.run_sync(lambda: from_thread.run(answer)) == "from the loop"
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(to_thread.run_sync, os.getpid)
    async with await anyio.open_file(__file__) as file:
        assert (await file.readline()).startswith('"""anyio')


async def signals():
    with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as received:
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
            assert await anext(received) == number


async def main():
    for part in (cancelling, sockets, processes, threads_and_files, signals):
        await part()


common.run_by(anyio.run, main)
