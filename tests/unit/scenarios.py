"""Programs whose order of events is compared between stock asyncio and ours by test_order.py.

Each is a coroutine function `scenario(impl, loop, log)`, run on a virtual clock where one iteration is one second; it
calls `log(...)` wherever something observable happens. Names with a native twin are taken from `impl`, all others from
`asyncio`. `SCENARIOS` is filled by the decorator.
"""

import asyncio

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def watched(log, name):
    """Return a done-callback that logs how a future ended."""

    def callback(future):
        if future.cancelled():
            log(name, "cancelled")
        elif future.exception() is not None:
            log(name, "failed", future.exception())
        else:
            log(name, "result", repr(future.result()))

    return callback


async def worker(impl, log, name, steps=1, delay=0, error=None, result=None):
    """Log each step; end with `result` or `error`; log a cancellation and pass it on."""
    try:
        for step in range(steps):
            log(name, step)
            await impl.sleep(delay)
    except asyncio.CancelledError as exc:
        log(name, "cancelled with", exc.args)
        raise
    finally:
        log(name, "leaves")
    if error is not None:
        raise error
    return result


async def settle(impl, steps=12):
    for _ in range(steps):
        await impl.sleep(0)


# ---- callbacks, timers, tasks ----


@scenario
async def callbacks_and_tasks_interleave(impl, loop, log):
    loop.call_soon(log, "callback 1")
    task = impl.create_task(worker(impl, log, "task", steps=2))
    loop.call_soon(log, "callback 2")
    task.add_done_callback(watched(log, "task"))
    loop.call_soon(lambda: loop.call_soon(log, "nested"))
    await settle(impl)


@scenario
async def timers_among_callbacks(impl, loop, log):
    for delay in (3, 1, 2, 0):
        loop.call_later(delay, log, "timer", delay)
    for step in range(5):
        loop.call_soon(log, "soon", step)
        await impl.sleep(0)
        log("main", step)


@scenario
async def sleepers_and_timers_of_equal_deadline(impl, loop, log):
    """A sleeper is woken one iteration after its timer: the timer only finishes the future it waits for."""
    tasks = [impl.create_task(worker(impl, log, f"sleeper {d}", delay=d)) for d in (2, 1, 3)]
    await impl.sleep(0)
    loop.call_at(loop.time() + 1.5, log, "timer 1.5")
    loop.call_at(loop.time() + 2.5, log, "timer 2.5")
    await impl.wait(tasks)
    log("end")


@scenario
async def sleep_zero_round_robin(impl, loop, log):
    await impl.gather(*(worker(impl, log, f"w{n}", steps=n + 1) for n in range(5)))


@scenario
async def sleep_in_sequence(impl, loop, log):
    async def periodic(name, delay, times):
        for i in range(times):
            await impl.sleep(delay)
            log(name, i)

    await impl.gather(periodic("a", 1.5, 6), periodic("b", 2.5, 4), periodic("c", 4.25, 2))


@scenario
async def future_callbacks_and_waiters_in_order_of_arrival(impl, loop, log):
    future = loop.create_future()

    async def waiter(name):
        log(name, await future)

    tasks = []
    for n in range(3):
        tasks.append(impl.create_task(waiter(f"waiter {n}")))
        await impl.sleep(0)
        future.add_done_callback(lambda f, n=n: log("callback", n))
    loop.call_soon(log, "before")
    future.set_result("value")
    loop.call_soon(log, "after")
    await impl.wait(tasks)


@scenario
async def chain_of_tasks(impl, loop, log):
    async def link(n):
        log("in", n)
        if n:
            await impl.create_task(link(n - 1))
        log("out", n)

    loop.call_soon(log, "tick")
    await link(5)
    await settle(impl, 3)


