"""loop.stats(): what a loop counts. asyncio has nothing like it, so known programs say what has to be counted."""

import asyncio
import dataclasses
import os
import selectors
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from tests.differential import virtual_clock

from . import support
from .support import closing


@pytest.fixture
def on_virtual_clock(clock_library):
    """Run a program in a process where time passes only when a loop waits, or by `spend(milliseconds)`."""
    beginning = """
        import asyncio, ctypes
        import asyncio_c
        from differential.virtual_clock import Clock

        clock = Clock()
        spend = lambda milliseconds: clock._advance(milliseconds * 10**6)
        near = lambda value, expected: abs(value - expected) < 1e-6
    """

    def run(program):
        source = textwrap.dedent(beginning) + textwrap.dedent(program)
        done = subprocess.run(
            [sys.executable, "-c", source],
            env=virtual_clock.environment(clock_library),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")

    return run


@pytest.fixture
def loop(ours):
    with closing(ours.new_event_loop()) as loop:
        yield loop


async def difference(loop, awaitable):
    before = loop.stats()
    await awaitable
    return loop.stats() - before


def test_turns_callbacks_and_steps(loop, ours):
    async def yields(n):
        for _ in range(n):
            await ours.sleep(0)

    found = loop.run_until_complete(difference(loop, yields(10)))
    assert (found.turns, found.callbacks, found.steps, found.polls) == (10, 10, 10, 0)


def test_several_tasks(loop, ours):
    async def child():
        await ours.sleep(0)

    async def main():
        tasks = [loop.create_task(child()) for _ in range(5)]
        before = loop.stats()
        await asyncio.wait(tasks)
        return before, loop.stats()

    before, after = loop.run_until_complete(main())
    found = after - before
    # Each child has two steps, and this task one.
    assert (before.tasks, after.tasks, found.tasks, found.steps) == (6, 1, 1, 11)


def test_a_new_loop_has_counted_nothing(loop):
    found = loop.stats()
    assert dataclasses.astuple(found) == (0,) * 11 + (None, None)
    assert found.longest_callback is None
    assert found.utilisation == 0.0


def test_a_cancelled_handle_counts(loop):
    before = loop.stats()
    loop.call_soon(lambda: None).cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert (loop.stats() - before).callbacks == 2


def test_callbacks_that_raise(loop):
    loop.set_exception_handler(lambda loop, context: None)

    def interrupt():
        raise KeyboardInterrupt

    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(interrupt)
    loop.call_soon(lambda: None)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    found = loop.stats()
    assert (found.turns, found.callbacks) == (1, 2)


def test_debug_mode(loop, ours):
    loop.set_debug(True)
    found = loop.run_until_complete(difference(loop, ours.sleep(0)))
    assert (found.turns, found.callbacks, found.steps) == (1, 1, 1)


def test_timers_and_descriptors(loop):
    def count():
        return loop.stats().timers, loop.stats().descriptors

    reading, writing = os.pipe()
    timers = [loop.call_later(1000, print) for _ in range(3)]
    loop.add_reader(reading, print)
    assert count() == (3, 1)
    timers[0].cancel()
    loop.remove_reader(reading)
    assert count() == (2, 0)
    os.close(reading)
    os.close(writing)


def test_waiting_by_a_selector(ours):
    with closing(ours.Loop(selectors.SelectSelector())) as loop:
        reading, writing = os.pipe()
        loop.add_reader(reading, print)
        found = loop.stats()
        assert (found.descriptors, found.polls) == (1, 0)
        loop.remove_reader(reading)
        while not loop.stats().seconds_waiting:  # where the machine is busy it is late, and has not to wait
            loop.run_until_complete(ours.sleep(0.001))
        found = loop.stats()
        assert found.descriptors == 0
        assert found.polls >= 2
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("size", [3, 300_000])
def test_bytes_of_streams(loop, ours, size):
    async def main():
        one, other = socket.socketpair()
        reader, first = await ours.open_connection(sock=one)
        _, writer = await ours.open_connection(sock=other)
        before = loop.stats()
        writer.write(b"x" * size)
        await reader.readexactly(size)
        found = loop.stats() - before
        writer.transport.abort()
        first.transport.abort()
        await ours.sleep(0)
        return found

    found = loop.run_until_complete(main())
    assert (found.bytes_in, found.bytes_out) == (size, size)


class Receiver(asyncio.Protocol):
    def __init__(self, loop, size):
        self.missing, self.done = size, loop.create_future()

    def data_received(self, data):
        self.missing -= len(data)
        if not self.missing:
            self.done.set_result(None)


class BufferedReceiver(Receiver, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint):
        self.buffer = bytearray(1000)
        return self.buffer

    def buffer_updated(self, size):
        self.data_received(self.buffer[:size])


class DatagramReceiver(asyncio.DatagramProtocol):
    def __init__(self, loop):
        self.done = loop.create_future()

    def datagram_received(self, data, address):
        self.done.set_result(data)


@pytest.mark.parametrize("protocol_class", [Receiver, BufferedReceiver])
def test_bytes_of_protocols(loop, ours, protocol_class):
    async def main():
        one, other = socket.socketpair()
        transport, protocol = await loop.create_connection(lambda: protocol_class(loop, 50_000), sock=one)
        writer, _ = await loop.create_connection(asyncio.Protocol, sock=other)
        before = loop.stats()
        writer.writelines([b"x" * 10_000] * 5)
        await protocol.done
        found = loop.stats() - before
        transport.abort()
        writer.abort()
        await ours.sleep(0)
        return found

    found = loop.run_until_complete(main())
    assert (found.bytes_in, found.bytes_out) == (50_000, 50_000)


def test_bytes_of_pipes(loop, ours):
    async def main():
        reading, writing = (os.fdopen(fd, mode, 0) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
        reader, protocol = await loop.connect_read_pipe(lambda: Receiver(loop, 100_000), reading)
        writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, writing)
        before = loop.stats()
        writer.write(b"x" * 100_000)
        await protocol.done
        found = loop.stats() - before
        reader.close()
        writer.close()
        await ours.sleep(0)
        return found

    found = loop.run_until_complete(main())
    assert (found.bytes_in, found.bytes_out) == (100_000, 100_000)


def test_bytes_of_datagrams(loop, ours):
    async def main():
        receiver, protocol = await loop.create_datagram_endpoint(
            lambda: DatagramReceiver(loop), local_addr=("127.0.0.1", 0)
        )
        sender, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=receiver.get_extra_info("sockname")
        )
        before = loop.stats()
        sender.sendto(b"12345")
        await protocol.done
        found = loop.stats() - before
        receiver.close()
        sender.close()
        await ours.sleep(0)
        return found

    found = loop.run_until_complete(main())
    assert (found.bytes_in, found.bytes_out) == (5, 5)


