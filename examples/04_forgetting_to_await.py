"""What happens to work that nobody waits for."""

import asyncio


async def work(name, delay):
    print(name, "starts")
    try:
        await asyncio.sleep(delay)
    except asyncio.CancelledError:
        print(name, "is cancelled")
        raise
    print(name, "ends")


async def main():
    # A coroutine that is called but not awaited does nothing at all, and Python warns about it.
    work("never awaited", 0)
    # So with sleep itself: this does not wait.
    asyncio.sleep(0.01)
    # A task does start, but run() cancels what is left when main returns.
    asyncio.create_task(work("task", 60))
    await asyncio.sleep(0)
    print("main returns")


asyncio.run(main())
