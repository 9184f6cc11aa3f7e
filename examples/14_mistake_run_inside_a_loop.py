"""A classic mistake: asyncio.run inside of a coroutine. It ends with a RuntimeError."""

import asyncio


async def work():
    print("never printed")


async def main():
    asyncio.run(work())


asyncio.run(main())
