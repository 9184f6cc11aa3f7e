"""pyinstrument in its asynchronous mode, which tells what a task waits from what it works by the context at each event."""

import asyncio

import common
from pyinstrument import Profiler
from pyinstrument.frame import AWAIT_FRAME_IDENTIFIER

DELAY = 0.2  # so long that samples are taken, seconds


async def waits_by_sleep():
    await asyncio.sleep(DELAY)


async def waits_for_a_future():
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(DELAY, future.set_result, None)
    await future


async def waits_for_another_task():
    await asyncio.create_task(asyncio.sleep(DELAY))


async def waits_with_a_time_limit():
    await asyncio.wait_for(asyncio.sleep(DELAY), 10)


def works():
    return sum(range(10_000))


async def works_and_waits():
    for _ in range(20):
        works()
        await asyncio.sleep(DELAY / 20)


def waiting(frame):
    """Return the seconds that the functions called by a frame's have waited."""
    if frame.identifier == AWAIT_FRAME_IDENTIFIER:
        return frame.time
    return sum(waiting(child) for child in frame.children)


async def main():
    for function in (
        waits_by_sleep,
        waits_for_a_future,
        waits_for_another_task,
        waits_with_a_time_limit,
        works_and_waits,
    ):
        with Profiler(async_mode="enabled", interval=0.001) as profiler:
            await function()
        waited = waiting(profiler.last_session.root_frame())
        # A sleep is never shorter; a sample may be late by an interval.
        assert waited >= 0.9 * DELAY, (function.__name__, waited, profiler.output_text(show_all=True))


common.run(main)
