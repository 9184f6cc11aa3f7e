"""Tornado's HTTP server, client and websockets, its callbacks, and its own transports on add_reader and add_writer."""

import asyncio
import socket

import common
from tornado import gen, httpserver, ioloop, iostream, tcpserver, web, websocket
from tornado.httpclient import AsyncHTTPClient

BODY = bytes(range(256)) * 4096  # 1 MiB
BINARY = {"Content-Type": "application/octet-stream"}


class Echo(web.RequestHandler):
    async def post(self):
        await gen.sleep(0)
        self.write(self.request.body)

    async def get(self):
        for number in range(500):
            self.write(b"%04d" % number)
            await self.flush()


class Talk(websocket.WebSocketHandler):
    async def on_message(self, message):
        if message == "bye":
            self.close(4001, "as told")
        else:
            await self.write_message(message[::-1], binary=isinstance(message, bytes))


class Lines(tcpserver.TCPServer):
    async def handle_stream(self, stream, address):
        try:
            while True:
                await stream.write((await stream.read_until(b"\n")).upper())
        except iostream.StreamClosedError:
            pass


def listen(server):
    """Let a server listen on a free port, and return the port."""
    (listener,) = tcpserver.bind_sockets(0, "127.0.0.1")
    server.add_socket(listener)
    return listener.getsockname()[1]


async def http():
    server = httpserver.HTTPServer(web.Application([("/echo", Echo), ("/talk", Talk)]))
    port = listen(server)
    client = AsyncHTTPClient(force_instance=True)
    answer = await client.fetch(f"http://127.0.0.1:{port}/echo", method="POST", body=BODY, headers=BINARY)
    assert answer.body == BODY
    answers = await asyncio.gather(*(client.fetch(f"http://127.0.0.1:{port}/echo") for _ in range(20)))
    assert {answer.body for answer in answers} == {b"".join(b"%04d" % number for number in range(500))}
    client.close()

    talk = await websocket.websocket_connect(f"ws://127.0.0.1:{port}/talk")
    for message in ("text", BODY[:100_000]):
        await talk.write_message(message, binary=isinstance(message, bytes))
        assert await talk.read_message() == message[::-1]
    await talk.write_message("bye")
    assert await talk.read_message() is None
    assert (talk.close_code, talk.close_reason) == (4001, "as told")
    talk.close()
    server.stop()
    await server.close_all_connections()


async def streams():
    server = Lines()
    stream = iostream.IOStream(socket.socket())
    await stream.connect(("127.0.0.1", listen(server)))
    for number in range(300):
        await stream.write(b"line %d\n" % number)
        assert await stream.read_until(b"\n") == b"LINE %d\n" % number
    stream.close()
    server.stop()


async def callbacks():
    loop = ioloop.IOLoop.current()
    assert loop.asyncio_loop is asyncio.get_running_loop()
    ticks = asyncio.Queue()
    periodic = ioloop.PeriodicCallback(lambda: ticks.put_nowait("tick"), 1)
    periodic.start()
    assert [await ticks.get() for _ in range(3)] == ["tick"] * 3
    periodic.stop()
    loop.add_callback(ticks.put_nowait, "callback")
    assert await ticks.get() == "callback"
    assert await loop.run_in_executor(None, sum, range(10)) == 45

    @gen.coroutine
    def generator():
        yield gen.sleep(0)
        return (yield [gen.maybe_future(1), asyncio.sleep(0, 2)])

    assert await generator() == [1, 2]


async def main():
    await http()
    await streams()
    await callbacks()
    await asyncio.get_running_loop().shutdown_default_executor()


common.run(main)