@scenario
async def awaiting_what_is_done(impl, loop, log):
    done = loop.create_future()
    done.set_result("done")
    task = impl.create_task(worker(impl, log, "task", result=1))
    await task
    loop.call_soon(log, "callback")
    log(await done)
    log(await task)
    log(await impl.gather(done, task))
    await impl.sleep(0)


@scenario
async def callback_context_of_task_steps(impl, loop, log):
    """Interleaving of a task, its done callback and a callback that the step itself queued."""

    async def child():
        loop.call_soon(log, "queued by child")
        log("child")
        return 1

    task = impl.create_task(child())
    task.add_done_callback(watched(log, "child"))
    log(await task)
    await settle(impl, 3)


# ---- cancellation ----


def cancel_at(step):
    async def cancel_in_phase(impl, loop, log):
        async def inner():
            await worker(impl, log, "sleep 0", steps=2)
            await worker(impl, log, "sleep 2", delay=2)
            future = loop.create_future()
            loop.call_later(2, lambda: future.done() or future.set_result("timer"))
            log(await future)
            return await impl.create_task(worker(impl, log, "task", steps=3, result="end"))

        task = impl.create_task(inner())
        task.add_done_callback(watched(log, "inner"))
        for _ in range(step):
            await impl.sleep(0)
        log("cancel", task.cancel("message"))
        loop.call_soon(log, "after cancel")
        await settle(impl)

    return cancel_in_phase


for _step in range(14):
    SCENARIOS[f"cancel_in_phase_{_step}"] = cancel_at(_step)


@scenario
async def cancel_is_swallowed(impl, loop, log):
    async def stubborn():
        for i in range(3):
            try:
                await impl.sleep(5)
            except asyncio.CancelledError as exc:
                log("swallowed", i, exc.args)
        return "survived"

    task = impl.create_task(stubborn())
    task.add_done_callback(watched(log, "stubborn"))
    for i in range(3):
        await impl.sleep(0)
        log(task.cancel(i), task.cancelling())
    await impl.wait([task])


@scenario
async def cancel_with_clean_up_that_awaits(impl, loop, log):
    async def cleaner():
        try:
            await impl.sleep(10)
        finally:
            log("cleaning")
            await impl.sleep(0)
            await impl.sleep(1)
            log("clean")

    task = impl.create_task(cleaner())
    await impl.sleep(0)
    task.cancel()
    task.cancel("twice")
    loop.call_soon(log, "soon")
    try:
        await task
    except asyncio.CancelledError as exc:
        log("caught", exc.args)


@scenario
async def cancel_in_the_iteration_of_the_wake_up(impl, loop, log):
    for delay in range(1, 6):
        task = impl.create_task(worker(impl, log, f"sleeper {delay}", delay=3))
        task.add_done_callback(watched(log, delay))
        loop.call_later(delay, task.cancel, delay)
        await impl.wait([task])


@scenario
async def cancel_children_that_cancel_each_other(impl, loop, log):
    tasks = []

    async def child(n):
        try:
            await impl.sleep(100)
        except asyncio.CancelledError:
            log("child", n)
            tasks[(n + 1) % 4].cancel()
            raise

    tasks.extend(impl.create_task(child(n)) for n in range(4))
    await impl.sleep(0)
    tasks[2].cancel()
    await impl.wait(tasks)
    log([task.cancelled() for task in tasks])


@scenario
async def cancel_the_future_under_a_task(impl, loop, log):
    future = loop.create_future()

    async def waits():
        try:
            await future
        except asyncio.CancelledError as exc:
            log("cancelled", exc.args)
            return "went on"

    task = impl.create_task(waits())
    await impl.sleep(0)
    future.cancel("future")
    log(await task)


# ---- gather ----


@scenario
async def gather_results(impl, loop, log):
    future = impl.gather(*(worker(impl, log, f"w{n}", steps=3 - n, result=n) for n in range(3)))
    future.add_done_callback(watched(log, "gather"))
    loop.call_soon(log, "soon")
    log(await future)
    await settle(impl, 2)


