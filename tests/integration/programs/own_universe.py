"""async-solipsism: a loop of its own, of asyncio's classes, with sockets and a clock that are not of this world."""

import asyncio
import os
import time

import async_solipsism
import common

# All of the time here is the loop's own, also that of the time limit.
loop_package = os.environ.pop("EXPECTED_LOOP")


async def answer(reader, writer):
    await asyncio.sleep(5)
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(answer, "localhost", 1234)
    reader, writer = await asyncio.open_connection("localhost", 1234)
    started = loop.time()
    writer.write(b"question\n")
    assert await reader.readline() == b"QUESTION\n"
    assert loop.time() == started + 5
    try:
        await asyncio.wait_for(reader.read(), 0)
    except TimeoutError:
        pass
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(10))
        queue = asyncio.Queue()
        group.create_task(queue.put("item"))
        assert await queue.get() == "item"
    assert loop.time() == started + 5 + 10
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def limited(main):
    """The name of the loop's package is that of the tool, whatever asyncio would make."""
    os.environ["EXPECTED_LOOP"] = "async_solipsism"
    await common.limited(main)


def run(function, argument):
    loop = async_solipsism.EventLoop()
    try:
        started = time.monotonic()
        loop.run_until_complete(limited(argument))
        assert time.monotonic() - started < common.TIMEOUT_S
    finally:
        loop.close()


assert common.package(type(loop := asyncio.new_event_loop())) == loop_package
loop.close()
common.run_by(run, main)
