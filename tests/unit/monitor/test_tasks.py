"""What the monitor says of tasks: who waits where, for what, and for whom."""

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import threading
import time

import pytest

import asyncio_c
from asyncio_c import _core, monitor
from asyncio_c.monitor import client, ps

from ..support import PY312, run_until_idle, wait_until_blocked_or_ended
from . import programs


@pytest.fixture
def loop(ours):
    with contextlib.closing(ours.new_event_loop()) as loop:
        yield loop
        for task in asyncio.all_tasks(loop):
            task.cancel()
        run_until_idle(loop)


def line_of(function, offset):
    return function.__code__.co_firstlineno + offset


def tasks_of_loop(loop):
    """Return what the monitor says of the tasks of a loop of this process, by name."""
    names = {task.get_name() for task in asyncio.all_tasks(loop)}
    for answer in client.ask(os.getpid(), "tasks")["loops"]:
        found = {task["name"]: task for task in answer["tasks"]}
        if found.keys() == names:
            return found
    raise AssertionError(f"no loop has the tasks {names}")


def edges(tasks):
    """Return, of each task by name, the names of those it waits for."""
    names = {task["id"]: name for name, task in tasks.items()}
    return {name: sorted(names[child] for child in task["awaits"]) for name, task in tasks.items()}


def test_a_task_that_waits(ours, loop, served):
    async def inner():
        await ours.sleep(3600)

    async def outer():
        await inner()

    loop.create_task(outer(), name="one")
    run_until_idle(loop)
    task = tasks_of_loop(loop)["one"]
    at = {"function": inner.__qualname__, "file": __file__, "line": line_of(inner, 1)}
    assert (task["state"], task["coroutine"], task["waits_for"]) == (
        "waiting",
        outer.__qualname__,
        "sleep(3600)",
    )
    assert task["at"] == at
    assert task["stack"][:2] == [
        {"function": outer.__qualname__, "file": __file__, "line": line_of(outer, 1)},
        at,
    ]
    assert [entry["function"] for entry in task["stack"][2:]] == ["sleep"]


def test_age(ours, loop):
    async def sleep():
        await ours.sleep(3600)

    loop.create_task(sleep(), name="made before anybody served")
    with monitor.serve():
        before = time.monotonic()
        loop.create_task(sleep(), name="made")
        after = time.monotonic()
        asked = time.monotonic()
        found = {name: task["age"] for name, task in tasks_of_loop(loop).items()}
        answered = time.monotonic()
    assert found.keys() == {"made before anybody served", "made"}
    assert found["made before anybody served"] is None
    # It is a multiple of 10 ms.
    assert asked - after - 0.02 <= found["made"] <= answered - before + 0.02
    loop.create_task(sleep(), name="made when nobody served any more")
    with monitor.serve():
        assert tasks_of_loop(loop)["made when nobody served any more"]["age"] is None


def test_age_of_what_is_no_native_task():
    assert _core._age(None) is None


def test_a_task_that_is_ready(ours, loop, served):
    async def spin():
        while True:
            await ours.sleep(0)

    loop.create_task(spin(), name="spins")
    run_until_idle(loop)
    loop.create_task(spin(), name="has not begun")
    tasks = tasks_of_loop(loop)
    assert [(t["state"], t["waits_for"]) for t in tasks.values()] == [("ready", None)] * 2
    assert tasks["spins"]["at"]["line"] == line_of(spin, 2)
    assert tasks["has not begun"]["at"]["line"] == line_of(spin, 0)


async def enter(block):
    async with block:
        pass


async def enter_twice(block):
    async with block:
        await enter(block)


async def acquire_twice(lock):
    await lock.acquire()
    await lock.acquire()


async def iterate(ours):
    async def generate():
        await ours.sleep(3600)
        yield

    async for _ in generate():
        pass


