"""What tracers, profilers, mocks and clocks replace for the whole process: methods of asyncio's own classes, and the time."""

import asyncio
import contextlib
import contextvars
import inspect
import socket
import sys
import threading
import time
import types
from unittest import mock

import pytest
from unit import support


@contextlib.contextmanager
def replaced(owner, name, make):
    """Put make(what is there) into `owner` for a while, as monkeypatching does."""
    stock = vars(owner)[name]
    setattr(owner, name, make(stock))
    try:
        yield
    finally:
        setattr(owner, name, stock)


def noted(calls):
    """Return what makes a wrapper of a method that notes its name."""

    def make(stock):
        def wrapper(self, *args, **kwargs):
            calls.append(stock.__name__)
            return stock(self, *args, **kwargs)

        return wrapper

    return make


async def nothing():
    pass


async def sleep_a_little(impl):
    await impl.sleep(1e-6)


USES = {
    "create_task": lambda impl, loop: loop.create_task(nothing()),
    "create_future": lambda impl, loop: loop.create_future(),
    "call_later": lambda impl, loop: loop.call_later(0, int),
    "call_at": lambda impl, loop: loop.call_at(loop.time(), int),
    "call_soon": lambda impl, loop: loop.call_soon(int),
    "call_soon_threadsafe": lambda impl, loop: loop.call_soon_threadsafe(int),
    "time": lambda impl, loop: loop.time(),
    "get_debug": lambda impl, loop: loop.get_debug(),
    "is_running": lambda impl, loop: loop.is_running(),
    "is_closed": lambda impl, loop: loop.is_closed(),
    "stop": lambda impl, loop: loop.stop(),
    "run_in_executor": lambda impl, loop: loop.run_until_complete(loop.run_in_executor(None, int)),
    "run_forever": lambda impl, loop: support.run_once(loop),
    "run_until_complete": lambda impl, loop: loop.run_until_complete(nothing()),
}


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("when", ["before the loop is made", "after"])
def test_method_replaced(impl, name, when):
    """ddtrace, opentelemetry and many a script wrap methods of BaseEventLoop."""
    calls = []
    with contextlib.ExitStack() as stack:
        if when == "after":
            loop = stack.enter_context(support.closing(impl.new_event_loop()))
        with replaced(asyncio.BaseEventLoop, name, noted(calls)):
            if when != "after":
                loop = stack.enter_context(support.closing(impl.new_event_loop()))
            USES[name](impl, loop)
            assert name in calls
            calls.clear()
        USES[name](impl, loop)
        assert calls == []
        loop.run_until_complete(nothing())


async def over_sockets(loop, left, right):
    """Move a few bytes by the coroutines of the loop, and watch a descriptor."""
    assert await loop.sock_sendall(left, b"abcdef") is None
    assert await loop.sock_recv(right, 2) == b"ab"
    assert await loop.sock_recv_into(right, bytearray(2)) == 2
    assert (await loop.sock_recvfrom(right, 1))[0] == b"e"
    assert (await loop.sock_recvfrom_into(right, bytearray(1)))[0] == 1
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        connection, _ = await loop.sock_accept(listener)
        connection.close()
    ready = loop.create_future()
    loop.add_reader(right, ready.set_result, "readable")
    left.send(b"x")
    assert await ready == "readable"
    loop.remove_reader(right)
    loop.add_writer(right, int)
    loop.remove_writer(right)
    assert await loop.sock_recv(right, 1) == b"x"


DESCRIPTORS = [
    *("sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"),
    *("sock_sendall", "add_reader", "add_writer", "remove_reader", "remove_writer"),
    *("_add_reader", "_add_writer", "_remove_reader", "_remove_writer"),
]


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_method_of_the_selector_loop_replaced(loop, pair, name):
    """Tracers of sockets and tests wrap those of BaseSelectorEventLoop; a wrapper is called while it is there."""
    calls = []
    with replaced(asyncio.selector_events.BaseSelectorEventLoop, name, noted(calls)):
        loop.run_until_complete(over_sockets(loop, *pair))
        assert name in calls
    calls.clear()
    loop.run_until_complete(over_sockets(loop, *pair))
    assert calls == []


