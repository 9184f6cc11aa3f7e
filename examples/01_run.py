"""A coroutine, and asyncio.run, which runs it on a new event loop and returns its result."""

import asyncio


async def main():
    print("hello")
    await asyncio.sleep(0.02)
    print("world")
    return 42


print(main)
print("the result is", asyncio.run(main()))