def test_bytes_of_sock_coroutines(loop):
    async def main():
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            other.setblocking(False)
            before = loop.stats()
            await loop.sock_sendall(one, b"12345")
            await loop.sock_recv(other, 2)
            await loop.sock_recv_into(other, bytearray(2))
            await loop.sock_recv(other, 10**6)
            return loop.stats() - before

    found = loop.run_until_complete(main())
    assert (found.bytes_in, found.bytes_out) == (5, 5)


def test_bytes_of_datagrams_of_sock_coroutines(loop):
    async def main():
        kinds = (socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(*kinds) as one, socket.socket(*kinds) as other:
            for sock in (one, other):
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
            before = loop.stats()
            await loop.sock_sendto(one, b"12345", other.getsockname())
            await loop.sock_recvfrom(other, 100)
            return loop.stats() - before

    found = loop.run_until_complete(main())
    assert (found.bytes_in, found.bytes_out) == (5, 5)


def test_a_closed_loop_still_answers(ours):
    loop = ours.new_event_loop()
    loop.run_until_complete(ours.sleep(0))
    loop.call_later(1000, print)
    loop.close()
    found = loop.stats()
    assert found.turns >= 2
    assert (found.tasks, found.timers, found.descriptors) == (0, 0, 0)


def test_a_subclass(ours):
    class Derived(ours.Loop):
        def call_soon(self, callback, *args, context=None):
            return super().call_soon(callback, *args, context=context)

    with closing(Derived()) as loop:
        found = loop.run_until_complete(difference(loop, ours.sleep(0)))
    assert (found.turns, found.callbacks, found.steps) == (1, 1, 1)


def test_only_loops_of_asyncio_c(ours):
    from asyncio_c.monitor import stats

    with (
        closing(asyncio.SelectorEventLoop()) as loop,
        pytest.raises(TypeError, match="_UnixSelectorEventLoop"),
    ):
        stats.of(loop)


def test_asked_by_a_thread_while_the_loop_sleeps(loop):
    done = loop.create_future()

    def ask():
        while not loop.stats().seconds_waiting:
            pass  # until the loop sleeps
        first = loop.stats()
        second = loop.stats()
        loop.call_soon_threadsafe(done.set_result, (first, second))

    thread = threading.Thread(target=ask)
    loop.call_soon(thread.start)
    first, second = loop.run_until_complete(done)
    thread.join()
    assert first.polls == second.polls
    assert second.seconds_waiting > first.seconds_waiting


def test_stats_are_immutable_and_differ(loop, ours):
    loop.run_until_complete(ours.sleep(0))
    one = loop.stats()
    assert (one - one).turns == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.turns = 1
    with pytest.raises(TypeError):
        one - 1


def test_importing_imports_no_monitor():
    code = "import asyncio_c, sys; assert not [name for name in sys.modules if 'asyncio_c.monitor' in name]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_seconds_waiting_and_working(on_virtual_clock):
    on_virtual_clock("""
        async def main():
            loop = asyncio.get_running_loop()
            before = loop.stats()
            await asyncio_c.sleep(3)
            spend(1000)
            found = loop.stats() - before
            assert near(found.seconds_waiting, 3) and near(found.seconds_working, 1), found
            assert near(found.utilisation, 0.25)

        clock.start()
        loop = asyncio_c.new_event_loop()
        spend(5000)  # is no time of the loop's
        loop.run_until_complete(main())
        spend(5000)
        loop.run_until_complete(asyncio_c.sleep(2))
        found = loop.stats()
        assert near(found.seconds_waiting, 5) and near(found.seconds_working, 1), found
        loop.close()
        clock.stop()
    """)


def test_seconds_of_nested_runs(on_virtual_clock):
    on_virtual_clock("""
        async def main():
            spend(1000)
            loop.run_until_complete(asyncio_c.sleep(2))
            spend(1000)

        clock.start()
        asyncio_c.allow_nesting()
        loop = asyncio_c.new_event_loop()
        loop.run_until_complete(main())
        found = loop.stats()
        assert near(found.seconds_waiting, 2) and near(found.seconds_working, 2), found
        loop.close()
        clock.stop()
    """)


def test_seconds_of_single_turns(on_virtual_clock):
    on_virtual_clock("""
        clock.start()
        loop = asyncio_c.new_event_loop()
        loop.call_soon(spend, 1000)
        loop._run_once()
        loop.call_later(2, spend, 1000)
        loop._run_once()
        found = loop.stats()
        assert near(found.seconds_waiting, 2) and near(found.seconds_working, 2), found
        loop.close()
        clock.stop()
    """)


# ---- What loop.measure() switches on ----


def test_callback_times_and_lag(on_virtual_clock):
    on_virtual_clock("""
        clock.start()
        loop = asyncio_c.new_event_loop()
        loop.measure()
        for milliseconds in range(1, 101):
            loop.call_later(1, spend, milliseconds)
        loop.call_later(1000, loop.stop)
        loop.run_forever()
        found = loop.stats()
        times, lag = found.callback_times, found.lag
        assert times.count == found.callbacks == 101 and lag.count == 101
        assert near(times.sum, 5.05) and near(times.max, 0.1) and near(found.longest_callback, 0.1)
        for percent in range(1, 101):
            exact = percent / 1000  # of the 101 the one that took nothing is the least
            found_for = times.percentile(percent)
            assert exact * 0.99 - 0.001 <= found_for <= exact * (1 + 1 / 32) + 1e-9, (percent, found_for)
        # All are due at once: the n-th runs after those before it.
        lags = sorted([n * (n + 1) / 2000 for n in range(100)] + [0.0])
        assert near(lag.max, 4.95) and near(lag.sum, sum(lags))
        for percent in (1, 10, 50, 90, 99, 100):
            exact = lags[max(1, -(-101 * percent // 100)) - 1]
            assert exact <= lag.percentile(percent) <= exact * (1 + 1 / 32) + 1e-9, percent
        loop.close()
        assert loop.stats().callback_times == times
        clock.stop()
    """)


def test_a_difference_of_times(on_virtual_clock):
    on_virtual_clock("""
        async def main():
            loop = asyncio.get_running_loop()
            spend(5000)
            await asyncio_c.sleep(0)
            before = loop.stats()
            loop.call_soon(spend, 100)
            await asyncio_c.sleep(0)
            found = loop.stats() - before
            assert found.callback_times.count == 2
            assert 0.1 <= found.longest_callback <= 0.1 * (1 + 1 / 32)
            assert (found.callback_times + before.callback_times) - before.callback_times == found.callback_times

        clock.start()
        loop = asyncio_c.new_event_loop()
        loop.measure()
        loop.run_until_complete(main())
        loop.close()
        clock.stop()
    """)


def test_lag_of_sleeps_and_nested_runs(on_virtual_clock):
    on_virtual_clock("""
        async def late(seconds):
            await asyncio_c.sleep(1)
            spend(seconds * 1000)

        async def main():
            loop.call_later(2, spend, 0)
            spend(3000)
            loop.run_until_complete(asyncio_c.sleep(0))
            await asyncio_c.gather(late(1), late(2))

        clock.start()
        asyncio_c.allow_nesting()
        loop = asyncio_c.new_event_loop()
        loop.measure()
        loop.run_until_complete(main())
        lag = loop.stats().lag
        # One second late by the nested run; then one sleep is late by what follows the other.
        assert lag.count == 3 and near(lag.sum, 1 + 0 + 0) and near(lag.max, 1), list(lag)
        loop.close()
        clock.stop()
    """)


def test_lag_by_a_clock_of_a_subclass(ours):
    class Derived(ours.Loop):
        now = 0.0

        def time(self):
            return self.now

    def late():
        loop.now += 5

    with closing(Derived()) as loop:
        loop.measure()
        loop.call_later(0, late)
        loop.call_later(2, loop.stop)
        loop.run_forever()
        lag = loop.stats().lag
        assert lag.count == 2
        assert 3 <= lag.max < 4


@pytest.mark.parametrize("when", [-1e300, float("-inf")])
def test_lag_of_what_was_due_before_all_time(ours, when):
    class Derived(ours.Loop):
        def time(self):
            return 1.0

    for loop_class in (ours.Loop, Derived):
        with closing(loop_class()) as loop:
            loop.measure()
            loop.call_at(when, loop.stop)
            loop.run_forever()
            assert loop.stats().lag.max > 10**9


@pytest.mark.parametrize("debug", [False, True])
def test_measuring_is_switched_on_and_off(ours, debug):
    with closing(ours.new_event_loop()) as loop:
        loop.set_debug(debug)

        async def main():
            found = [loop.stats().callback_times]
            loop.measure()  # from the next turn on
            await ours.sleep(0)
            await ours.sleep(0)
            found.append(loop.stats().callback_times.count)
            loop.measure(True)
            await ours.sleep(0)
            found.append(loop.stats().callback_times.count)
            loop.measure(False)
            await ours.sleep(0)
            found.append(loop.stats().callback_times)
            return found

        assert loop.run_until_complete(main()) == [None, 1, 2, None]


def test_queues_that_are_changed_while_measured(ours):
    """Timers whose entry somebody has moved in loop._ready are not measured, and nothing else is wrong."""
    with closing(ours.new_event_loop()) as loop:
        loop.measure()
        ran = []
        loop.call_later(0, lambda: (ran.append(0), loop._ready.rotate(1)))
        for n in range(1, 5):
            loop.call_later(0, ran.append, n)
        loop.call_later(0, loop.stop)
        loop.run_forever()
        while len(ran) < 5:
            support.run_once(loop)
        assert loop.stats().lag.count <= 6
        assert sorted(ran) == [0, 1, 2, 3, 4]


def test_a_raising_callback_is_measured(ours):
    with closing(ours.new_event_loop()) as loop:
        loop.measure()
        loop.set_exception_handler(lambda loop, context: None)

        def interrupt():
            raise KeyboardInterrupt

        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(interrupt)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert loop.stats().callback_times.count == 2


def test_histograms():
    from asyncio_c.monitor import Histogram

    empty = Histogram()
    assert (empty.count, empty.sum, empty.max, empty.percentile(50), list(empty)) == (0, 0.0, 0.0, 0.0, [])
    assert repr(empty) == "<Histogram of nothing>"
    one = Histogram(3, 6_000, 4_100, [(1_000, 1_031, 2), (4_096, 4_223, 1)])
    assert list(one) == [(1e-06, 1.032e-06, 2), (4.096e-06, 4.224e-06, 1)]
    assert [one.percentile(p) for p in (0, 66, 67, 100)] == [1.031e-06, 1.031e-06, 4.1e-06, 4.1e-06]
    assert (one + empty, one - empty, one - one, empty + one) == (one, one, empty, one)
    twice = one + one
    assert (twice.count, twice.sum, twice.max) == (6, 1.2e-05, one.max)
    assert twice - one == one
    assert hash(twice - one) == hash(one)
    for percent in (-1, 101):
        with pytest.raises(ValueError, match="between 0 and 100"):
            one.percentile(percent)
    with pytest.raises(ValueError, match="earlier histogram"):
        one - twice
    with pytest.raises(TypeError):
        one + 1
    with pytest.raises(TypeError):
        one - 1


def test_only_loops_of_asyncio_c_are_measured(ours):
    from asyncio_c import _core

    with closing(asyncio.SelectorEventLoop()) as loop, pytest.raises(TypeError, match="asyncio_c is needed"):
        _core._measure(loop, True)