@pytest.mark.parametrize("name", [name for name in DESCRIPTORS if name.startswith("sock_")])
def test_method_of_the_selector_loop_replaced_while_it_runs(loop, pair, name):
    calls = []

    async def main():
        await over_sockets(loop, *pair)
        with replaced(asyncio.selector_events.BaseSelectorEventLoop, name, noted(calls)):
            await over_sockets(loop, *pair)
            assert name in calls
        calls.clear()
        await over_sockets(loop, *pair)
        assert calls == []

    loop.run_until_complete(main())


@pytest.mark.parametrize(
    "name",
    [
        "create_task",
        "create_future",
        "call_later",
        "call_at",
        "call_soon",
        "call_soon_threadsafe",
        "time",
        "is_running",
    ],
)
def test_method_replaced_while_the_loop_runs(impl, loop, name):
    """A mock within a coroutine sees the next call, and none after its end."""
    calls = []

    async def main():
        for _ in range(3):
            with replaced(asyncio.BaseEventLoop, name, noted(calls)):
                USES[name](impl, loop)
                assert name in calls
                await sleep_a_little(impl)
                calls.clear()
                USES[name](impl, loop)
                assert name in calls
            calls.clear()
            USES[name](impl, loop)
            assert calls == []
            await sleep_a_little(impl)
            assert calls == []

    loop.run_until_complete(main())


def test_what_the_library_calls_itself(impl, loop):
    """A wrapper sees the calls that asyncio makes: tasks by create_task(), the futures and timers of sleep()."""
    calls = []

    async def main():
        await impl.create_task(sleep_a_little(impl))
        await impl.gather(sleep_a_little(impl))

    names = ["create_task", "create_future", "call_later"]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(replaced(asyncio.BaseEventLoop, name, noted(calls)))
        loop.run_until_complete(main())
    assert [name for name in calls if name == "create_task"] == ["create_task"] * 3
    assert calls.count("call_later") == 2
    assert calls.count("create_future") >= 2
    calls.clear()
    loop.run_until_complete(main())
    assert calls == []


HANDLE_USES = {
    (asyncio.Handle, "cancel"): lambda loop, handle, timer: handle.cancel(),
    (asyncio.Handle, "cancelled"): lambda loop, handle, timer: handle.cancelled(),
    (asyncio.TimerHandle, "cancel"): lambda loop, handle, timer: timer.cancel(),
    (asyncio.TimerHandle, "when"): lambda loop, handle, timer: timer.when(),
}


@pytest.mark.parametrize("owner, name", HANDLE_USES)
@pytest.mark.parametrize("made", ["before", "after"])
@pytest.mark.parametrize("debug", [False, True])
def test_method_of_handles_replaced(impl, loop, owner, name, made, debug):
    """Also of those that were there before; and what was cancelled by a wrapper is cancelled."""
    loop.set_debug(debug)
    calls, ran = [], []

    def make():
        return loop.call_soon(ran.append, 1), loop.call_later(0, ran.append, 2)

    async def main():
        if made == "before":
            handle, timer = make()
        with replaced(owner, name, noted(calls)):
            if made == "after":
                handle, timer = make()
                calls.clear()
            HANDLE_USES[owner, name](loop, handle, timer)
            assert calls == [name]
            cancelled = [handle.cancelled(), timer.cancelled()]
            assert cancelled == [
                name == "cancel" and owner is kind for kind in (asyncio.Handle, asyncio.TimerHandle)
            ]
        await support.turns(3)
        assert ran == [number for number, was in enumerate(cancelled, 1) if not was]
        calls.clear()
        HANDLE_USES[owner, name](loop, *make())
        assert calls == []

    loop.run_until_complete(main())


