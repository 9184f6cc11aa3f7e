"""create_task starts a coroutine in the background: both wait at the same time, and the shorter wait ends first."""

import asyncio


async def say_after(delay, text):
    print("starting", text)
    await asyncio.sleep(delay)
    print(text)
    return text.upper()


async def main():
    slow = asyncio.create_task(say_after(0.05, "slow"))
    fast = asyncio.create_task(say_after(0.01, "fast"))
    print("nothing has started yet:", slow.done(), fast.done())
    print(await slow)
    print(await fast, "was ready:", fast.done(), fast.result())


asyncio.run(main())
