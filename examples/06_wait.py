"""wait gives two sets, of the tasks that are done and of those that are pending."""

import asyncio


async def say_after(delay, text):
    await asyncio.sleep(delay)
    print(text)
    return text


async def fail():
    raise ValueError("failed")


def names(tasks):
    return sorted(task.get_name() for task in tasks)


async def main():
    tasks = [
        asyncio.create_task(say_after(0.05, "hello"), name="slow"),
        asyncio.create_task(say_after(0.01, "world"), name="fast"),
    ]
    done, pending = await asyncio.wait(tasks)
    print(names(done), names(pending), sorted(task.result() for task in done))

    tasks = [
        asyncio.create_task(say_after(0.01, "first"), name="first"),
        asyncio.create_task(say_after(60, "last"), name="last"),
    ]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    print(names(done), names(pending))

    done, pending = await asyncio.wait(pending, timeout=0.001)
    print(names(done), names(pending))

    tasks = [*pending, asyncio.create_task(fail(), name="failing")]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    print(names(done), names(pending), repr(done.pop().exception()))

    for task in pending:
        task.cancel()
    done, pending = await asyncio.wait(pending)
    print(names(done), [task.cancelled() for task in done])


asyncio.run(main())
