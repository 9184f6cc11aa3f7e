"""A worker pool: producers, as many workers as one wants, a bounded queue between them, and the results in order."""

import asyncio


async def produce(queue, numbers):
    for number in numbers:
        await queue.put(number)  # waits while the workers are behind


async def work(queue, results, most):
    while True:
        number = await queue.get()
        most[0] = max(most[0], queue.qsize())
        try:
            if number == 13:
                raise ValueError("no thirteen, please")
            await asyncio.sleep(0)  # the work
            results[number] = number**2
        except ValueError as error:
            results[number] = error
        finally:
            queue.task_done()


async def main():
    queue, results, most = asyncio.Queue(maxsize=4), {}, [0]
    workers = [asyncio.create_task(work(queue, results, most), name=f"worker {i}") for i in range(3)]
    await asyncio.gather(produce(queue, range(0, 10)), produce(queue, range(10, 20)))
    await queue.join()
    for worker in workers:
        worker.cancel()
    print([type(done).__name__ for done in await asyncio.gather(*workers, return_exceptions=True)])
    print([results[number] for number in range(20)])
    print("never more than", queue.maxsize, "in the queue:", most[0] <= queue.maxsize)


asyncio.run(main())
