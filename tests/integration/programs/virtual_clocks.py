"""looptime and aiotools: clocks that pass when a loop waits, by replacing its time() and its selector's select()."""

import asyncio
import time

import aiotools
import common
import looptime


async def with_aiotools():
    loop = asyncio.get_running_loop()
    clock = aiotools.VirtualClock()
    with clock.patch_loop():
        assert loop.time() == 0
        done = []

        async def sleep(delay):
            await asyncio.sleep(delay)
            done.append((delay, round(loop.time())))

        await asyncio.gather(*(sleep(delay) for delay in (3000, 1000, 2000)))
        assert done == [(1000, 1000), (2000, 2000), (3000, 3000)], done
        assert await asyncio.to_thread(lambda: "in a thread") == "in a thread"
    await asyncio.sleep(0.001)
    await loop.shutdown_default_executor()


async def with_looptime():
    loop = asyncio.get_running_loop()
    looptime.patch_event_loop(loop, start=100, _enabled=False)
    assert isinstance(loop, looptime.LoopTimeEventLoop)
    with loop.looptime_enabled():
        assert loop.time() == 100
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 3600)
        except TimeoutError:
            pass
        assert loop.time() == 3700
        async with asyncio.timeout(10):
            await asyncio.sleep(0.1 + 0.2)
        assert round(loop.time(), 3) == 3700.3
        # What comes from outside counts meanwhile.
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"question\n")
        assert await reader.readline() == b"QUESTION\n"
        assert await reader.read() == b"" and loop.time() > 3760
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()


async def answer(reader, writer):
    writer.write((await reader.readline()).upper())
    await asyncio.sleep(60)
    writer.close()
    await writer.wait_closed()


async def main():
    started = time.monotonic()
    await with_aiotools()
    await with_looptime()
    assert time.monotonic() - started < common.TIMEOUT_S


common.run(main)
