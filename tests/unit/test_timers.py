"""call_later, call_at and the order in which timers fire."""

import asyncio
import math
import random
import time

import pytest

from . import support


def test_fires_in_deadline_order(virtual):
    loop, clock = virtual
    order = []
    delays = list(range(1, 101))
    random.Random(0).shuffle(delays)
    for delay in delays:
        loop.call_later(delay, order.append, delay)
    support.run_once(loop, 110)
    assert order == sorted(delays)


def test_fires_at_its_time_and_not_before(virtual):
    loop, clock = virtual
    fired = []
    start = clock.now
    for delay in (0, 1, 2, 7, 7.5, 30):
        loop.call_later(delay, lambda d=delay: fired.append((d, clock.now - start)))
    support.run_once(loop, 40)
    assert [d for d, _ in fired] == [0, 1, 2, 7, 7.5, 30]
    assert all(at >= d for d, at in fired)


def test_never_early_on_the_real_clock(loop):
    """Sub-millisecond delays included: a poller that rounds down would fire early."""
    early = []
    remaining = []

    def fire(deadline):
        # asyncio itself allows one tick of the clock's resolution.
        if loop.time() < deadline - 1e-9:
            early.append(deadline)
        remaining.pop()
        if not remaining:
            loop.stop()

    for microseconds in (0, 1, 10, 50, 100, 333, 500, 999, 1001, 1500, 2999, 5000):
        deadline = loop.time() + microseconds * 1e-6
        remaining.append(deadline)
        loop.call_at(deadline, fire, deadline)
    loop.run_forever()
    assert early == []


def test_timers_of_one_millisecond_are_due_in_one_turn_in_debug_mode(impl):
    """Where setting a timer takes long: `-X dev` parts no two sleeps that began together."""

    class Loop(impl.Loop):
        began = None  # when the loop asked for the first time, to know how long to wait; until then it is 100

        def time(self):
            if not self.is_running():
                return 100.0
            if self.began is None:
                self.began = time.monotonic()
                return 100.0
            return 100.0 + time.monotonic() - self.began

    order = []

    def first():
        order.append("first")
        loop.call_soon(order.append, "next turn")

    def second():
        order.append("second")
        loop.call_soon(loop.stop)

    with support.closing(Loop()) as loop:
        loop.set_debug(True)
        for _ in range(30):  # the kernel may well wake it so late that both are due
            loop.call_at(100.0001, first)
            loop.call_at(100.0009, second)
            loop.began = None
            loop.run_forever()
            assert order == ["first", "second", "next turn"]
            order.clear()


def test_sleep_is_never_early_on_the_real_clock(loop, impl):
    async def main():
        for delay in (1e-6, 1e-4, 2e-4, 9.99e-4, 1e-3, 1.5e-3, 3e-3):
            start = loop.time()
            await impl.sleep(delay)
            assert loop.time() - start >= delay - 2e-9, delay

    loop.run_until_complete(main())


@pytest.mark.parametrize("count", [2, 3, 10, 200])
def test_ties_fire_first_come_first_served(ours, count):
    """Stronger than asyncio, whose heap does not keep the order of equal deadlines."""
    loop, clock = support.new_virtual_loop(ours)
    with support.closing(loop):
        order = []
        when = clock.now + 5
        for i in range(count):
            loop.call_at(when, order.append, i)
        support.run_once(loop, 10)
        assert order == list(range(count))
        clock.stop()


def test_negative_and_zero_delays_fire_in_the_next_iteration(loop):
    order = []
    loop.call_later(-10, order.append, "negative")
    loop.call_later(0, order.append, "zero")
    support.run_once(loop)
    assert order == ["negative", "zero"]


def test_timers_run_behind_what_call_soon_queued(loop):
    order = []
    loop.call_later(0, order.append, "timer")
    loop.call_soon(order.append, "soon")
    support.run_once(loop)
    assert order == ["soon", "timer"]


def test_zero_timer_set_by_a_callback_waits_for_the_next_iteration(loop):
    order = []

    def callback():
        loop.call_later(0, order.append, "timer")
        loop.call_soon(order.append, "soon")

    loop.call_soon(callback)
    support.run_once(loop)
    assert order == []
    support.run_once(loop)
    assert order == ["soon", "timer"]