@scenario
async def gather_first_exception(impl, loop, log):
    tasks = [
        impl.create_task(worker(impl, log, "slow", steps=6)),
        impl.create_task(worker(impl, log, "bad", steps=2, error=ValueError("bad"))),
        impl.create_task(worker(impl, log, "worse", steps=3, error=KeyError("worse"))),
    ]
    for n, task in enumerate(tasks):
        task.add_done_callback(lambda f, n=n: log("done", n))
    try:
        await impl.gather(*tasks)
    except ValueError as exc:
        log("caught", exc, repr(exc.__context__))
    await settle(impl)


@scenario
async def gather_return_exceptions(impl, loop, log):
    results = await impl.gather(
        worker(impl, log, "good", steps=2, result=1),
        worker(impl, log, "bad", steps=1, error=ValueError("bad")),
        worker(impl, log, "gone", error=asyncio.CancelledError("gone")),
        return_exceptions=True,
    )
    log([repr(r) for r in results])


def gather_cancel_at(step, return_exceptions):
    async def gather_cancelled(impl, loop, log):
        children = [impl.create_task(worker(impl, log, f"w{n}", steps=2 + n)) for n in range(3)]
        future = impl.gather(*children, return_exceptions=return_exceptions)
        future.add_done_callback(watched(log, "gather"))
        for n, child in enumerate(children):
            child.add_done_callback(watched(log, n))
        for _ in range(step):
            await impl.sleep(0)
        log("cancel", future.cancel("message"), future.done())
        loop.call_soon(log, "soon")
        try:
            log("result", await future)
        except asyncio.CancelledError as exc:
            log("caught", exc.args)
        await settle(impl)

    return gather_cancelled


for _step in range(7):
    SCENARIOS[f"gather_cancelled_{_step}"] = gather_cancel_at(_step, False)
    SCENARIOS[f"gather_cancelled_returning_exceptions_{_step}"] = gather_cancel_at(_step, True)


def gather_parent_cancel_at(step):
    async def gather_parent_cancelled(impl, loop, log):
        async def parent():
            try:
                log(await impl.gather(*(worker(impl, log, f"w{n}", steps=2 + n) for n in range(3))))
            except asyncio.CancelledError as exc:
                log("parent cancelled", exc.args)
                raise

        task = impl.create_task(parent())
        task.add_done_callback(watched(log, "parent"))
        for _ in range(step):
            await impl.sleep(0)
        log("cancel", task.cancel("message"))
        await settle(impl)

    return gather_parent_cancelled


for _step in range(8):
    SCENARIOS[f"gather_parent_cancelled_{_step}"] = gather_parent_cancel_at(_step)


@scenario
async def gather_child_cancelled(impl, loop, log):
    for return_exceptions in (False, True):
        children = [impl.create_task(worker(impl, log, f"w{n}", steps=4)) for n in range(3)]
        future = impl.gather(*children, return_exceptions=return_exceptions)
        future.add_done_callback(watched(log, "gather"))
        await impl.sleep(0)
        children[1].cancel("child")
        try:
            log([repr(r) for r in await future])
        except asyncio.CancelledError as exc:
            log("caught", exc.args)
        await settle(impl)


@scenario
async def gather_nested(impl, loop, log):
    inner = impl.gather(worker(impl, log, "a", steps=1, result=1), worker(impl, log, "b", steps=2, result=2))
    inner.add_done_callback(watched(log, "inner"))
    outer = impl.gather(inner, worker(impl, log, "c", steps=1, result=3), impl.gather())
    outer.add_done_callback(watched(log, "outer"))
    log(await outer)


@scenario
async def gather_nested_cancelled(impl, loop, log):
    inner = impl.gather(worker(impl, log, "a", steps=5), worker(impl, log, "b", steps=5))
    outer = impl.gather(inner, worker(impl, log, "c", steps=5))
    inner.add_done_callback(watched(log, "inner"))
    outer.add_done_callback(watched(log, "outer"))
    await impl.sleep(0)
    outer.cancel("outer")
    await settle(impl)


