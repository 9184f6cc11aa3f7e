"""The loop as an object: its base classes, its private attributes, attributes set on it, and overrides in subclasses."""

import asyncio
import inspect
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from unit import support


def test_base_classes(impl, loop):
    """nest_asyncio and looptime ask for a BaseEventLoop, set_event_loop() for an AbstractEventLoop."""
    assert isinstance(loop, asyncio.BaseEventLoop)
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert isinstance(loop, asyncio.SelectorEventLoop)
    asyncio.set_event_loop(loop)
    asyncio.set_event_loop(None)


def test_attributes_and_weak_references(loop):
    """sentry-sdk sets _sentry_flush_patched, others keep loops as weak keys."""
    loop._sentry_flush_patched = True
    assert loop._sentry_flush_patched is True
    assert weakref.ref(loop)() is loop
    assert weakref.WeakKeyDictionary({loop: 1})[loop] == 1


def test_thread_id(loop):
    """Home Assistant compares loop._thread_id with the current thread's."""
    assert loop._thread_id is None
    seen = []
    loop.call_soon(lambda: seen.append(loop._thread_id))
    support.run_once(loop)
    assert seen == [threading.get_ident()] and loop._thread_id is None


def test_default_executor(loop):
    """CPython's tests, asgiref and shutdown snippets read, and clear, loop._default_executor."""
    assert loop._default_executor is None
    with ThreadPoolExecutor(1) as executor:
        loop.set_default_executor(executor)
        assert loop._default_executor is executor
        assert (
            loop.run_until_complete(loop.run_in_executor(None, threading.get_ident)) != threading.get_ident()
        )
        loop._default_executor = None
    loop.run_until_complete(loop.run_in_executor(None, int))
    assert isinstance(loop._default_executor, ThreadPoolExecutor)
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
        loop.run_in_executor(None, int)


def test_flags(loop):
    """Shutdown helpers read _closed, _stopping and _debug."""
    assert (loop._closed, loop._stopping, loop._debug) == (False, False, False)
    loop.set_debug(True)
    assert loop._debug is True
    loop.stop()
    assert loop._stopping is True
    support.run_once(loop)
    loop.close()
    assert loop._closed is True


def test_queues_can_be_looked_into(loop):
    """prompt_toolkit, monitors and tests look at len(loop._ready) and loop._scheduled."""
    assert len(loop._ready) == len(loop._scheduled) == 0
    handle = loop.call_soon(print)
    timer = loop.call_later(1000, print)
    assert list(loop._ready) == [handle] and list(loop._scheduled) == [timer]
    handle.cancel()
    timer.cancel()


