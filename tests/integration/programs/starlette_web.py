"""A Starlette application served by uvicorn with httptools, to clients of httpx, aiohttp and websockets."""

import asyncio
import contextlib
import hashlib
import socket

import aiohttp
import common
import httpx
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BODY = bytes(range(256)) * 4096  # 1 MiB
CHUNKS = [b"%05d\n" % number for number in range(2000)]


class Events:
    """What the application tells the program."""

    def __init__(self):
        self.lifespan = []
        self.endless_closed = asyncio.Event()
        self.upload_broken = asyncio.Event()


def make_app(events):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        events.lifespan.append("startup")
        yield {"greeting": "hello"}
        events.lifespan.append("shutdown")

    async def hello(request):
        return PlainTextResponse(f"{request.state.greeting} {request.path_params['name']}")

    async def echo(request):
        body = await request.body()
        return Response(body, headers={"x-sha256": hashlib.sha256(body).hexdigest()})

    async def count(request):
        """Reads the body as it arrives, and answers with what it was."""
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
        except ClientDisconnect:
            events.upload_broken.set()
            raise
        return JSONResponse({"size": size, "kind": request.headers.get("transfer-encoding", "sized")})

    async def chunks(request):
        async def produce():
            for number, chunk in enumerate(CHUNKS):
                if number % 100 == 0:
                    await asyncio.sleep(0)
                yield chunk

        return StreamingResponse(produce())

    async def endless(request):
        async def produce():
            try:
                while True:
                    yield b"." * 4096
                    await asyncio.sleep(0)
            finally:
                events.endless_closed.set()

        return StreamingResponse(produce())

    async def broken(request):
        raise RuntimeError("meant to fail")

    async def talk(websocket):
        await websocket.accept(subprotocol="echo" if "echo" in websocket.scope["subprotocols"] else None)
        async for text in websocket.iter_text():
            if text == "bye":
                await websocket.close(code=4001, reason="as told")
                return
            await websocket.send_text(text.upper())
            await websocket.send_bytes(text.encode())

    routes = [
        Route("/hello/{name}", hello),
        Route("/echo", echo, methods=["POST", "PUT"]),
        Route("/count", count, methods=["POST"]),
        Route("/chunks", chunks),
        Route("/endless", endless),
        Route("/broken", broken),
        WebSocketRoute("/talk", talk),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


@contextlib.asynccontextmanager
async def serving(app):
    """Serve app on a socket that listens already, and yield its address; stop the server at the end."""
    # asyncio switches Nagle's algorithm off only where the protocol of the socket is given, and not the default.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(app, http="httptools", ws="websockets-sansio", log_level="critical")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield address
        assert config.http_protocol_class is HttpToolsProtocol
        server.should_exit = True
        await task


async def pieces(number):
    """A body whose length the client does not know."""
    for _ in range(number):
        await asyncio.sleep(0)
        yield b"x" * 1000


async def by_httpx(address, events):
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=None) as client:
        answer = await client.get("/hello/httpx")
        assert (answer.status_code, answer.text) == (200, "hello httpx")

        answer = await client.post("/echo", content=BODY)
        assert answer.content == BODY
        assert answer.headers["x-sha256"] == hashlib.sha256(BODY).hexdigest()

        answer = await client.post("/count", content=pieces(300))
        assert answer.json() == {"size": 300_000, "kind": "chunked"}

        async with client.stream("GET", "/chunks") as answer:
            assert [line async for line in answer.aiter_lines()] == [c.decode().strip() for c in CHUNKS]

        # The client goes away in the middle, and the application hears of it.
        async with client.stream("GET", "/endless") as answer:
            async for chunk in answer.aiter_raw():
                assert set(chunk) == {ord(".")}
                break
        await events.endless_closed.wait()

        assert (await client.get("/broken")).status_code == 500
        assert (await client.get("/nowhere")).status_code == 404

        answers = await asyncio.gather(*(client.get(f"/hello/{number}") for number in range(100)))
        assert [answer.text for answer in answers] == [f"hello {number}" for number in range(100)]


async def by_aiohttp(address, events):
    events.endless_closed.clear()
    connector = aiohttp.TCPConnector(limit=20)
    async with aiohttp.ClientSession(f"http://{address}", connector=connector) as client:
        async with client.get("/hello/aiohttp") as answer:
            assert (answer.status, await answer.text()) == (200, "hello aiohttp")

        async with client.put("/echo", data=BODY) as answer:
            assert await answer.read() == BODY

        async with client.post("/count", data=pieces(300)) as answer:
            assert await answer.json() == {"size": 300_000, "kind": "chunked"}

        async with client.get("/chunks") as answer:
            assert [line async for line in answer.content] == CHUNKS

        async with client.get("/endless") as answer:
            assert set(await answer.content.readexactly(100_000)) == {ord(".")}
            answer.close()
        await events.endless_closed.wait()

        async def hello(number):
            async with client.get(f"/hello/{number}") as answer:
                return await answer.text()

        texts = await asyncio.gather(*map(hello, range(100)))
        assert texts == [f"hello {number}" for number in range(100)]

        async with client.ws_connect("/talk", protocols=["echo"]) as talk:
            assert talk.protocol == "echo"
            for text in ("one", "two" * 50_000):
                await talk.send_str(text)
                assert await talk.receive_str() == text.upper()
                assert await talk.receive_bytes() == text.encode()
            await talk.send_str("bye")
            end = await talk.receive()
            assert (end.type, end.data, talk.close_code) == (aiohttp.WSMsgType.CLOSE, 4001, 4001), end


async def by_websockets(address):
    async with websockets.connect(f"ws://{address}/talk", proxy=None) as talk:
        for number in range(200):
            await talk.send(f"message {number}")
            assert await talk.recv() == f"MESSAGE {number}"
            assert await talk.recv() == b"message %d" % number
    assert talk.close_code == 1000


async def by_hand(address, events):
    """Requests that a careful client does not make: pipelined, a byte at a time, cut off."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, port)
    request = b"GET /hello/%d HTTP/1.1\r\nHost: test\r\n\r\n"
    writer.write(b"".join(request % number for number in range(10)))
    for number in range(10):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        expected = b"hello %d" % number
        assert await reader.readexactly(len(expected)) == expected

    for byte in b"GET /hello/slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.read()
    assert answer.endswith(b"\r\n\r\nhello slow"), answer
    writer.close()
    await writer.wait_closed()

    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nnot all of it")
    await writer.drain()
    writer.transport.abort()
    await events.upload_broken.wait()


async def main():
    events = Events()
    async with serving(make_app(events)) as address:
        await by_httpx(address, events)
        await by_aiohttp(address, events)
        await by_websockets(address)
        await by_hand(address, events)
        assert events.lifespan == ["startup"]
    assert events.lifespan == ["startup", "shutdown"]


common.run(main)
