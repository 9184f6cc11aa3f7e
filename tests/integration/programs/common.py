"""What the programs share: a time limit, and proof that they ran on what they were meant to and gave everything back."""

import asyncio
import collections
import faulthandler
import gc
import os
import time

TIMEOUT_S = 120

# A loop that hangs cannot run a timeout: the process then says where it hangs, and ends.
faulthandler.dump_traceback_later(TIMEOUT_S + 10, exit=True)


def package(cls):
    """Return the package that a class comes from; _asyncio's classes count as asyncio's."""
    return cls.__module__.partition(".")[0].removeprefix("_")


def check_implementation():
    """Assert that the running loop and asyncio's own names are those that the test asked for."""
    loop = package(type(asyncio.get_running_loop()))
    assert loop == os.environ["EXPECTED_LOOP"], loop
    task = package(asyncio.Task)
    assert task == os.environ["EXPECTED_TASK"], task


def open_files():
    """Return what the open descriptors of this process refer to, sorted."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            pass  # the descriptor of the listing itself
    return sorted(links)


async def others_ended():
    """Wait until this task is the only one: those that servers have started for connections have ended."""
    while asyncio.all_tasks() != {asyncio.current_task()}:
        await asyncio.sleep(0)


async def limited(main):
    """Run main() under the time limit, on the expected implementation; no task may be left."""
    check_implementation()
    async with asyncio.timeout(TIMEOUT_S):
        await main()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


def wait_for_others(before):
    """Wait until no file is open that was not open before; assert that this comes within the time limit."""
    deadline = time.monotonic() + TIMEOUT_S
    while left := collections.Counter(open_files()) - collections.Counter(before):
        assert time.monotonic() < deadline, left
        os.sched_yield()


def run_by(run, main, *, others_open_files=False):
    """Run main() by a function such as asyncio.run, and assert that it leaves no descriptor open. Says "passed".

    others_open_files: threads of somebody else open and close files meanwhile, which may be among those of before.
    """
    before = open_files()
    run(limited, main)
    gc.collect()
    if others_open_files:
        wait_for_others(before)
    else:
        after = open_files()
        assert after == before, (before, after)
    print("passed")


def run(main, **options):
    """Run main() by asyncio.run; see run_by."""
    run_by(lambda function, argument: asyncio.run(function(argument)), main, **options)
