"""The older way: get the event loop, and run it by hand.

From Python 3.14 on asyncio.get_event_loop() no longer creates a loop; under python -m asyncio_c it still does.
"""

import asyncio


async def say_after(delay, text):
    await asyncio.sleep(delay)
    print(text)
    return text


loop = asyncio.get_event_loop()
tasks = [
    asyncio.ensure_future(say_after(0.05, "hello")),
    asyncio.ensure_future(say_after(0.01, "world")),
]
done, pending = loop.run_until_complete(asyncio.wait(tasks))
print(sorted(task.result() for task in done), len(pending))
print(loop.run_until_complete(say_after(0.01, "again")))
print(loop.run_until_complete(asyncio.gather(say_after(0.05, "one"), say_after(0.01, "two"))))

loop.call_soon(print, "a callback")
loop.call_soon(loop.stop)
loop.run_forever()
loop.close()
print("closed:", loop.is_closed())