def test_making_of_handles_replaced(impl, loop):
    """On Python 3.11 it is noticed when the loop runs next."""
    calls = []
    with replaced(asyncio.Handle, "__init__", noted(calls)):
        support.run_once(loop)
        calls.clear()
        handles = [
            loop.call_soon(int),
            loop.call_soon_threadsafe(int),
            loop.call_at(0, int),
            loop.call_later(0, int),
        ]
        assert calls == ["__init__"] * 4
        assert [type(handle).__module__ for handle in handles] == ["asyncio.events"] * 4
        with replaced(asyncio.TimerHandle, "__init__", noted(calls)):
            support.run_once(loop)
            calls.clear()
            loop.call_later(0, int)
            assert calls == ["__init__"] * 2
    support.run_once(loop)
    calls.clear()
    loop.call_soon(int)
    loop.call_later(0, int)
    assert calls == []


def test_slow_timer_of_a_class_that_is_replaced_is_named(loop, caplog, monkeypatch):
    class Timer(asyncio.TimerHandle):
        pass

    monkeypatch.setattr(asyncio.events, "TimerHandle", Timer)
    loop.set_debug(True)
    loop.slow_callback_duration = -1
    support.run_once(loop)
    caplog.clear()
    timer = loop.call_later(0, int)
    assert type(timer) is Timer
    loop.call_later(0, loop.stop)
    loop.run_forever()
    texts = [text for text in caplog.messages if "Executing <Timer when=" in text]
    assert [text.split()[3].rpartition(".")[2] for text in texts] == ["int()", "stop()"]


def test_run_of_handles_replaced(impl, loop):
    """aiodebug and others see all that the loop runs by asyncio.Handle._run."""
    seen, ran = [], []

    async def main():
        loop.call_soon(ran.append, 1)
        loop.call_soon_threadsafe(ran.append, 2)
        loop.call_later(0, ran.append, 3)
        await support.turns(3)

    def make(stock):
        def _run(self):
            seen.append(self._callback)
            return stock(self)

        return _run

    with replaced(asyncio.Handle, "_run", make):
        loop.run_until_complete(main())
        assert seen.count(ran.append) == 3 and ran == [1, 2, 3]
        assert len(seen) >= 7
    seen.clear()
    loop.run_until_complete(main())
    assert seen == []


def test_callback_of_a_handle_replaced(impl, loop):
    """A handle's fields can be set, as asyncio's cancel() does, and tools that wrap callbacks."""
    ran = []
    handles = [loop.call_soon(print, 1), loop.call_soon(ran.append, 2), loop.call_later(0, ran.append, 3)]
    handles[0]._callback = ran.append
    handles[1]._args = ("other",)
    handles[2]._cancelled = True
    assert handles[0]._callback == ran.append and handles[1]._args == ("other",) and handles[2].cancelled()
    for _ in range(3):
        support.run_once(loop)
    assert ran == [1, "other"]


def test_mock_patch_object(impl, loop):
    async def main():
        with mock.patch.object(
            asyncio.BaseEventLoop, "call_later", autospec=True, return_value=7
        ) as call_later:
            assert loop.call_later(1, int) == 7
            call_later.assert_called_once_with(loop, 1, int)
        assert loop.call_later(0, int) != 7

    loop.run_until_complete(main())


def test_code_replaced(impl, loop):
    """ddtrace's bytecode wrapping leaves the function where it is, and gives it another code."""
    stock = asyncio.BaseEventLoop.create_task
    copy = types.FunctionType(
        stock.__code__, stock.__globals__, "copy", stock.__defaults__, stock.__closure__
    )
    copy.__kwdefaults__ = stock.__kwdefaults__
    seen = []

    def create_task(self, coro, **kwargs):
        return _copy_of_create_task(self, coro, kwargs)  # noqa: F821

    def forward(self, coro, kwargs):
        seen.append(coro)
        return copy(self, coro, **kwargs)

    code = stock.__code__
    with mock.patch.object(asyncio.base_events, "_copy_of_create_task", forward, create=True):
        stock.__code__ = create_task.__code__
        try:
            coro = nothing()
            loop.run_until_complete(coro)
            assert seen == [coro]
        finally:
            stock.__code__ = code
    loop.run_until_complete(nothing())
    assert len(seen) == 1


def test_replacement_returns_what_it_likes(impl, loop):
    """Nothing is written into it, as it would be into a handle of ours."""
    text = b"\xff" * 200
    for name in ("call_soon", "call_soon_threadsafe"):
        with replaced(asyncio.BaseEventLoop, name, lambda stock: lambda self, callback: text):
            assert getattr(loop, name)(int) is text
        assert text == bytes([255]) * 200


def test_a_replaced_method_of_another_base(impl):
    """The next class in the order of inheritance counts as well."""
    calls = []

    def create_task(self, coro, **kwargs):
        calls.append("create_task")
        return asyncio.BaseEventLoop.create_task(self, coro, **kwargs)

    asyncio.SelectorEventLoop.create_task = create_task
    try:
        with support.closing(impl.new_event_loop()) as loop:
            loop.run_until_complete(nothing())
            assert calls == ["create_task"]
    finally:
        del asyncio.SelectorEventLoop.create_task
    calls.clear()
    with support.closing(impl.new_event_loop()) as loop:
        loop.run_until_complete(nothing())
        assert calls == []


def test_an_override_in_a_subclass_comes_first(impl):
    calls = []

    class Loop(impl.Loop):
        def create_task(self, coro, **kwargs):
            calls.append("subclass")
            return super().create_task(coro, **kwargs)

    with replaced(asyncio.BaseEventLoop, "create_task", noted(calls)), support.closing(Loop()) as loop:
        loop.run_until_complete(nothing())
        assert calls == ["subclass", "create_task"]


def test_names_that_the_loop_goes_by(impl, loop):
    """asyncio's loop looks Task and Future up when it makes one."""

    class Task(asyncio.tasks._PyTask):
        pass

    class Future(asyncio.futures._PyFuture):
        pass

    with mock.patch.object(asyncio.tasks, "Task", Task), mock.patch.object(asyncio.futures, "Future", Future):
        task = loop.create_task(nothing())
        assert type(task) is Task
        assert type(loop.create_future()) is Future
        loop.run_until_complete(task)
    assert type(loop.create_future()) is not Future
    task = loop.create_task(nothing())
    assert type(task) is not Task
    loop.run_until_complete(task)


def test_replaced_by_another_thread_while_the_loop_waits(impl, loop):
    calls = []
    undo = contextlib.ExitStack()

    def replace():
        undo.enter_context(replaced(asyncio.BaseEventLoop, "create_future", noted(calls)))
        loop.call_soon_threadsafe(woken.set)

    async def main():
        thread = threading.Thread(target=replace)
        thread.start()
        await woken.wait()
        await sleep_a_little(impl)
        thread.join()

    with undo:
        woken = asyncio.Event()
        loop.run_until_complete(main())
        assert "create_future" in calls


@pytest.mark.parametrize("owner", [asyncio.Transport, asyncio.BaseTransport])
def test_get_extra_info_replaced(impl, loop, owner):
    """A tracer's wrapper in asyncio.Transport stands before what that inherits."""
    calls = []
    stock = owner.get_extra_info
    is_own = "get_extra_info" in vars(owner)

    def get_extra_info(self, name, default=None):
        calls.append(name)
        return "answer" if name == "question" else stock(self, name, default)

    async def main():
        ends = socket.socketpair()
        streams = [await loop.create_connection(asyncio.Protocol, sock=end) for end in ends]
        transports = [transport for transport, _ in streams]
        for _ in range(2):
            owner.get_extra_info = get_extra_info
            try:
                for transport in transports:
                    assert transport.get_extra_info("question") == "answer"
                    assert transport.get_extra_info("socket").fileno() >= 0
                    assert transport.get_extra_info("nothing", default=7) == 7
                assert calls == ["question", "socket", "nothing"] * 2
            finally:
                if is_own:
                    owner.get_extra_info = stock
                else:
                    del owner.get_extra_info
            calls.clear()
            assert [transport.get_extra_info("question") for transport in transports] == [None, None]
            assert calls == []
        for transport in transports:
            transport.close()
        await asyncio.sleep(0)

    loop.run_until_complete(main())


# ---- The time ----


def test_monotonic_replaced(impl, loop):
    """mock.patch("time.monotonic") is seen by loop.time(), and by the timers that are set with it."""
    with mock.patch("time.monotonic", return_value=77.5):
        assert loop.time() == 77.5
        assert loop.call_later(1, int).when() == 78.5
    assert loop.time() == pytest.approx(time.monotonic(), abs=60)


def test_timers_follow_the_replaced_time(impl, loop):
    """What is due is a question of the replaced clock."""
    now = [1000.0]
    order = []

    async def main():
        loop.call_later(100, order.append, 100)
        loop.call_later(50, order.append, 50)
        loop.call_later(1000, order.append, 1000)
        await support.turns(3)
        assert order == []
        now[0] += 60
        await support.turns(3)
        assert order == [50]
        now[0] += 60
        await support.turns(3)
        assert order == [50, 100]

    with mock.patch("time.monotonic", lambda: now[0]):
        loop.run_until_complete(main())


def test_time_replaced_within_a_callback(impl, loop):
    async def main():
        started = loop.time()
        stock = time.monotonic
        fired = []
        loop.call_later(3600, fired.append, 1)
        with mock.patch("time.monotonic", lambda: stock() + 3600):
            assert loop.time() >= started + 3600
            await support.turns(3)
            assert fired == [1]
        assert loop.time() < started + 3600
        await sleep_a_little(impl)

    loop.run_until_complete(main())


def test_the_name_time_of_asyncio_replaced(loop):
    """mock.patch("asyncio.base_events.time"): so CPython's own tests, and others, give the loop a clock."""
    clock = types.SimpleNamespace(monotonic=lambda: 77.5)
    seen = []

    async def main():
        with mock.patch("asyncio.base_events.time", clock):
            seen.append(loop.time())
            seen.append(loop.call_later(1, int).when())
            await asyncio.sleep(0)
            seen.append(loop.time())
        seen.append(loop.time() == pytest.approx(time.monotonic(), abs=60))

    with mock.patch("asyncio.base_events.time", clock):
        assert loop.time() == 77.5
    assert loop.time() == pytest.approx(time.monotonic(), abs=60)
    loop.run_until_complete(main())
    assert seen == [77.5, 78.5, 77.5, True]


def test_timers_follow_the_name_time_of_asyncio(loop):
    now = [time.monotonic()]
    fired = []

    async def main():
        loop.call_later(3600, fired.append, 1)
        with mock.patch("asyncio.base_events.time", types.SimpleNamespace(monotonic=lambda: now[0])):
            now[0] += 3000
            await support.turns(3)
            assert fired == []
            now[0] += 1000
            await support.turns(3)
            assert fired == [1]

    loop.run_until_complete(main())


async def read_by_turns(impl, loop, seen):
    for _ in range(3):
        await impl.sleep(0)
        seen.append(loop.time())


async def read_by_sleeping(impl, loop, seen):
    for delay in (0.003, 0, 0.001):
        await impl.sleep(delay)
        seen.append(loop.time())


async def read_by_timers(impl, loop, seen):
    ended = loop.create_future()
    for count in range(5):
        loop.call_later(count * 0.002, lambda: seen.append(loop.time()))
    loop.call_later(0.005, int).cancel()
    loop.call_later(0.001, int).cancel()
    loop.call_at(loop.time() + 0.02, ended.set_result, None)
    await ended
    seen.append(loop.time())


async def read_by_timeouts(impl, loop, seen):
    for seconds in (0.001, 10):
        try:
            async with impl.timeout(seconds) as timeout:
                seen.append(timeout.when())
                await impl.sleep(0.004)
            timeout = impl.timeout_at(loop.time() + seconds)
            async with timeout:
                timeout.reschedule(loop.time())
                await impl.sleep(0.004)
        except TimeoutError:
            seen.append(loop.time())


async def read_by_waiting(impl, loop, seen):
    for seconds in (0.001, 10, 0, None):
        try:
            seen.append(await impl.wait_for(impl.sleep(0.004, "slept"), seconds))
        except TimeoutError:
            seen.append("timed out")
        seen.append(loop.time())
        task = impl.create_task(impl.sleep(0.004))
        await impl.wait([task], timeout=seconds)
        seen.append(loop.time())
        await task
    for future in impl.as_completed([impl.sleep(0.001), impl.sleep(0.001)], timeout=5):
        await future
        seen.append(loop.time())
    await impl.gather(impl.sleep(0.001), impl.sleep(0), impl.shield(impl.sleep(0.002)))
    seen.append(loop.time())


async def read_by_descriptors(impl, loop, seen):
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        loop.call_soon(left.send, b"x")
        seen.append(await loop.sock_recv(right, 1))
        seen.append(loop.time())
        woken = loop.create_future()
        loop.add_reader(right, woken.set_result, None)
        left.send(b"y")
        await woken
        loop.remove_reader(right)
        seen.append(loop.time())


READING = [
    read_by_turns,
    read_by_sleeping,
    read_by_timers,
    read_by_timeouts,
    read_by_waiting,
    read_by_descriptors,
]
CLOCKS = {
    "time.monotonic": lambda clock: clock,
    "asyncio.base_events.time": lambda clock: types.SimpleNamespace(
        monotonic=clock, get_clock_info=time.get_clock_info
    ),
}


def readings(impl, program, target, debug, within):
    """Run `program` by a clock that goes on by a millisecond with each reading; return what it saw of that clock.

    Each number of the list depends on how often the clock was read before, as with a mock that has a list of answers.
    """
    count = 0
    seen = []

    def monotonic():
        nonlocal count
        count += 1
        return 1000 + count / 1024

    clock = mock.patch(target, CLOCKS[target](monotonic))

    async def main():
        with clock:
            seen.append(loop.time())
            await program(impl, loop, seen)

    with support.closing(impl.new_event_loop()) as loop:
        loop.set_debug(debug)
        loop.slow_callback_duration = 1e9
        if within:
            loop.run_until_complete(main())
        else:
            with clock:
                loop.run_until_complete(program(impl, loop, seen))
    return seen, count


@pytest.mark.parametrize("program", READING)
@pytest.mark.parametrize("target", CLOCKS)
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("within", [False, True], ids=["around the run", "within a task"])
def test_replaced_time_is_read_as_often(ours, stock, program, target, debug, within):
    """A mock with side_effect=[...] gives the same times to the same readers."""
    assert readings(ours, program, target, debug, within) == readings(stock, program, target, debug, within)


def test_profilers_see_that_the_loop_waits(impl, loop):
    """pyinstrument: before the wait and after it a function is called, or returns, that is not in the task's context."""
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    async def main():
        variable.set("the task's")
        future = loop.create_future()
        loop.call_later(0.001, future.set_result, None)
        sys.setprofile(lambda frame, event, argument: seen.append(variable.get()))
        await future
        sys.setprofile(None)

    try:
        loop.run_until_complete(main())
    finally:
        sys.setprofile(None)
    outside = [index for index, value in enumerate(seen) if value == "none"]
    assert seen[0] == seen[-1] == "the task's" and len(outside) >= 4


# ---- Functions and methods of ours that stand where asyncio has functions in Python ----

FUNCTIONS = ["create_task", "gather", "shield", "sleep", "timeout", "timeout_at", "wait", "wait_for"]


def stock_of(name):
    return getattr(asyncio.timeouts if "timeout" in name else asyncio.tasks, name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_tools_read_of_a_function(impl, name):
    """wrapt, mock and tracers take functions apart by these."""
    function, stock = getattr(impl, name), stock_of(name)
    assert inspect.isfunction(function)
    assert inspect.iscoroutinefunction(function) == inspect.iscoroutinefunction(stock)
    assert inspect.signature(function) == inspect.signature(stock)
    for attribute in (
        "__code__",
        "__defaults__",
        "__kwdefaults__",
        "__globals__",
        "__name__",
        "__qualname__",
    ):
        assert getattr(function, attribute) == getattr(stock, attribute)


def in_place_of(function):
    """Replace a function's code in place, as ddtrace does; return what puts the old one back, and the calls noted."""
    calls = []
    function.__globals__["_noted"] = calls

    def wrapper(*args, **kwargs):
        _noted.append(args)  # noqa: F821

    async def coroutine_wrapper(*args, **kwargs):
        _noted.append(args)  # noqa: F821

    code = function.__code__
    function.__code__ = (coroutine_wrapper if inspect.iscoroutinefunction(function) else wrapper).__code__

    def undo():
        function.__code__ = code
        del function.__globals__["_noted"]

    return calls, undo


@pytest.mark.parametrize("name", FUNCTIONS)
def test_code_of_a_function_replaced_in_place(impl, loop, name):
    """ddtrace wraps functions by giving them another __code__."""
    function = getattr(impl, name)
    calls, undo = in_place_of(function)
    try:
        result = function("argument")
        if inspect.iscoroutine(result):
            result = loop.run_until_complete(result)
        assert (result, calls) == (None, [("argument",)])
    finally:
        undo()

    async def main():
        await impl.sleep(0)
        await impl.wait([impl.create_task(nothing())])
        await impl.wait_for(impl.shield(nothing()), 10)
        async with impl.timeout(10), impl.timeout_at(loop.time() + 10):
            return await impl.gather(nothing(), nothing())

    assert loop.run_until_complete(main()) == [None, None]
    assert len(calls) == 1


def test_create_task_of_a_group_is_a_function(impl, loop):
    """ddtrace's profiler gives it another __code__, and does not start where it has none."""
    method = impl.TaskGroup.create_task
    stock = asyncio.taskgroups.TaskGroup.create_task
    assert inspect.isfunction(method)
    assert inspect.signature(method) == inspect.signature(stock)
    assert method.__code__ is stock.__code__

    async def main():
        async with impl.TaskGroup() as group:
            return await group.create_task(nothing(), name="named"), group.create_task(
                nothing()
            ).get_name() != "named"

    assert loop.run_until_complete(main()) == (None, True)
    with mock.patch.object(impl.TaskGroup, "create_task", autospec=True, side_effect=method) as patched:
        assert loop.run_until_complete(main()) == (None, True)
    assert patched.call_count == 2
    with pytest.raises(TypeError):
        method()


def test_what_functions_call_themselves(impl, loop):
    """ddtrace's profiler hooks into the future of gather(), and into what wait() calls."""
    calls = []

    async def main():
        await impl.gather(nothing())
        await impl.wait([impl.create_task(nothing())])

    with replaced(asyncio.tasks._GatheringFuture, "__init__", noted(calls)):
        loop.run_until_complete(main())
    assert calls == ["__init__"]
    with replaced(asyncio.tasks, "_wait", noted(calls)):
        loop.run_until_complete(main())
    assert calls == ["__init__", "_wait"]
    loop.run_until_complete(main())
    assert calls == ["__init__", "_wait"]