def test_cancelled_timers_never_fire(virtual):
    loop, clock = virtual
    order = []
    timers = [loop.call_later(delay, order.append, delay) for delay in range(1, 201)]
    rng = random.Random(1)
    cancelled = set(rng.sample(range(1, 201), 150))
    for delay in cancelled:
        timers[delay - 1].cancel()
    support.run_once(loop, 210)
    assert order == [d for d in range(1, 201) if d not in cancelled]


def test_random_inserts_and_cancels_keep_the_order(virtual):
    loop, clock = virtual
    rng = random.Random(2)
    fired, expected, live = [], {}, []
    for i in range(2000):
        if live and rng.random() < 0.45:
            key, timer = live.pop(rng.randrange(len(live)))
            timer.cancel()
            del expected[key]
        else:
            when = clock.now + rng.randrange(1, 50) + i / 4000
            live.append((i, loop.call_at(when, fired.append, i)))
            expected[i] = when
    support.run_once(loop, 60)
    assert fired == sorted(expected, key=expected.get)


def test_timer_cancels_another_of_the_same_iteration(virtual):
    loop, clock = virtual
    order = []
    first = loop.call_later(1, lambda: (order.append("first"), second.cancel()))
    second = loop.call_later(1.5, order.append, "second")
    clock.now += 5
    support.run_once(loop, 3)
    assert order == ["first"]
    assert not first.cancelled() and second.cancelled()


def test_timer_sets_a_due_timer(virtual):
    loop, clock = virtual
    order = []
    loop.call_later(0, lambda: (order.append(1), loop.call_later(0, order.append, 3)))
    loop.call_later(0, order.append, 2)
    support.run_once(loop)
    assert sorted(order) == [1, 2]
    support.run_once(loop)
    assert order[2:] == [3]


@pytest.mark.parametrize("delay", [1e9, 1e15, 1e300, math.inf, 2**62, 2**63, 2**64])
def test_far_deadlines_do_not_overflow(loop, delay):
    order = []
    far = loop.call_later(delay, order.append, "far")
    loop.call_later(0.001, lambda: (order.append("near"), loop.stop()))
    loop.run_forever()
    assert order == ["near"]
    assert far.when() >= loop.time()
    far.cancel()


@pytest.mark.parametrize("when", [-1e300, -math.inf, -(2.0**70), -1, 0])
def test_long_past_deadlines_are_due(loop, when):
    order = []
    loop.call_at(when, order.append, "past")
    support.run_once(loop)
    assert order == ["past"]


def test_far_timer_does_not_block_stop_from_a_thread(loop):
    import threading

    loop.call_later(1e9, int)
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(loop.stop))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()


@pytest.mark.parametrize("args", [("1", int), ([], int), (object(), int)])
def test_delay_of_a_wrong_type(loop, args):
    with pytest.raises(TypeError):
        loop.call_later(*args)


def test_none_delay(loop):
    with pytest.raises(TypeError, match="delay must not be None"):
        loop.call_later(None, int)
    with pytest.raises(TypeError, match="when cannot be None"):
        loop.call_at(None, int)


def test_numbers_that_are_not_floats(loop):
    from decimal import Decimal
    from fractions import Fraction

    order = []
    loop.call_later(Fraction(0), order.append, "fraction")
    loop.call_later(True - True, order.append, "bool")
    with pytest.raises(TypeError):
        loop.call_later(Decimal(0), order.append, "decimal")
    support.run_once(loop)
    assert sorted(order) == ["bool", "fraction"]


def test_stopping_with_pending_timers_keeps_them(virtual):
    loop, clock = virtual
    order = []
    loop.call_later(3, order.append, "timer")
    support.run_once(loop)
    assert order == []
    support.run_once(loop, 5)
    assert order == ["timer"]


def test_many_timers(virtual):
    loop, clock = virtual
    count = 20_000
    fired = []
    timers = [loop.call_later(1 + (i * 7919) % count / count, fired.append, i) for i in range(count)]
    for timer in timers[::2]:
        timer.cancel()
    support.run_once(loop, 5)
    assert len(fired) == count // 2
    assert fired == sorted(fired, key=lambda i: (i * 7919) % count)


def test_many_short_sleeps_on_the_real_clock_all_end(loop, impl):
    ended = []

    async def sleeper(delay):
        await impl.sleep(delay)
        ended.append(delay)

    delays = [i / 100_000 for i in range(1, 301)]

    async def main():
        shuffled = delays[:]
        random.Random(3).shuffle(shuffled)
        await asyncio.wait([loop.create_task(sleeper(delay)) for delay in shuffled])

    loop.run_until_complete(main())
    assert sorted(ended) == delays
