"""A TCP proxy: two tasks for each connection copy what comes, each in its direction, and pass its end on."""

import asyncio


async def copy(reader, writer):
    """Copy until the end, at the pace of the slower side; return how many bytes."""
    count = 0
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
        count += len(data)
    writer.write_eof()  # the other direction may go on
    return count


def proxy_to(target, log):
    async def proxy(reader, writer):
        target_reader, target_writer = await asyncio.open_connection(*target)
        counts = await asyncio.gather(copy(reader, target_writer), copy(target_reader, writer))
        log.put_nowait(counts)
        target_writer.close()
        writer.close()

    return proxy


async def shout(reader, writer):
    """The server behind it: answers all that has come in capitals, when its client has said that this is all."""
    writer.write((await reader.read()).upper())
    writer.close()


async def main():
    log = asyncio.Queue()
    async with await asyncio.start_server(shout, "127.0.0.1", 0) as target:
        proxy = proxy_to(target.sockets[0].getsockname(), log)
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"is anybody there? " * 100_000)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
    print(answer[:18], len(answer))
    print("bytes there and back:", await log.get())


asyncio.run(main())
