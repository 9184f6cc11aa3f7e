"""aiohttp's server and client, over TCP, a Unix socket and TLS, with a certificate authority made here."""

import asyncio
import contextlib
import hashlib
import io
import pathlib
import ssl
import tempfile

import aiohttp
import common
import trustme
from aiohttp import web

BODY = bytes(range(256)) * 8192  # 2 MiB


def make_contexts():
    """Return the server's TLS context, and a client's that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return server, trusting


def make_app(folder, seen):
    async def hello(request):
        return web.Response(text=f"hello {request.match_info['name']} by {request.scheme}")

    async def upload(request):
        digest = hashlib.sha256()
        async for chunk in request.content.iter_chunked(65_536):
            digest.update(chunk)
        return web.json_response({"sha256": digest.hexdigest()})

    async def form(request):
        part = (await request.post())["file"]
        return web.json_response({"name": part.filename, "size": len(part.file.read())})

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for start in range(0, len(BODY), 50_000):
                await response.write(BODY[start : start + 50_000])
            await response.write_eof()
        except ConnectionResetError:
            pass  # a client of gone_in_the_middle(), if it was not while the handler waited, which cancels it
        return response

    async def file(request):
        return web.FileResponse(folder / "body")

    async def peer(request):
        secret = request.transport.get_extra_info("ssl_object")
        return web.json_response({"peer": request.remote, "tls": secret.version() if secret else None})

    async def talk(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.data == "bye":
                await socket.close(code=4001, message=b"as told")
            elif message.type is web.WSMsgType.TEXT:
                await socket.send_str(message.data[::-1])
            else:
                await socket.send_bytes(message.data[::-1])
        return socket

    async def close(app):
        seen.append("cleanup")

    app = web.Application(client_max_size=2 * len(BODY))
    app.on_cleanup.append(close)
    app.add_routes(
        [
            web.get("/hello/{name}", hello),
            web.post("/upload", upload),
            web.post("/form", form),
            web.get("/stream", stream),
            web.get("/file", file),
            web.get("/peer", peer),
            web.get("/talk", talk),
        ]
    )
    return app


@contextlib.asynccontextmanager
async def serving(app, make_site):
    """Serve app on the site that make_site(runner) returns, and yield the runner."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await make_site(runner).start()
    try:
        yield runner
    finally:
        await runner.cleanup()


async def pieces():
    for start in range(0, len(BODY), 10_000):
        yield BODY[start : start + 10_000]


async def requests(client, scheme, peer):
    async with client.get("/hello/you") as answer:
        assert (answer.status, await answer.text()) == (200, f"hello you by {scheme}")

    digest = {"sha256": hashlib.sha256(BODY).hexdigest()}
    for body in (io.BytesIO(BODY), pieces()):
        async with client.post("/upload", data=body) as answer:
            assert await answer.json() == digest

    fields = aiohttp.FormData()
    fields.add_field("file", io.BytesIO(BODY), filename="body.bin")
    async with client.post("/form", data=fields) as answer:
        assert await answer.json() == {"name": "body.bin", "size": len(BODY)}

    for path in ("/stream", "/file"):
        async with client.get(path) as answer:
            assert await answer.read() == BODY
    async with client.get("/file", headers={"Range": "bytes=1000-1999"}) as answer:
        assert (answer.status, await answer.read()) == (206, BODY[1000:2000])

    async with client.get("/peer") as answer:
        assert await answer.json() == {"peer": peer, "tls": "TLSv1.3" if scheme == "https" else None}


async def downloads(client):
    """Many large answers at once, through more requests than there are connections."""

    async def download(path):
        async with client.get(path) as answer:
            digest = hashlib.sha256()
            async for chunk in answer.content.iter_any():
                digest.update(chunk)
            return digest.digest()

    digests = await asyncio.gather(*(download(("/stream", "/file")[n % 2]) for n in range(16)))
    assert set(digests) == {hashlib.sha256(BODY).digest()}


async def conversation(client):
    async with client.ws_connect("/talk", max_msg_size=0) as socket:
        for number in range(100):
            await socket.send_str(f"message {number}")
            assert await socket.receive_str() == f"message {number}"[::-1]
        await socket.send_bytes(BODY)
        assert await socket.receive_bytes() == BODY[::-1]
        await socket.send_str("bye")
        end = await socket.receive()
        assert (end.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 4001), end


async def gone_in_the_middle(client):
    """Answers that the client drops, and requests that it cancels, spoil nothing for the next ones."""
    for _ in range(5):
        async with client.get("/stream") as answer:
            await answer.content.readexactly(100_000)
            answer.close()
    for _ in range(5):
        request = asyncio.create_task(client.post("/upload", data=pieces()))
        await asyncio.sleep(0)
        request.cancel()
        results = await asyncio.gather(request, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError), results
    async with client.get("/hello/again") as answer:
        assert answer.status == 200


async def not_trusted(address):
    """A certificate that the client does not trust, and a client that does not speak TLS."""
    async with aiohttp.ClientSession(address) as client:
        try:
            await client.get("/hello/nobody")
        except aiohttp.ClientConnectorCertificateError as error:
            assert "self-signed" in str(error) or "unable to get local issuer" in str(error), error
        else:
            raise AssertionError("trusted a certificate of nobody")
    async with aiohttp.ClientSession(address.replace("https", "http")) as client:
        try:
            await client.get("/hello/nobody")
        except aiohttp.ClientError:
            pass
        else:
            raise AssertionError("got an answer without TLS")


async def try_out(folder, scheme, peer, make_site, connector):
    """Serve in one way, and do over it everything there is."""
    seen = []
    async with serving(make_app(folder, seen), make_site) as runner:
        address = runner.addresses[0]
        port = address[1] if isinstance(address, tuple) else 80
        async with aiohttp.ClientSession(f"{scheme}://127.0.0.1:{port}", connector=connector) as client:
            await requests(client, scheme, peer)
            await downloads(client)
            await conversation(client)
            await gone_in_the_middle(client)
        if scheme == "https":
            await not_trusted(f"{scheme}://127.0.0.1:{port}")
    assert seen == ["cleanup"]


async def main():
    server_context, trusting = make_contexts()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "body").write_bytes(BODY)
        path = str(folder / "socket")

        def tcp(runner):
            return web.TCPSite(runner, "127.0.0.1", 0)

        def unix(runner):
            return web.UnixSite(runner, path)

        def tls(runner):
            return web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context)

        await try_out(folder, "http", "127.0.0.1", tcp, aiohttp.TCPConnector(limit=6))
        await try_out(folder, "http", "", unix, aiohttp.UnixConnector(path, limit=6))
        await try_out(folder, "https", "127.0.0.1", tls, aiohttp.TCPConnector(limit=6, ssl=trusting))


common.run(main)
