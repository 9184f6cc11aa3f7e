"""The operations of `python -m benchmarks core`, in the order of the report.

Each one is what a program would write, with a return value that a wrong implementation cannot produce: an order of
events, a count, the results themselves. What the loops have in common (the `for`, the coroutine) is part of the time.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import threading
import time
from typing import Any

from .registry import GROWTH, LIFECYCLE, MEMORY, NATIVE, OBSERVED, OTHER, operation
from .targets import Target

FAR = 3600.0  # seconds; a deadline that never comes


async def value(x: Any) -> Any:
    return x


# ---- Native code in asyncio_c ----


@operation("sleep(0), one task", NATIVE, expect=lambda n: (n, ["other ran"]))
async def sleep_zero_one(n: int) -> tuple[int, list[str]]:
    """One task gives way to the loop with `await asyncio.sleep(0)`, again and again."""
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "other ran")
    result = 0
    for i in range(n):
        result = await asyncio.sleep(0, i + 1)
    return result, ran


@operation("sleep(0), 100 tasks", NATIVE, per=100, expect=lambda n: [100] * 100)
async def sleep_zero_100(n: int) -> list[int]:
    """A hundred tasks take turns with `await asyncio.sleep(0)`; reported per turn."""
    started = 0

    async def turns() -> int:
        nonlocal started
        started += 1
        for _ in range(n):
            await asyncio.sleep(0)
        return started  # 100 for each, if the first sleep let the other tasks start

    tasks = [asyncio.create_task(turns()) for _ in range(100)]
    return [await task for task in tasks]


@operation("create_task + await", NATIVE, expect=lambda n: n - 1)
async def create_task_await(n: int) -> Any:
    """Make a task of a coroutine that returns at once, and await it."""
    result = None
    for i in range(n):
        result = await asyncio.create_task(value(i))
    return result


async def gather_of(count: int, n: int) -> list[int]:
    results: list[int] = []
    for _ in range(n):
        results = await asyncio.gather(*map(value, range(count)))
    return results


@operation("gather of 10", NATIVE, per=10, expect=lambda n: list(range(10)))
async def gather_10(n: int) -> list[int]:
    """`asyncio.gather` of 10 coroutines that return at once; reported per coroutine."""
    return await gather_of(10, n)


@operation("gather of 1,000", NATIVE, per=1000, expect=lambda n: list(range(1000)))
async def gather_1000(n: int) -> list[int]:
    """`asyncio.gather` of 1,000 coroutines that return at once; reported per coroutine."""
    return await gather_of(1000, n)


@operation("wait of 1,000", NATIVE, per=1000, expect=lambda n: (list(range(1000)), 0))
async def wait_1000(n: int) -> tuple[list[int], int]:
    """`asyncio.wait` for 1,000 new tasks that return at once; reported per task."""
    for _ in range(n):
        done, pending = await asyncio.wait([asyncio.create_task(value(i)) for i in range(1000)])
    return sorted(task.result() for task in done), len(pending)


@operation("TaskGroup of 100", NATIVE, per=100, expect=lambda n: list(range(100)))
async def task_group_100(n: int) -> list[int]:
    """A `TaskGroup` of 100 tasks that return at once; reported per task."""
    for _ in range(n):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(value(i)) for i in range(100)]
    return [task.result() for task in tasks]


@operation("call_soon, chained", NATIVE, expect=lambda n: n)
async def call_soon_chained(n: int) -> int:
    """A callback that schedules itself with `call_soon`: one callback in each turn of the loop."""
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    count = 0

    def again() -> None:
        nonlocal count
        count += 1
        if count < n:
            loop.call_soon(again)
        else:
            finished.set_result(count)

    loop.call_soon(again)
    return await finished


@operation("call_soon, batch of 1,000", NATIVE, per=1000, expect=lambda n: list(range(1000)) * n)
async def call_soon_batch(n: int) -> list[int]:
    """Schedule 1,000 callbacks with `call_soon` and wait until the last one has run; reported per callback."""
    loop = asyncio.get_running_loop()
    ran: list[int] = []
    for _ in range(n):
        finished = loop.create_future()
        for i in range(1000):
            loop.call_soon(ran.append, i)
        loop.call_soon(finished.set_result, None)
        await finished
    return ran


@operation("call_later, fired", NATIVE, per=20_000, expect=lambda n: list(range(20_000)))
async def call_later_fired(n: int) -> list[int]:
    """Schedule 20,000 callbacks with `call_later` in 1 ms, and wait until the last has run; reported per callback.

    So many, because the millisecond itself is part of the time: it is at most 50 ns of each.
    """
    loop = asyncio.get_running_loop()
    for _ in range(n):
        ran: list[int] = []
        finished = loop.create_future()
        for i in range(20_000):
            loop.call_later(0.001, ran.append, i)
        loop.call_later(0.001, finished.set_result, None)
        await finished
    ran.sort()  # a loop may round deadlines, and then ties may come in any order
    return ran


others: tuple[Any, list[Any]] = (None, [])  # a loop, and the timers that are pending in it


def have_others_pending(loop: asyncio.AbstractEventLoop) -> None:
    """Have 100,000 timers pending in `loop` that come in an hour or two, in no order. The call before the clock starts does it."""
    global others
    if others[0] is not loop:
        # 7,919 and 100,000 have no common factor: each deadline comes once.
        others = loop, [loop.call_later(FAR * (1 + i * 7919 % 100_000 / 1e5), print) for i in range(100_000)]


@operation("call_later, 100,000 others", NATIVE, per=20_000, expect=lambda n: list(range(20_000)))
async def call_later_among_100_000(n: int) -> list[int]:
    """The same as `call_later, fired` while 100,000 others are pending, as the time limits of connections are."""
    have_others_pending(asyncio.get_running_loop())
    return await call_later_fired(n)


@operation("call_later, cancelled", NATIVE, per=1000, expect=lambda n: (True, []))
async def call_later_cancelled(n: int) -> tuple[bool, list[int]]:
    """Schedule a callback with `call_later` in an hour and cancel it, with a turn of the loop after each 1,000."""
    loop = asyncio.get_running_loop()
    ran: list[int] = []
    for _ in range(n):
        for _ in range(1000):
            handle = loop.call_later(FAR, ran.append, 1)
            handle.cancel()
        await asyncio.sleep(0)  # gives the loop the occasion to drop what was cancelled
    return handle.cancelled(), ran


@operation("10,000 short sleeps in a gather", NATIVE, per=10_000, expect=lambda n: list(range(10_000)))
async def short_sleeps(n: int) -> list[int]:
    """`asyncio.gather` of 10,000 `asyncio.sleep` of 1 to 2 ms; reported per sleep."""
    results: list[int] = []
    for _ in range(n):
        results = await asyncio.gather(*[asyncio.sleep(0.001 + i % 100 * 0.00001, i) for i in range(10_000)])
    return results


@operation("future round trip", NATIVE, expect=lambda n: n - 1)
async def future_round_trip(n: int) -> Any:
    """Await a new future that a callback resolves in the next turn of the loop."""
    loop = asyncio.get_running_loop()
    result = None
    for i in range(n):
        future = loop.create_future()
        loop.call_soon(future.set_result, i)
        result = await future
    return result


@operation("call_soon_threadsafe", NATIVE, expect=lambda n: list(range(n)))
async def call_soon_threadsafe(n: int) -> list[int]:
    """Another thread schedules callbacks with `call_soon_threadsafe` as fast as it can, while the loop runs them."""
    loop = asyncio.get_running_loop()
    ran: list[int] = []
    finished = loop.create_future()

    def produce() -> None:
        for i in range(n):
            loop.call_soon_threadsafe(ran.append, i)
        loop.call_soon_threadsafe(finished.set_result, None)

    thread = threading.Thread(target=produce)
    thread.start()
    await finished
    thread.join()
    return ran


# ---- What is made of tasks and futures: in asyncio, Python code on top of them ----


@operation("Queue ping-pong", OTHER, expect=lambda n: n - 1)
async def queue_ping_pong(n: int) -> Any:
    """Two tasks pass a number to and fro through two queues; reported per round trip."""
    ping: asyncio.Queue[int] = asyncio.Queue()
    pong: asyncio.Queue[int] = asyncio.Queue()

    async def echo() -> None:
        for _ in range(n):
            await pong.put(await ping.get())

    task = asyncio.create_task(echo())
    result = None
    for i in range(n):
        await ping.put(i)
        result = await pong.get()
    await task
    return result


@operation("Event ping-pong", OTHER, expect=lambda n: n)
async def event_ping_pong(n: int) -> int:
    """Two tasks wake each other through two events; reported per round trip."""
    ping, pong = asyncio.Event(), asyncio.Event()
    rounds = 0

    async def echo() -> None:
        nonlocal rounds
        for _ in range(n):
            await ping.wait()
            ping.clear()
            rounds += 1
            pong.set()

    task = asyncio.create_task(echo())
    for _ in range(n):
        ping.set()
        await pong.wait()
        pong.clear()
    await task
    return rounds


@operation("Condition ping-pong", OTHER, expect=lambda n: n)
async def condition_ping_pong(n: int) -> int:
    """Two tasks take turns under a condition: notify, and wait to be notified; reported per round trip."""
    condition = asyncio.Condition()
    rounds = 0

    async def echo() -> None:
        nonlocal rounds
        async with condition:
            while rounds < n:
                rounds += 1
                condition.notify()
                await condition.wait()

    task = asyncio.create_task(echo())
    await asyncio.sleep(0)
    async with condition:
        for _ in range(n - 1):
            condition.notify()
            await condition.wait()
        condition.notify()
    await task
    return rounds


@operation("Lock, nobody waits", OTHER, expect=lambda n: False)
async def lock_uncontended(n: int) -> bool:
    """`async with lock` of what is free."""
    lock = asyncio.Lock()
    for _ in range(n):
        async with lock:
            pass
    return lock.locked()


@operation("Condition, nobody waits", OTHER, expect=lambda n: False)
async def condition_uncontended(n: int) -> bool:
    """`async with condition` of what is free, and a notification that nobody waits for."""
    condition = asyncio.Condition()
    for _ in range(n):
        async with condition:
            condition.notify()
    return condition.locked()


@operation("Queue, nobody waits", OTHER, expect=lambda n: n - 1)
async def queue_uncontended(n: int) -> int:
    """`put()` and `get()` of a queue that has room, and then an item."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    item = -1
    for i in range(n):
        await queue.put(i)
        item = await queue.get()
    return item


