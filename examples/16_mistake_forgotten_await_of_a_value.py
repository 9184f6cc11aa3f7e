"""A classic mistake: using a coroutine as if it were its result, and awaiting what cannot be awaited."""

import asyncio


async def answer():
    return 42


async def main():
    try:
        print(answer() + 1)
    except TypeError as error:
        print("TypeError:", error)
    try:
        await 42
    except TypeError as error:
        print("TypeError:", error)
    try:
        await asyncio.wait([answer()])
    except TypeError as error:
        print("TypeError:", error)
    try:
        asyncio.create_task(answer)
    except TypeError as error:
        print("TypeError:", str(error).partition(" at ")[0])


asyncio.run(main())
