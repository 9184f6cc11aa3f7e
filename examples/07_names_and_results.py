"""A task knows its name, its state, its result and its exception."""

import asyncio


async def answer():
    print("running in", asyncio.current_task().get_name())
    await asyncio.sleep(0.01)
    return 42


async def fail():
    raise LookupError("nothing there")


async def main():
    task = asyncio.create_task(answer(), name="question")
    print(task)
    try:
        task.result()
    except asyncio.InvalidStateError as error:
        print("too early:", error)
    await task
    print(task)
    print(task.result(), task.exception(), task.done(), task.cancelled())

    failing = asyncio.create_task(fail())
    failing.set_name("failing")
    try:
        await failing
    except LookupError as error:
        print("caught", repr(error), failing.exception() is error)
    print(failing)

    cancelled = asyncio.create_task(asyncio.sleep(60), name="sleeper")
    await asyncio.sleep(0)
    print("cancelling:", cancelled.cancel("no longer wanted"), cancelled.cancelling(), cancelled.done())
    try:
        await cancelled
    except asyncio.CancelledError as error:
        print("cancelled:", error, cancelled.cancelled())
    print([task.get_name() for task in asyncio.all_tasks()])


asyncio.run(main())
