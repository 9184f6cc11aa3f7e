"""asynkit, which finds tasks in loop._ready, reorders them, and puts callbacks at any place."""

import asyncio

import asynkit
import common


async def main():
    ran = []

    async def note(label):
        ran.append(label)
        await asyncio.sleep(0)
        ran.append(label.upper())
        return label

    tasks = {label: asyncio.create_task(note(label)) for label in "abcd"}
    assert asynkit.runnable_tasks() == set(tasks.values())
    assert asynkit.blocked_tasks() == set()
    assert asynkit.task_is_runnable(tasks["c"]) and not asynkit.task_is_blocked(tasks["c"])
    await asynkit.task_switch(tasks["c"])
    assert ran[0] == "c" and set(ran) == set("abcd"), ran
    assert await asyncio.gather(*tasks.values()) == list("abcd")

    ran.clear()
    asyncio.get_running_loop().call_soon(ran.append, 2)
    asynkit.loop.extensions.call_pos(0, ran.append, 0)
    asynkit.loop.extensions.call_pos(1, ran.append, 1)
    await asyncio.sleep(0)
    assert ran == [0, 1, 2]

    ran.clear()
    eager = asynkit.eager(note("eager"))
    assert ran == ["eager"]
    assert await eager == "eager" and ran == ["eager", "EAGER"]

    ran.clear()
    others = [asyncio.create_task(note(label)) for label in "xyz"]
    asynkit.task_reinsert(others[2], 0)
    await asynkit.sleep_insert(2)
    assert ran == ["z", "x"], ran
    await asyncio.wait(others)


common.run(main)