@scenario
async def gather_duplicates(impl, loop, log):
    task = impl.create_task(worker(impl, log, "task", result="shared"))
    coro = worker(impl, log, "coro", result="once")
    log(await impl.gather(task, coro, task, coro, task))


@scenario
async def gather_of_done_futures(impl, loop, log):
    def done(value=None, error=None):
        future = loop.create_future()
        future.set_exception(error) if error else future.set_result(value)
        return future

    for children in (
        [done(1)],
        [done(1), done(2)],
        [done(1), loop.create_future()],
        [done(error=ValueError("x"))],
    ):
        future = impl.gather(*children)
        log("done at once", future.done())
        future.add_done_callback(watched(log, "gather"))
        loop.call_soon(log, "soon")
        await impl.sleep(0)
        await impl.sleep(0)
        log("cancel", future.cancel())
        await settle(impl, 3)


@scenario
async def gather_of_nothing(impl, loop, log):
    future = impl.gather()
    future.add_done_callback(watched(log, "empty"))
    loop.call_soon(log, "soon")
    log(await future)
    await impl.sleep(0)


# ---- wait ----


def wait_when(return_when):
    async def wait(impl, loop, log):
        tasks = {
            impl.create_task(worker(impl, log, "a", steps=3), name="a"),
            impl.create_task(worker(impl, log, "b", steps=5, error=ValueError("b")), name="b"),
            impl.create_task(worker(impl, log, "c", steps=7), name="c"),
        }
        loop.call_soon(log, "soon")
        pending = tasks
        while pending:
            done, pending = await impl.wait(pending, return_when=return_when)
            log(sorted(t.get_name() for t in done), sorted(t.get_name() for t in pending))
            for task in done:
                task.exception()

    return wait


for _when in (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED):
    SCENARIOS[f"wait_{_when.lower()}"] = wait_when(_when)


def wait_cancel_at(step, timeout):
    async def wait_cancelled(impl, loop, log):
        async def parent():
            try:
                # One future only: the order in which a set is walked is not the same in every run.
                done, pending = await impl.wait([child], timeout=timeout)
                log("parent", len(done), len(pending))
            except asyncio.CancelledError as exc:
                log("parent cancelled", exc.args)
                raise

        child = impl.create_task(worker(impl, log, "child", steps=4))
        child.add_done_callback(watched(log, "child"))
        task = impl.create_task(parent())
        task.add_done_callback(watched(log, "parent"))
        for _ in range(step):
            await impl.sleep(0)
        log("cancel", task.cancel("message"))
        await settle(impl)

    return wait_cancelled


for _step in range(8):
    SCENARIOS[f"wait_cancelled_{_step}"] = wait_cancel_at(_step, None)
    SCENARIOS[f"wait_with_timeout_cancelled_{_step}"] = wait_cancel_at(_step, 3)


@scenario
async def wait_timeouts(impl, loop, log):
    for timeout in (0, 1, 2, 3, 4, 5, 6, 10):
        child = impl.create_task(worker(impl, log, f"child {timeout}", delay=4))
        loop.call_later(timeout, log, "timer", timeout)
        done, pending = await impl.wait([child], timeout=timeout)
        log(timeout, len(done), len(pending))
        child.cancel()
        await impl.wait([child])


@scenario
async def wait_of_done_futures(impl, loop, log):
    future = loop.create_future()
    future.set_result(1)
    for when in (asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION):
        loop.call_soon(log, "soon")
        done, pending = await impl.wait([future], return_when=when)
        log(len(done), len(pending))
    for timeout in (0, 5, None):
        done, pending = await impl.wait([future], timeout=timeout)
        log(len(done), len(pending))


