"""A rate limiter: so many at once, and so many in a time; who comes too early waits for its turn, in the order of coming."""

import asyncio


class Limiter:
    """Lets one through every `interval` seconds, and at the beginning `burst` at once."""

    def __init__(self, interval, burst):
        self.interval, self.ahead = interval, interval * (burst - 1)
        self.next = float("-inf")  # when the next one is due

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        due = max(self.next, loop.time() - self.ahead)
        self.next = due + self.interval
        await asyncio.sleep(due - loop.time())
        return due

    async def __aexit__(self, *exception):
        pass


async def call(limiter, at_once, number, log):
    async with limiter as due, at_once:
        log.append((number, due, asyncio.get_running_loop().time()))
        await asyncio.sleep(0.001)


async def main():
    started = asyncio.get_running_loop().time()
    log, limiter, at_once = [], Limiter(interval=0.01, burst=3), asyncio.Semaphore(2)
    await asyncio.gather(*(call(limiter, at_once, number, log) for number in range(8)))
    numbers, dues, times = zip(*log)
    print(numbers)
    print("three at once, and five that waited:", times[-1] - started >= 0.05)
    print("one in an interval:", all(dues[i + 1] >= dues[i] + limiter.interval for i in range(7)))
    print("none too early:", all(time >= due for due, time in zip(dues, times)))


asyncio.run(main())