async def put_what_has_begun(ours, loop):
    async def wait():
        await loop.create_future()

    coroutine = wait()
    coroutine.send(None)
    queue = ours.Queue(1)
    queue.put_nowait(coroutine)
    await queue.put(coroutine)


async def wait_in_a_group(ours):
    async with ours.TaskGroup() as group:
        group.create_task(ours.sleep(3600), name="other")


async def receive(loop):
    receiver, sender = socket.socketpair()
    with receiver, sender:
        receiver.setblocking(False)
        await loop.sock_recv(receiver, 1)


WAITS = {
    "future": ("future", "a future", lambda ours, loop: loop.create_future()),
    "stock future": ("future", "a future", lambda ours, loop: asyncio.futures._PyFuture(loop=loop)),
    "task": ("task", "task other", lambda ours, loop: loop.create_task(ours.sleep(3600), name="other")),
    "sleep": ("sleep", "sleep(3600)", lambda ours, loop: ours.sleep(3600)),
    "event": ("event", "Event.wait", lambda ours, loop: ours.Event().wait()),
    "lock": ("lock", "Lock.acquire", lambda ours, loop: acquire_twice(ours.Lock())),
    "block of a lock": ("lock", "Lock.acquire", lambda ours, loop: enter_twice(ours.Lock())),
    "block of a semaphore": ("lock", "Semaphore.acquire", lambda ours, loop: enter(ours.Semaphore(0))),
    "block of a condition": ("lock", "Lock.acquire", lambda ours, loop: enter_twice(ours.Condition())),
    "block of a barrier": ("event", "Barrier", lambda ours, loop: enter(ours.Barrier(2))),
    "group": ("tasks", "TaskGroup", lambda ours, loop: wait_in_a_group(ours)),
    "queue": ("queue", "Queue.get", lambda ours, loop: ours.Queue().get()),
    "queue of coroutines": ("queue", "Queue.put", put_what_has_begun),
    "gather": ("gather", "gather of 2", lambda ours, loop: ours.gather(ours.sleep(3600), ours.sleep(3600))),
    "wait": ("tasks", "wait", lambda ours, loop: ours.wait([loop.create_task(ours.sleep(3600))])),
    "wait_for": ("tasks", "wait_for", lambda ours, loop: ours.wait_for(loop.create_future(), 3600)),
    "generator": ("sleep", "sleep(3600)", lambda ours, loop: iterate(ours)),
    "sock_recv": ("socket", "sock_recv", lambda ours, loop: receive(loop)),
    "thread": (
        "thread",
        "a thread",
        lambda ours, loop: asyncio.wrap_future(concurrent.futures.Future(), loop=loop),
    ),
    # Up to Python 3.11, the coroutine is another task's.
    "wait_for a coroutine": (
        *(("sleep", "sleep(3600)") if PY312 else ("tasks", "wait_for")),
        lambda ours, loop: ours.wait_for(iterate(ours), 3600),
    ),
}


@pytest.mark.parametrize("case", WAITS)
def test_what_it_waits_for(ours, loop, served, case):
    """A timeline and ps say the same."""
    kind, words, wait_for_it = WAITS[case]

    async def wait():
        await wait_for_it(ours, loop)

    with asyncio_c.record(loop) as recording:
        waits = loop.create_task(
            wait(), name="waits"
        )  # held: nothing else refers to some of these, so gc may take them
        run_until_idle(loop)
    task = tasks_of_loop(loop)[waits.get_name()]
    assert (task["state"], task["kind"], task["waits_for"]) == ("waiting", kind, words)
    assert task["at"]["file"] == __file__
    span = recording.task("waits").spans[-1]
    assert (span.state, span.kind, span.what) == ("waiting", kind, words)
    assert span.where == f"{__file__}:{task['at']['line']}"


def test_coroutine_of_another_kind(ours, loop, served):
    class Awaitable:
        def __await__(self):
            return (yield from ours.sleep(3600).__await__())

    async def wait():
        await Awaitable()

    loop.create_task(wait(), name="waits")
    run_until_idle(loop)
    assert tasks_of_loop(loop)["waits"]["at"]["line"] == line_of(Awaitable.__await__, 1)