@scenario
async def many_waiters_of_one_future(impl, loop, log):
    future = loop.create_future()

    async def by_wait(n):
        await impl.wait([future])
        log("wait", n)

    async def by_await(n):
        await future
        log("await", n)

    async def by_gather(n):
        await impl.gather(future)
        log("gather", n)

    async def by_shield(n):
        await asyncio.shield(future)
        log("shield", n)

    tasks = [
        impl.create_task(kind(n)) for n in range(2) for kind in (by_wait, by_await, by_gather, by_shield)
    ]
    await impl.sleep(0)
    future.add_done_callback(watched(log, "callback"))
    loop.call_soon(log, "before")
    future.set_result(None)
    loop.call_soon(log, "after")
    await impl.gather(*tasks)


# ---- the rest of asyncio on top ----


@scenario
async def shield_keeps_the_inner_task(impl, loop, log):
    inner = impl.create_task(worker(impl, log, "inner", steps=4, result="inner result"))

    async def outer():
        return await asyncio.shield(inner)

    task = impl.create_task(outer())
    task.add_done_callback(watched(log, "outer"))
    await impl.sleep(0)
    await impl.sleep(0)
    task.cancel("outer")
    log(await inner)
    await impl.sleep(0)


@scenario
async def task_group(impl, loop, log):
    async with impl.TaskGroup() as group:
        for n in range(3):
            group.create_task(worker(impl, log, f"w{n}", steps=n + 1))
        log("body ends")
    log("left")


@scenario
async def task_group_with_errors(impl, loop, log):
    try:
        async with impl.TaskGroup() as group:
            group.create_task(worker(impl, log, "slow", steps=9))
            group.create_task(worker(impl, log, "bad", steps=2, error=ValueError("bad")))
            group.create_task(worker(impl, log, "sleeper", delay=20))
            await impl.sleep(10)
    except ExceptionGroup as exc:
        log("group", [repr(e) for e in exc.exceptions])
    await settle(impl, 3)


@scenario
async def task_group_nested_and_cancelled(impl, loop, log):
    async def inner():
        async with impl.TaskGroup() as group:
            group.create_task(worker(impl, log, "a", steps=9))
            group.create_task(worker(impl, log, "b", delay=9))

    async def outer():
        try:
            async with impl.TaskGroup() as group:
                group.create_task(inner())
                group.create_task(worker(impl, log, "c", steps=9))
        finally:
            log("outer leaves")

    task = impl.create_task(outer())
    task.add_done_callback(watched(log, "outer"))
    for _ in range(4):
        await impl.sleep(0)
    task.cancel("message")
    await settle(impl)


@scenario
async def timeouts(impl, loop, log):
    for delay in (0, 1, 2, 3, 4, 5):
        try:
            async with asyncio.timeout(delay) as scope:
                await worker(impl, log, f"in time {delay}", delay=3)
        except TimeoutError:
            log("timeout", delay, scope.expired())
        else:
            log("no timeout", delay, scope.expired())


@scenario
async def timeouts_nested(impl, loop, log):
    try:
        async with asyncio.timeout(6):
            try:
                async with asyncio.timeout(3):
                    await impl.sleep(10)
            except TimeoutError:
                log("inner")
            await impl.sleep(10)
    except TimeoutError:
        log("outer")


@scenario
async def wait_for_all_phases(impl, loop, log):
    for timeout in (None, 0, 1, 2, 3, 4, 5):
        try:
            log(timeout, await asyncio.wait_for(worker(impl, log, "w", delay=3, result="r"), timeout))
        except TimeoutError:
            log(timeout, "timeout")
        await settle(impl, 2)


@scenario
async def wait_for_cancelled(impl, loop, log):
    for step in range(6):
        task = impl.create_task(asyncio.wait_for(worker(impl, log, "w", steps=3, result="r"), 10))
        task.add_done_callback(watched(log, step))
        for _ in range(step):
            await impl.sleep(0)
        log("cancel", task.cancel())
        await settle(impl, 6)