@operation("PriorityQueue, 100 items", OTHER, per=100, expect=lambda n: list(range(100)))
async def priority_queue(n: int) -> list[int]:
    """Put a hundred items in, in descending order, and take them out; reported per item."""
    queue: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
    items: list[int] = []
    for _ in range(n):
        for item in range(99, -1, -1):
            await queue.put(item)
        items = [await queue.get() for _ in range(100)]
    return items


@operation("Barrier of 10", OTHER, per=10, expect=lambda n: sorted([*range(10)] * n))
async def barrier(n: int) -> list[int]:
    """Ten tasks meet at a barrier again and again; reported per task and meeting."""
    barrier = asyncio.Barrier(10)

    async def meet() -> list[int]:
        return [await barrier.wait() for _ in range(n)]

    tasks = [asyncio.create_task(meet()) for _ in range(10)]
    places: list[int] = []
    for task in tasks:
        places += await task
    return sorted(places)


@operation("as_completed of 100", OTHER, per=100, expect=lambda n: list(range(100)))
async def as_completed(n: int) -> list[int]:
    """`asyncio.as_completed` of a hundred coroutines that return at once; reported per coroutine."""
    results: list[int] = []
    for _ in range(n):
        results = [await awaitable for awaitable in asyncio.as_completed([value(i) for i in range(100)])]
    return sorted(results)


async def contend(gate: Any, tasks: int, n: int) -> tuple[int, int]:
    """Have `tasks` tasks enter `gate` `n` times each; return how often it was entered and how many were inside."""
    entered = inside = 0
    together: set[int] = set()

    async def user() -> None:
        nonlocal entered, inside
        for _ in range(n):
            async with gate:
                entered += 1
                inside += 1
                together.add(inside)
                await asyncio.sleep(0)
                inside -= 1

    for task in [asyncio.create_task(user()) for _ in range(tasks)]:
        await task
    return entered, max(together)


@operation("Semaphore of 10, 100 tasks", OTHER, per=100, expect=lambda n: (100 * n, 10))
async def semaphore_contended(n: int) -> tuple[int, int]:
    """A hundred tasks share a semaphore of 10, and give way to the loop while they hold it; reported per entry."""
    return await contend(asyncio.Semaphore(10), 100, n)


@operation("Lock, 10 tasks", OTHER, per=10, expect=lambda n: (10 * n, 1))
async def lock_contended(n: int) -> tuple[int, int]:
    """Ten tasks share a lock, and give way to the loop while they hold it; reported per entry."""
    return await contend(asyncio.Lock(), 10, n)


@operation("timeout()", OTHER, expect=lambda n: False)
async def timeout_unused(n: int) -> bool:
    """`async with asyncio.timeout(...)` around one `sleep(0)`: a deadline that is set, and not needed."""
    for _ in range(n):
        async with asyncio.timeout(FAR) as scope:
            await asyncio.sleep(0)
    return scope.expired()


