"""A classic mistake: gather takes the awaitables one by one, not in a list. It ends with a TypeError."""

import asyncio


async def work():
    await asyncio.sleep(0.01)


async def main():
    await asyncio.gather([work(), work()])


asyncio.run(main())