@scenario
async def as_completed_order(impl, loop, log):
    for future in asyncio.as_completed([worker(impl, log, f"w{n}", delay=5 - n, result=n) for n in range(1)]):
        log(await future)
    futures = [loop.create_future() for _ in range(4)]
    for n, position in enumerate((2, 0, 3, 1)):
        loop.call_later(n + 1, futures[position].set_result, position)
    for future in asyncio.as_completed(futures):
        log(await future)


@scenario
async def queue(impl, loop, log):
    queue = asyncio.Queue(2)

    async def producer(name):
        for i in range(4):
            await queue.put((name, i))
            log("put", name, i)

    async def consumer(name):
        while True:
            item = await queue.get()
            log(name, "got", item)
            await impl.sleep(0)
            queue.task_done()

    consumers = [impl.create_task(consumer(f"c{n}")) for n in range(2)]
    await impl.gather(producer("p0"), producer("p1"))
    await queue.join()
    log("joined")
    for task in consumers:
        task.cancel()
    await impl.gather(*consumers, return_exceptions=True)


@scenario
async def event_lock_semaphore(impl, loop, log):
    event, lock, semaphore = asyncio.Event(), asyncio.Lock(), asyncio.Semaphore(2)

    async def user(n):
        await event.wait()
        log("event", n)
        async with lock:
            log("lock", n)
            await impl.sleep(0)
        async with semaphore:
            log("semaphore", n)
            await impl.sleep(1)
        log("end", n)

    tasks = [impl.create_task(user(n)) for n in range(5)]
    await impl.sleep(0)
    loop.call_soon(event.set)
    await impl.sleep(0)
    tasks[3].cancel()
    await impl.gather(*tasks, return_exceptions=True)


@scenario
async def condition_and_barrier(impl, loop, log):
    condition, barrier = asyncio.Condition(), asyncio.Barrier(3)

    async def waiter(n):
        async with condition:
            await condition.wait()
            log("notified", n)
        position = await barrier.wait()
        log("barrier", n, position)

    tasks = [impl.create_task(waiter(n)) for n in range(3)]
    await settle(impl, 3)
    for count in (1, 2):
        async with condition:
            condition.notify(count)
        await settle(impl, 3)
    await impl.gather(*tasks)


@scenario
async def errors_in_callbacks_between_tasks(impl, loop, log):
    loop.set_exception_handler(lambda loop, context: log("handler", context["exception"]))
    task = impl.create_task(worker(impl, log, "w", steps=3))
    loop.call_soon(divmod, 1, 0)
    task.add_done_callback(lambda f: 1 / 0)
    task.add_done_callback(watched(log, "w"))
    await impl.wait([task])
    await settle(impl, 2)


@scenario
async def asynchronous_generators(impl, loop, log):
    async def agen(name):
        try:
            for i in range(3):
                await impl.sleep(0)
                yield i
        finally:
            log(name, "closed")

    async def consume(name):
        async for item in agen(name):
            log(name, item)
            if item == 1 and name == "b":
                break
        log(name, "end")

    await impl.gather(consume("a"), consume("b"))
    await settle(impl, 5)


@scenario
async def wrapped_awaitables(impl, loop, log):
    class Awaitable:
        def __await__(self):
            log("before")
            yield
            log("after")
            return "value"

    log(await impl.gather(Awaitable(), worker(impl, log, "w", result=1)))
    log(await asyncio.wait_for(Awaitable(), 5))
    log(await asyncio.ensure_future(Awaitable()))


@scenario
async def tasks_created_in_callbacks(impl, loop, log):
    def spawn(n):
        log("spawn", n)
        task = loop.create_task(worker(impl, log, f"w{n}"))
        task.add_done_callback(lambda f: spawn(n - 1) if n else log("last"))

    loop.call_soon(spawn, 3)
    await settle(impl, 15)
