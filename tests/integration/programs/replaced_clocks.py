"""freezegun and time-machine: freezegun's clock is asyncio's, too, as it replaces time.monotonic(); time-machine's is not."""

import asyncio
import datetime
import time

import common
import freezegun
import time_machine

REAL = {"monotonic": time.monotonic}  # freezegun replaces what it finds in variables of modules
YEAR_2001 = datetime.datetime(2001, 1, 1)


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


async def time_that_is_moved():
    """Timers wait for the frozen clock, and for nothing else."""
    loop, fired = asyncio.get_running_loop(), []
    with freezegun.freeze_time(YEAR_2001) as frozen:
        started = loop.time()
        assert started == time.monotonic() != REAL["monotonic"]()
        handles = [loop.call_later(delay, fired.append, delay) for delay in (3600, 60, 86400)]
        sleeper = asyncio.create_task(asyncio.sleep(1800, "slept"))
        limited = asyncio.create_task(asyncio.wait_for(asyncio.Event().wait(), 5400))
        await turns()
        assert fired == [] and loop.time() == started
        frozen.tick(61)
        await turns()
        assert fired == [60] and loop.time() == started + 61
        frozen.tick(datetime.timedelta(hours=1))
        await turns()
        assert fired == [60, 3600] and sleeper.result() == "slept" and not limited.done()
        frozen.tick(7200)
        await turns()
        assert isinstance(limited.exception(), TimeoutError)
        frozen.move_to("2001-01-03")
        await turns()
        assert fired == [60, 3600, 86400] and datetime.datetime.now().day == 3
        assert all(
            handle.when() == started + delay for handle, delay in zip(handles, (3600, 60, 86400), strict=True)
        )
    assert abs(loop.time() - REAL["monotonic"]()) < common.TIMEOUT_S


async def time_that_passes():
    """With tick=True, and auto_tick_seconds, the clock goes on from the frozen time."""
    loop = asyncio.get_running_loop()
    with freezegun.freeze_time(YEAR_2001, tick=True):
        started = loop.time()
        await asyncio.sleep(0.01)
        assert started + 0.01 <= loop.time() < started + common.TIMEOUT_S
    with freezegun.freeze_time(YEAR_2001, auto_tick_seconds=10):
        started = loop.time()
        assert loop.time() == started + 10
        await asyncio.sleep(0.001)


async def time_of_loops_left_alone():
    """With real_asyncio=True the time() of the class of the loop is replaced by the real one."""
    loop = asyncio.get_running_loop()
    for _ in range(2):
        with freezegun.freeze_time(YEAR_2001, real_asyncio=True):
            assert time.monotonic() == time.monotonic()
            assert abs(loop.time() - REAL["monotonic"]()) < common.TIMEOUT_S
            await asyncio.sleep(0.001)
            assert await asyncio.wait_for(asyncio.sleep(0.001, "value"), 10) == "value"
    with freezegun.freeze_time(YEAR_2001):
        assert loop.time() == time.monotonic()
    await asyncio.sleep(0.001)


@freezegun.freeze_time(YEAR_2001)
async def decorated():
    assert asyncio.get_running_loop().time() == time.monotonic()
    await turns()
    return datetime.date.today()


async def by_time_machine():
    """The date is another one, and monotonic clocks, which timers go by, stay as they are."""
    loop = asyncio.get_running_loop()
    for tick in (False, True):
        with time_machine.travel(YEAR_2001, tick=tick) as traveller:
            assert datetime.date.today() == YEAR_2001.date()
            assert abs(loop.time() - REAL["monotonic"]()) < common.TIMEOUT_S
            await asyncio.sleep(0.001)
            handle = loop.call_later(3600, print, "never")
            traveller.shift(86400)
            await turns()
            assert datetime.date.today() == YEAR_2001.date() + datetime.timedelta(1)
            handle.cancel()


async def main():
    common.check_implementation()
    await time_that_is_moved()
    await time_that_passes()
    await time_of_loops_left_alone()
    assert await decorated() == YEAR_2001.date()
    await by_time_machine()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Without the time limit of common.limited(), which is over in another year.
common.run_by(lambda _, function: asyncio.run(function()), main)
