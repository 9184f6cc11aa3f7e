"""A classic mistake: nobody asks a task for its result, so its exception is only logged when the task goes away."""

import asyncio


async def fail():
    raise ValueError("nobody listens")


async def main():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0.01)
    print("main has not noticed:", task.done())
    del task


asyncio.run(main())
