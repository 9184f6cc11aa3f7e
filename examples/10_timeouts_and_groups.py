"""Structured concurrency: TaskGroup and timeout."""

import asyncio


async def work(name, delay):
    try:
        await asyncio.sleep(delay)
    except asyncio.CancelledError:
        print(name, "is cancelled")
        raise
    print(name, "ends")
    return name


async def fail():
    await asyncio.sleep(0.01)
    raise ValueError("failed")


async def main():
    async with asyncio.TaskGroup() as group:
        one = group.create_task(work("one", 0.01))
        group.create_task(work("two", 0.05))
    print("the group has ended:", one.result())

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work("sibling", 60))
            group.create_task(fail())
    except* ValueError as errors:
        print("raised:", errors.exceptions)

    try:
        async with asyncio.timeout(0.01):
            await work("too slow", 60)
    except TimeoutError:
        print("timed out")

    print(await asyncio.wait_for(work("fast enough", 0.01), timeout=5))


asyncio.run(main())
