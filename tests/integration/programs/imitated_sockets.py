"""PySocks' sockets, of a derived class that connects by way of a proxy, and mocket's, which only look like sockets."""

import asyncio
import ipaddress
import json

import common
import socks
from mocket import Mocket, async_mocketize
from mocket.mocks.mockhttp import Entry


async def relay(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def proxy(reader, writer):
    """A SOCKS5 proxy without authentication, for IPv4."""
    version, count = await reader.readexactly(2)
    assert version == 5
    await reader.readexactly(count)
    writer.write(b"\5\0")
    head = await reader.readexactly(10)
    assert head[:4] == b"\5\1\0\1"
    host, port = str(ipaddress.IPv4Address(head[4:8])), int.from_bytes(head[8:])
    upstream_reader, upstream_writer = await asyncio.open_connection(host, port)
    writer.write(b"\5\0\0\1" + bytes(6))
    await asyncio.gather(relay(reader, upstream_writer), relay(upstream_reader, writer))


async def serve(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()


async def through_a_proxy():
    async with (
        await asyncio.start_server(proxy, "127.0.0.1", 0) as proxy_server,
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
    ):
        sock = socks.socksocket()
        sock.set_proxy(socks.SOCKS5, *proxy_server.sockets[0].getsockname())
        await asyncio.to_thread(sock.connect, server.sockets[0].getsockname())
        reader, writer = await asyncio.open_connection(sock=sock)
        assert writer.get_extra_info("sockname") == sock.getsockname()
        writer.write(b"question\n")
        assert await reader.read() == b"QUESTION\n"
        writer.close()
        await writer.wait_closed()
    await common.others_ended()


@async_mocketize(strict_mode=True)
async def of_no_server():
    Entry.single_register(Entry.GET, "http://no.such.host.invalid/", body=json.dumps({"answer": 42}))
    reader, writer = await asyncio.open_connection("no.such.host.invalid", 80)
    writer.write(b"GET / HTTP/1.1\r\nHost: no.such.host.invalid\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    assert json.loads(await reader.readexactly(14)) == {"answer": 42}
    writer.close()
    await writer.wait_closed()
    assert len(Mocket.request_list()) == 1


async def main():
    await through_a_proxy()
    await of_no_server()


common.run(main)
