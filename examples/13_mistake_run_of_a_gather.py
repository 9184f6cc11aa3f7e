"""A classic mistake: gather has to be called where a loop runs, inside of a coroutine. It ends with a ValueError.

From Python 3.14 on it is a RuntimeError already by gather itself, unless there is a current loop.
"""

import asyncio


async def work():
    await asyncio.sleep(0.01)


asyncio.run(asyncio.gather(work(), work()))