@operation("wait_for", OTHER, expect=lambda n: n - 1)
async def wait_for(n: int) -> Any:
    """`asyncio.wait_for` of a coroutine that gives way to the loop once."""
    result = None
    for i in range(n):
        result = await asyncio.wait_for(asyncio.sleep(0, i), FAR)
    return result


@operation("shield", OTHER, expect=lambda n: n - 1)
async def shield(n: int) -> Any:
    """`asyncio.shield` of a coroutine that returns at once."""
    result = None
    for i in range(n):
        result = await asyncio.shield(value(i))
    return result


@operation("cancel a sleeping task", OTHER, expect=lambda n: n)
async def cancel_sleeping(n: int) -> int:
    """Start a task that sleeps for an hour, cancel it, and await its CancelledError."""
    cancelled = 0
    for _ in range(n):
        task = asyncio.create_task(asyncio.sleep(FAR))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            cancelled += 1
    return cancelled


@operation("run_in_executor", OTHER, expect=lambda n: n - 1)
async def run_in_executor(n: int) -> Any:
    """Await one trivial call in the default executor at a time: two changes of thread each."""
    loop = asyncio.get_running_loop()
    result = None
    for i in range(n):
        result = await loop.run_in_executor(None, abs, -i)
    return result


@operation("readline() of a child", OTHER, per=100_000, expect=lambda n: (100_000 * n, b"100000\n", 0))
async def readline_of_child(n: int) -> tuple[int, bytes, int]:
    """Read what `seq 100000` prints with `await process.stdout.readline()`; reported per line."""
    lines, last, status = 0, b"", -1
    for _ in range(n):
        process = await asyncio.create_subprocess_exec("seq", "100000", stdout=asyncio.subprocess.PIPE)
        assert process.stdout
        while line := await process.stdout.readline():
            lines += 1
            last = line
        status = await process.wait()
    return lines, last, status


@operation("to_thread", OTHER, expect=lambda n: n - 1)
async def to_thread(n: int) -> int:
    """Await one trivial call by `asyncio.to_thread` at a time."""
    result = -1
    for i in range(n):
        result = await asyncio.to_thread(abs, -i)
    return result


# ---- Life cycle ----


@operation("loop open + close", LIFECYCLE, expect=lambda n: (False, True))
def loop_open_close(n: int, target: Target) -> tuple[bool, bool]:
    """Make an event loop and close it."""
    for _ in range(n):
        loop = target.new_loop()
        was_closed = loop.is_closed()
        loop.close()
    return was_closed, loop.is_closed()


@operation("run(noop())", LIFECYCLE, expect=lambda n: n - 1)
def run_noop(n: int, target: Target) -> Any:
    """`asyncio.run` of a coroutine that returns at once."""
    result = None
    for i in range(n):
        result = target.run(value(i))
    return result


# ---- Memory ----


