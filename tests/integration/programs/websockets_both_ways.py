"""The websockets library as server and as client: over TCP, TLS and a Unix socket."""

import asyncio
import pathlib
import ssl
import tempfile

import common
import trustme
from websockets.asyncio.client import connect, unix_connect
from websockets.asyncio.server import broadcast, serve, unix_serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

LARGE = bytes(range(256)) * 4096  # 1 MiB
OPTIONS = {"max_size": None, "ping_interval": None}


class Server:
    """Echoes, counts, broadcasts or closes, as the path says."""

    def __init__(self):
        self.ended = []
        self.listeners = set()
        self.all_listen = asyncio.Event()

    async def handle(self, connection):
        path = connection.request.path
        try:
            await getattr(self, path.strip("/"))(connection)
        finally:
            self.ended.append(path)

    async def echo(self, connection):
        async for message in connection:
            await connection.send(message)

    async def count(self, connection):
        for number in range(2000):
            await connection.send(str(number))

    async def listen(self, connection):
        self.listeners.add(connection)
        if len(self.listeners) == 10:
            self.all_listen.set()
        await connection.wait_closed()
        self.listeners.discard(connection)

    async def quit(self, connection):
        await connection.close(4002, "quitting")

    async def fail(self, connection):
        connection.transport.abort()

    def check(self, connection, request):
        if not hasattr(self, request.path.strip("/")):
            return connection.respond(404, "nothing here")


async def talk(open_connection, server):
    """Everything that one client can do on one kind of connection."""
    async with open_connection("/echo") as connection:
        for number in range(300):
            await connection.send(f"message {number}")
            assert await connection.recv() == f"message {number}"
        await connection.send(LARGE)
        assert await connection.recv() == LARGE
        await connection.send([LARGE[:1000], LARGE[1000:5000], LARGE[5000:9000]])  # fragments
        assert await connection.recv() == LARGE[:9000]
        assert await (await connection.ping()) >= 0

        # Both directions at full speed: neither side may stop the other.
        async def send():
            for _ in range(200):
                await connection.send(LARGE[:20_000])

        sending = asyncio.create_task(send())
        for _ in range(200):
            assert await connection.recv() == LARGE[:20_000]
        await sending

        # A wait for a message that is cancelled loses no message.
        waiting = asyncio.create_task(connection.recv())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await connection.send("after all")
        assert await connection.recv() == "after all"

    async with open_connection("/count") as connection:
        assert [message async for message in connection] == [str(number) for number in range(2000)]

    async with open_connection("/quit") as connection:
        try:
            await connection.recv()
        except ConnectionClosedError as end:
            assert (end.rcvd.code, end.rcvd.reason) == (4002, "quitting")
        else:
            raise AssertionError("a message from who quits")

    async with open_connection("/fail") as connection:
        try:
            await connection.recv()
        except ConnectionClosedError as end:
            assert end.rcvd is None
        else:
            raise AssertionError("a message from who is gone")

    try:
        async with open_connection("/nowhere"):
            raise AssertionError("connected to nothing")
    except InvalidStatus as error:
        assert error.response.status_code == 404


async def broadcasting(open_connection, server):
    """One message to many, and a server that closes on all of them."""
    connections = await asyncio.gather(*(open_connection("/listen") for _ in range(10)))
    await server.all_listen.wait()
    broadcast(server.listeners, "to all")
    assert await asyncio.gather(*(connection.recv() for connection in connections)) == ["to all"] * 10
    return connections


async def try_out(start, open_connection):
    server = Server()
    async with start(server) as listening:
        await talk(lambda path: open_connection(listening, path), server)
        left = await broadcasting(lambda path: open_connection(listening, path), server)
        listening.close()
        ends = await asyncio.gather(*(connection.recv() for connection in left), return_exceptions=True)
        # 1001 is "going away".
        assert all(isinstance(end, ConnectionClosedOK) and end.rcvd.code == 1001 for end in ends), ends
        await listening.wait_closed()
    assert sorted(server.ended) == ["/count", "/echo", "/fail", *["/listen"] * 10, "/quit"], server.ended


async def main():
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    def over_tcp(context):
        def start(server):
            return serve(server.handle, "127.0.0.1", 0, ssl=context, process_request=server.check, **OPTIONS)

        return start

    def to_port(scheme, **options):
        def open_connection(listening, path):
            port = listening.sockets[0].getsockname()[1]
            return connect(f"{scheme}://127.0.0.1:{port}{path}", proxy=None, **options, **OPTIONS)

        return open_connection

    await try_out(over_tcp(None), to_port("ws"))
    await try_out(over_tcp(server_context), to_port("wss", ssl=client_context, server_hostname="localhost"))

    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "socket"))
        await try_out(
            lambda server: unix_serve(server.handle, path, process_request=server.check, **OPTIONS),
            lambda _, uri: unix_connect(path, f"ws://localhost{uri}", **OPTIONS),
        )


common.run(main)
