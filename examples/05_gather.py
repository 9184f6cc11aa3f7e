"""gather runs awaitables concurrently and returns their results in the order of its arguments."""

import asyncio


async def say_after(delay, text):
    await asyncio.sleep(delay)
    print(text)
    return text


async def fail(delay):
    await asyncio.sleep(delay)
    raise ValueError("failed")


async def main():
    # Coroutines.
    print(await asyncio.gather(say_after(0.05, "hello"), say_after(0.01, "world")))
    # Tasks.
    one = asyncio.create_task(say_after(0.05, "one"))
    two = asyncio.create_task(say_after(0.01, "two"))
    print(await asyncio.gather(one, two))
    # A list has to be unpacked.
    print(await asyncio.gather(*[say_after(0.02 * i, str(i)) for i in range(3)]))
    # Nothing.
    print(await asyncio.gather())
    # The first exception is raised, unless exceptions are asked for as results.
    try:
        await asyncio.gather(say_after(0.1, "goes on"), fail(0))
    except ValueError as error:
        print("raised:", error)
    print(await asyncio.gather(say_after(0.1, "good"), fail(0), return_exceptions=True))


asyncio.run(main())
