"""Awaiting coroutines one after the other: the second starts when the first has ended, so the times add up."""

import asyncio
import time


async def say_after(delay, text):
    await asyncio.sleep(delay)
    print(text)
    return text.upper()


async def main():
    print(await say_after(0.03, "first"))
    print(await say_after(0.02, "second"))


started = time.monotonic()
asyncio.run(main())
print("as long as both together:", time.monotonic() - started >= 0.05)
