"""Below the coroutines: callbacks, timers, and futures, which are results to come."""

import asyncio


async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    print(future)

    loop.call_later(0.05, print, "second timer")
    loop.call_later(0.01, print, "first timer")
    cancelled = loop.call_later(0.01, print, "never seen")
    cancelled.cancel()
    loop.call_soon(print, "soon")
    loop.call_later(0.06, future.set_result, "done")
    future.add_done_callback(lambda f: print("callback:", f.result()))

    print(await future)
    await asyncio.sleep(0)

    try:
        future.set_result("again")
    except asyncio.InvalidStateError as error:
        print("InvalidStateError:", error)

    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)


asyncio.run(main())
