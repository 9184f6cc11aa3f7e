"""Programs to look at: each runs in a process of its own, says `ready`, and goes on when its standard input is closed."""

import contextlib
import os
import subprocess
import sys

from same_output import ROOT

# What a program may use: wait() says "ready", and blocks until the test lets it go on.
PRELUDE = """\
import asyncio, os, sys, threading

def wait():
    print("ready", flush=True), os.read(0, 1)  # one line, wherever it is seen

def say_ready_when_it_sleeps(native_id):
    from tests.unit import support
    if support.WAITS and os.access("/proc/self/syscall", os.R_OK):
        support.wait_until_asleep(native_id)
    print("ready", flush=True)

async def wait_without_blocking():
    loop = asyncio.get_running_loop()
    gone_on = loop.create_future()
    loop.add_reader(0, gone_on.set_result, None)
    # All that is ready has run before.
    for _ in range(10):
        await asyncio.sleep(0)
    # Another thread says so: nothing of the loop's own is there to be seen then.
    loop.call_soon(threading.Thread(target=say_ready_when_it_sleeps, args=(threading.get_native_id(),)).start)
    await gone_on
    loop.remove_reader(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
"""
BLOCKED_LINE = next(i for i, text in enumerate(PRELUDE.splitlines(), 1) if "os.read(0, 1)" in text)


def environment(**variables):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ASYNCIO_C"))}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables}


@contextlib.contextmanager
def running(path, code, *options, variables={"ASYNCIO_C_MONITOR": "1"}):
    """Run code under `python -m asyncio_c` until it has said that it is ready; at the end let it go on to its end."""
    path.write_text(PRELUDE + code)
    process = subprocess.Popen(
        [sys.executable, "-m", "asyncio_c", *options, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(**variables),
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()


def run_command(*arguments, **variables):
    """Run `python -m asyncio_c` with these arguments; return the CompletedProcess."""
    return subprocess.run(
        [sys.executable, "-m", "asyncio_c", *map(str, arguments)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )
