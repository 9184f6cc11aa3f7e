"""Producers and consumers, with a queue, an event and a lock."""

import asyncio


async def produce(queue, lock, log):
    for number in range(5):
        await queue.put(number)
        async with lock:
            log.append(number)
    await queue.put(None)


async def consume(queue, finished):
    total = 0
    while (number := await queue.get()) is not None:
        total += number
        await asyncio.sleep(0)
    finished.set()
    return total


async def main():
    queue, lock, finished, log = asyncio.Queue(maxsize=2), asyncio.Lock(), asyncio.Event(), []
    consumer = asyncio.create_task(consume(queue, finished))
    await asyncio.gather(produce(queue, lock, log), finished.wait())
    print(log, await consumer)


asyncio.run(main())