def resident_bytes() -> int:
    """Return the resident set size of this process in bytes (Linux)."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@operation("100,000 sleeping tasks", MEMORY, per=100_000, unit="B", alone=True, expect=lambda n: 100_000 * n)
async def sleeping_tasks(n: int) -> tuple[int, int]:
    """Growth of the resident memory when 100,000 tasks start and sleep; reported per task."""
    count = 100_000 * n
    started = 0

    async def sleeper() -> None:
        nonlocal started
        started += 1
        await asyncio.sleep(FAR)

    before = resident_bytes()
    tasks = [asyncio.create_task(sleeper()) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # every task has had its first step now
    grown = resident_bytes() - before
    sleeping = min(started, sum(not task.done() for task in tasks), len(asyncio.all_tasks()) - 1)
    return grown, sleeping


# ---- Growth: a few and many, of which the time for each is to be compared ----


async def write_behind(pieces: int, n: int) -> tuple[bool, int]:
    loop = asyncio.get_running_loop()
    kept = 0
    for _ in range(n):
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            transport.write(bytes(100_000))  # more than the socket takes
            before = transport.get_write_buffer_size()
            for _ in range(pieces):
                transport.write(b"x")
            kept = transport.get_write_buffer_size() - before
            transport.abort()
            await asyncio.sleep(0)
    return before > 0, kept


@operation("write() behind up to 500 others", GROWTH, per=500, expect=lambda n: (True, 500))
async def write_behind_500(n: int) -> tuple[bool, int]:
    """Write a byte to a socket that takes no more, 500 times; reported per write."""
    return await write_behind(500, n)


@operation("write() behind up to 16,000 others", GROWTH, per=16_000, expect=lambda n: (True, 16_000))
async def write_behind_16000(n: int) -> tuple[bool, int]:
    """The same 16,000 times."""
    return await write_behind(16_000, n)


async def cancel_among(count: int, n: int) -> tuple[int, list[int]]:
    loop = asyncio.get_running_loop()
    chance = random.Random(1)
    ran: list[int] = []
    for _ in range(n):
        handles = [loop.call_later(FAR + chance.random(), ran.append, i) for i in range(count)]
        chance.shuffle(handles)
        for handle in handles:
            handle.cancel()
        await asyncio.sleep(0)  # gives the loop the occasion to drop what was cancelled
    return sum(handle.cancelled() for handle in handles), ran


@operation("cancel among 500 timers", GROWTH, per=500, expect=lambda n: (500, []))
async def cancel_among_500(n: int) -> tuple[int, list[int]]:
    """Set 500 timers, and cancel them in random order; reported per timer."""
    return await cancel_among(500, n)


@operation("cancel among 20,000 timers", GROWTH, per=20_000, expect=lambda n: (20_000, []))
async def cancel_among_20000(n: int) -> tuple[int, list[int]]:
    """The same with 20,000."""
    return await cancel_among(20_000, n)


# ---- Observed: they measure by themselves, what is not theirs left out ----


async def spawn(children: int) -> tuple[int, list[int]]:
    """The median of their times: the few that the kernel has wait for a processor do not count."""
    times, statuses = [], []
    for _ in range(children):
        start = time.perf_counter_ns()
        process = await asyncio.create_subprocess_exec("/bin/true")
        statuses.append(await process.wait())
        times.append(time.perf_counter_ns() - start)
    return int(statistics.median(times)), statuses


@operation("spawn a child", OBSERVED, alone=True, expect=lambda n: [0] * 50)
async def spawn_child(n: int) -> tuple[int, list[int]]:
    """Start `/bin/true` and wait for its end; the median of 50 times."""
    return await spawn(50)


@operation("spawn a child, 800 MB resident", OBSERVED, alone=True, expect=lambda n: (800, [0] * 50))
async def spawn_child_of_a_large_process(n: int) -> tuple[int, tuple[int, list[int]]]:
    """The same in a process that has written to 800 MB of memory."""
    ballast = b"x" * 800_000_000
    elapsed, statuses = await spawn(50)
    return elapsed, (min(resident_bytes(), len(ballast)) // 1_000_000, statuses)


@operation("processor time of an idle second", OBSERVED, alone=True, expect=lambda n: ["over"])
async def idle_second(n: int) -> tuple[int, list[str]]:
    """The processor time of a loop that watches a socket, and has a timer in a second and nothing else to do."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    over: list[str] = []
    with ours, theirs:
        ours.setblocking(False)
        loop.add_reader(ours, over.append, "data of nobody")
        finished = loop.create_future()
        loop.call_later(1, finished.set_result, "over")
        start = time.process_time_ns()
        over.append(await finished)
        used = time.process_time_ns() - start
        loop.remove_reader(ours)
    return used, over