def test_who_waits_for_whom(ours, loop, served):
    def child(name):
        return loop.create_task(ours.sleep(3600), name=name)

    async def awaits():
        await child("awaited")

    async def gathers():
        await ours.gather(child("gathered 1"), child("gathered 2"))

    async def waits():
        await ours.wait([child("waited for 1"), child("waited for 2")])

    async def limits():
        await ours.wait_for(child("limited"), 3600)

    async def shields():
        await ours.shield(child("shielded"))

    async def groups():
        async with ours.TaskGroup() as group:
            group.create_task(ours.sleep(3600), name="in the group")

    async def nests():
        await ours.wait_for(ours.gather(ours.shield(child("deep")), loop.create_future()), 3600)

    for function in (awaits, gathers, waits, limits, shields, groups, nests):
        loop.create_task(function(), name=function.__name__)
    run_until_idle(loop)
    found = {name: children for name, children in edges(tasks_of_loop(loop)).items() if children}
    assert found == {
        "awaits": ["awaited"],
        "gathers": ["gathered 1", "gathered 2"],
        "waits": ["waited for 1", "waited for 2"],
        "limits": ["limited"],
        "shields": ["shielded"],
        "groups": ["in the group"],
        "nests": ["deep"],
    }


def test_tasks_in_a_circle(ours, served):
    tasks = {}

    async def wait(name):
        await tasks[name]

    with contextlib.closing(ours.new_event_loop()) as loop:
        tasks.update({name: loop.create_task(wait(other), name=name) for name, other in ("ab", "bc", "ca")})
        run_until_idle(loop)
        found = tasks_of_loop(loop)
        for task in tasks.values():  # to cancel one is to cancel the next one, for ever
            task._log_destroy_pending = False
    assert edges(found) == {"a": ["b"], "b": ["c"], "c": ["a"]}
    shown = [(before, task["name"], again) for before, task, again in ps.tree(list(found.values()))]
    assert shown == [("", "a", False), ("└─ ", "b", False), ("   └─ ", "c", False), ("      └─ ", "a", True)]


def test_a_task_that_runs_is_seen_while_it_blocks_the_loop(ours, served):
    """And so is where it blocks, by the stack of its thread."""
    goes_on = threading.Event()

    def block():
        goes_on.wait()

    async def main():
        asyncio.current_task().set_name("blocker")
        block()

    thread = threading.Thread(target=ours.run, args=(main(),), name="the loop's")
    thread.start()
    try:
        wait_until_blocked_or_ended(thread)
        answer = client.ask(os.getpid(), "tasks")
    finally:
        goes_on.set()
        thread.join()
    (task,) = (task for loop in answer["loops"] if loop["thread"] == "the loop's" for task in loop["tasks"])
    functions = [entry["function"] for entry in task["stack"]]
    assert (task["name"], task["state"], task["waits_for"]) == ("blocker", "running", None)
    assert functions[:2] == [main.__qualname__, block.__qualname__]
    assert task["stack"][1]["line"] == line_of(block, 1)


@pytest.mark.parametrize("options", [[], ["--loop-only"]])
def test_tasks_of_stock_asyncio_and_of_ours(tmp_path, options):
    code = """
async def worker():
    await asyncio.sleep(3600)

async def main():
    tasks = [asyncio.create_task(worker(), name="ours")]
    stock = sys.modules["_asyncio"].Task
    tasks.append(stock(worker(), loop=asyncio.get_running_loop(), name="stock"))
    await wait_without_blocking()

asyncio.run(main())
"""
    with programs.running(tmp_path / "program.py", code, *options) as process:
        result = programs.run_command("ps", process.pid)
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line.split()[:2] for line in result.stdout.splitlines()]
    assert ["ours", "waiting"] in lines and ["stock", "waiting"] in lines
