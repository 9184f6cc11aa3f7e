"""What other loops have surprised their users with, on valid input. asyncio does all of it right, and so do we.

Each test names the surprise. Empty datagrams are in tests/unit/net/test_datagram.py.
"""

import asyncio
import contextvars
import os
import random
import signal
import subprocess
import sys
import threading

import pytest
from unit import marks, support


class Recorder(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self, made=None, received=None):
        self.events = []
        self.lost = asyncio.get_running_loop().create_future()
        self._made = made
        self._received = received

    def connection_made(self, transport):
        self.transport = transport
        if self._made is not None:
            self._made(transport)

    def data_received(self, data):
        self.events.append(data)
        if self._received is not None:
            self._received(data)

    def connection_lost(self, exc):
        self.lost.set_result(exc)


@pytest.mark.parametrize("order", ["cancel, send", "send, cancel", "send, turn, cancel"])
def test_cancelled_sock_recv_takes_no_data(loop, pair, order):
    """Data that came together with the cancellation was gone."""
    left, right = pair

    async def main():
        task = loop.create_task(loop.sock_recv(left, 100))
        await support.turns(1)
        received = b""
        for step in order.split(", "):
            if step == "cancel":
                task.cancel()
            elif step == "send":
                right.send(b"data")
            else:
                await support.turns(1)
        try:
            received = await task
        except asyncio.CancelledError:
            pass
        return received or await loop.sock_recv(left, 100)

    assert loop.run_until_complete(main()) == b"data"


def test_pause_reading_in_connection_made_holds(loop, pair):
    """Reading began after connection_made(), paused or not."""
    left, right = pair

    async def main():
        right.send(b"early")
        transport, protocol = await loop.create_connection(
            lambda: Recorder(made=lambda transport: transport.pause_reading()), sock=left
        )
        await support.turns(10)
        assert protocol.events == []
        assert not transport.is_reading()
        transport.resume_reading()
        await support.turns(3)
        assert protocol.events == [b"early"]
        transport.close()
        await protocol.lost

    loop.run_until_complete(main())


def test_writelines_of_a_generator(loop, pair):
    """What could be gone through once only was gone through twice."""
    left, right = pair

    async def main():
        transport, protocol = await loop.create_connection(Recorder, sock=left)
        transport.writelines(bytes([65 + i]) * i for i in range(4))
        transport.close()
        await protocol.lost
        return right.recv(100)

    assert loop.run_until_complete(main()) == b"BCCDDD"


def test_exception_in_data_received_ends_the_connection_with_it(loop, pair):
    """The connection went on, or its end did not tell why."""
    left, right = pair
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context["exception"]))
    error = LookupError("x")

    def fail(data):
        raise error

    async def main():
        _, protocol = await loop.create_connection(lambda: Recorder(received=fail), sock=left)
        right.send(b"data")
        return await protocol.lost

    assert loop.run_until_complete(main()) is error
    assert reports == [error]


def test_child_opens_its_standard_output_anew(loop):
    """With pairs of sockets for pipes, /dev/stdout cannot be opened."""

    async def main():
        process = await asyncio.create_subprocess_shell(
            "echo out >/dev/stdout; echo err >/dev/stderr", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        return await process.communicate()

    assert loop.run_until_complete(main()) == (b"out\n", b"err\n")


def test_child_is_made_without_a_copy_of_the_address_space(loop, monkeypatch):
    """Spawning cost the more, the more memory the parent had: fork() instead of vfork()."""
    calls = []
    fork_exec, posix_spawn = subprocess._fork_exec, os.posix_spawn

    def record(*args):
        calls.append(args)
        return fork_exec(*args)

    def spawn(*args, **keywords):
        calls.append(None)
        return posix_spawn(*args, **keywords)

    monkeypatch.setattr(subprocess, "_fork_exec", record)
    monkeypatch.setattr(
        os, "posix_spawn", spawn
    )  # which never copies, and is what 3.13 and later take where they can

    async def main():
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        return await process.wait()

    assert loop.run_until_complete(main()) == 0
    [args] = calls
    if args is None:
        assert sys.version_info >= (3, 13)
    else:
        *_, preexec_function, may_vfork = args
        assert preexec_function is None and may_vfork


def test_loops_leave_no_descriptor(impl):
    """Each loop that was closed left one."""
    impl.new_event_loop().close()
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(2000):
        impl.new_event_loop().close()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_loop_runs_on_after_a_keyboard_interrupt(impl, loop):
    """A loop that had been left by one could not be used again, or had lost what was queued."""
    order = []

    def interrupt():
        raise KeyboardInterrupt

    loop.call_soon(order.append, "before")
    loop.call_soon(interrupt)
    loop.call_soon(order.append, "after")
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert order == ["before"]
    assert loop.run_until_complete(impl.sleep(0, "on")) == "on"
    assert order == ["before", "after"]


@marks.needs_system_calls_of_threads
def test_handler_by_signal_signal_runs_at_once_in_an_idle_loop(loop):
    """It ran when the loop next had something to do."""

    class Called(Exception):
        pass

    def handler(number, frame):
        raise Called

    main_thread = threading.main_thread()

    def send():
        support.wait_until_asleep(main_thread.native_id)
        signal.pthread_kill(main_thread.ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=send)
    try:
        loop.call_soon(thread.start)
        with pytest.raises(Called):
            loop.run_forever()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.skipif(not support.PY312, reason="eager tasks are new in 3.12")
def test_eager_task_factory(impl, loop):
    """set_task_factory() was ignored, or its keywords not understood."""
    loop.set_task_factory(asyncio.eager_task_factory)

    async def at_once():
        return "done"

    async def main():
        task = asyncio.create_task(at_once(), name="eager")
        return task.done(), task.get_name(), await task

    assert loop.run_until_complete(main()) == (True, "eager", "done")


def test_contexts_do_not_leak_between_tasks(impl, loop, pair):
    """A callback of a descriptor ran in the context of whatever had run before."""
    left, right = pair
    var = contextvars.ContextVar("var", default="none")
    seen = []

    async def other():
        for i in range(5):
            var.set(f"other {i}")
            await impl.sleep(0)

    async def main():
        var.set("main")
        loop.add_reader(left, lambda: (seen.append(var.get()), loop.remove_reader(left)))
        task = impl.create_task(other())
        var.set("later")
        right.send(b"x")
        await task
        return var.get()

    assert loop.run_until_complete(main()) == "later"
    assert seen == ["main"]
    assert var.get() == "none"


def test_timers_are_not_on_a_grid(loop):
    """Deadlines were rounded to milliseconds, and those of one millisecond ran in the order in which they were set."""
    deadlines = [loop.time() + i * 1e-5 for i in range(500)]
    random.Random(1).shuffle(deadlines)
    fired = []
    for when in deadlines:
        loop.call_at(when, fired.append, when)
    loop.call_at(max(deadlines) + 1e-5, loop.stop)
    loop.run_forever()
    assert fired == sorted(deadlines)


def test_cancelling_timers_in_any_order(loop):
    """Of many timers the wrong ones ran after others had been cancelled."""
    chance = random.Random(2)
    start = loop.time()
    fired = []
    timers = [loop.call_at(start + chance.random() * 1e-4, fired.append, i) for i in range(20_000)]
    order = list(range(20_000))
    chance.shuffle(order)
    for i in order[:-100]:
        timers[i].cancel()
    kept = sorted(order[-100:], key=lambda i: timers[i].when())
    loop.call_at(start + 2e-4, loop.stop)
    loop.run_forever()
    assert fired == kept