@pytest.mark.parametrize(
    "name", ["call_soon", "call_later", "call_at", "create_task", "create_future", "time"]
)
def test_method_set_on_the_instance(impl, loop, name):
    """Home Assistant, aiocop, pyzmq and looptime replace methods of one loop: what asyncio calls, must be that."""
    calls = []
    original = getattr(loop, name)

    def replaced(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    setattr(loop, name, replaced)

    async def main():
        await impl.sleep(0)
        await impl.create_task(impl.sleep(0))
        await impl.sleep(0.0001)

    loop.run_until_complete(loop.create_task(main()))
    assert calls
    delattr(loop, name)
    calls.clear()
    loop.run_until_complete(main())
    assert not calls


@pytest.mark.parametrize(
    "name", ["call_soon", "call_later", "call_at", "create_task", "create_future", "time"]
)
def test_method_overridden_in_a_subclass(impl, name):
    """Home Assistant's and tests' loops are subclasses."""
    calls = []

    def overridden(self, *args, **kwargs):
        calls.append(name)
        return getattr(impl.Loop, name)(self, *args, **kwargs)

    cls = type("Sub", (impl.Loop,), {name: overridden})

    async def main():
        await impl.sleep(0)
        await impl.create_task(impl.sleep(0))
        await impl.sleep(0.0001)

    with support.closing(cls()) as loop:
        loop.run_until_complete(loop.create_task(main()))
        assert calls


def test_class_changed(impl, loop):
    """looptime assigns loop.__class__."""
    calls = []

    class Patched(impl.Loop):
        def call_soon(self, *args, **kwargs):
            calls.append(args)
            return super().call_soon(*args, **kwargs)

    async def main():
        await impl.sleep(0)

    loop.__class__ = Patched
    loop.run_until_complete(main())
    assert calls


def test_close_replaced(impl):
    """sentry-sdk and pyzmq wrap loop.close; asyncio.Runner calls theirs."""
    closed = []

    def new_event_loop():
        loop = impl.new_event_loop()
        original = loop.close
        loop.close = lambda: (closed.append(loop), original())
        return loop

    async def main():
        await impl.sleep(0)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
    assert len(closed) == 1 and closed[0].is_closed()


def test_slow_callback_duration(loop):
    """aiodebug sets slow_callback_duration, and reads what asyncio logs then."""
    assert loop.slow_callback_duration == 0.1
    loop.slow_callback_duration = 0
    loop.set_debug(True)
    with support.recorded_logs() as logs:
        loop.call_soon(len, ())
        support.run_once(loop)
    assert any("Executing <Handle" in message and "seconds" in message for _, message, _ in logs)


def test_timer_handle_cancelled(loop):
    """A stock TimerHandle tells its loop when it is cancelled."""
    handle = asyncio.TimerHandle(loop.time() + 1000, print, (), loop)
    handle.cancel()
    assert handle.cancelled()


def test_private_readers(loop, pair):
    """PidfdChildWatcher (to 3.13), libraries with transports of their own: _add_reader() and so on."""
    left, right = pair
    seen = []
    loop._add_reader(left.fileno(), lambda: seen.append(left.recv(1)))
    right.send(b"x")
    while not seen:
        support.run_once(loop)
    assert loop._remove_reader(left.fileno()) is True
    assert loop._remove_reader(left.fileno()) is False
    loop._add_writer(left.fileno(), lambda: seen.append("w"))
    while "w" not in seen:
        support.run_once(loop)
    assert loop._remove_writer(left.fileno()) is True
    assert seen[:2] == [b"x", "w"]


def test_keywords_of_the_methods(impl):
    """aiohttp, uvicorn and anyio pass every keyword that this Python's asyncio has."""
    for name in (
        "create_connection create_server create_unix_connection create_unix_server connect_accepted_socket start_tls "
        "sendfile create_datagram_endpoint subprocess_exec subprocess_shell getaddrinfo getnameinfo "
        "shutdown_default_executor sock_sendfile run_in_executor connect_read_pipe connect_write_pipe"
    ).split():
        ours, stock = (
            set(inspect.signature(getattr(cls, name)).parameters)
            for cls in (impl.Loop, asyncio.SelectorEventLoop)
        )
        assert stock - ours == set(), name


def test_task_factory_gets_the_keywords(impl, loop):
    """OpenTelemetry, sentry-sdk and aiomonitor set task factories; 3.14 passes name and context on, as keywords."""
    seen = []

    def factory(loop, coro, **kwargs):
        seen.append(kwargs)
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    task = loop.create_task(impl.sleep(0), name="x")
    assert type(task) is asyncio.Task and task.get_name() == "x"
    (keywords,) = seen
    if support.PY314:
        assert keywords == {"name": "x"}
    elif not support.PY313:
        assert keywords == {}  # the name is set afterwards
    loop.run_until_complete(task)
    assert loop.get_task_factory() is factory
    loop.set_task_factory(None)


def test_exception_handler_and_context(loop):
    """sentry-sdk's and Home Assistant's handlers get the loop, and a dictionary with asyncio's keys."""
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append((loop, context)))
    handle = loop.call_soon(divmod, 1, 0)
    support.run_once(loop)
    ((told, context),) = seen
    assert told is loop and type(context["exception"]) is ZeroDivisionError
    assert context["handle"] is handle or context["handle"]._callback is divmod
    assert context["message"].startswith("Exception in callback divmod(")


def test_closed_loop_refuses(loop, pair):
    """asyncio's words after close(), which pytest plugins and aiohttp look for."""
    loop.close()
    loop.close()
    for use in (
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.add_reader(pair[0], print),
        lambda: loop.run_forever(),
        lambda: loop.run_in_executor(None, print),
    ):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            use()
    assert loop.remove_reader(pair[0]) is False
