"""Runs within runs: what nest_asyncio makes of asyncio's loops, which ours do by themselves when they are allowed to.

Jupyter, llama_index, ragas, sglang and many notebooks call nest_asyncio.apply() and then run_until_complete() in a task.
"""

import asyncio
import importlib.util
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from unit import support

ROOT = str(Path(__file__).parents[2])
NESTERS = ["nest_asyncio2"] if support.PY314 else ["nest_asyncio", "nest_asyncio2"]


@pytest.fixture
def nesting():
    """Nested runs are allowed during the test."""
    import asyncio_c

    asyncio_c.allow_nesting()
    yield
    asyncio_c.allow_nesting(False)


@pytest.fixture
def loop_of_ours(nesting, ours):
    with support.closing(ours.new_event_loop()) as loop:
        yield loop


def test_refused_by_default(impl, loop):
    """asyncio's words, which programs and people know."""

    # Not run_forever(): a refused one leaves asyncio's own loop in disorder in Python 3.13.
    async def main():
        coroutine = impl.sleep(0)
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_until_complete(coroutine)
        other = impl.new_event_loop()
        with pytest.raises(RuntimeError, match="Cannot run the event loop while another loop is running"):
            other.run_until_complete(coroutine)
        other.close()
        coroutine.close()
        assert not hasattr(loop, "_nest_patched")
        assert asyncio.current_task() is not None

    loop.run_until_complete(main())


def test_run_forever_is_refused_by_default(ours):
    """A refused run changes nothing for the one that goes on."""

    async def main():
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_forever()
        with support.closing(ours.new_event_loop()) as other:
            with pytest.raises(RuntimeError, match="Cannot run the event loop while another loop is running"):
                other.run_forever()
            assert asyncio.get_running_loop() is loop and loop.is_running()
            asyncio._set_running_loop(None)
        asyncio._set_running_loop(loop)

    with support.closing(ours.new_event_loop()) as loop:
        loop.run_until_complete(main())


def test_run_until_complete_in_a_task(ours, loop_of_ours):
    """nest_asyncio: other tasks go on meanwhile, and who runs is known on each level."""
    loop = loop_of_ours
    log = []

    async def ticker():
        while True:
            log.append("tick")
            await ours.sleep(0)

    async def inner(depth):
        me = asyncio.current_task()
        await ours.sleep(0)
        if depth:
            assert loop.run_until_complete(inner(depth - 1)) == depth - 1
        assert asyncio.current_task() is me
        assert asyncio.get_running_loop() is loop
        await ours.sleep(0)
        assert asyncio.current_task() is me
        return depth

    async def main():
        other = ours.create_task(ticker())
        await ours.sleep(0)
        before = len(log)
        result = loop.run_until_complete(inner(5))
        assert len(log) - before >= 12
        other.cancel()
        return result

    assert loop.run_until_complete(main()) == 5
    assert not loop.is_running() and asyncio._get_running_loop() is None


def test_run_until_complete_in_a_callback(ours, loop_of_ours):
    """IPython's and tornado's callbacks run coroutines to their end; there is no current task around that."""
    seen = []

    def callback():
        assert asyncio.current_task() is None
        seen.append(loop_of_ours.run_until_complete(ours.sleep(0, "result")))
        assert asyncio.current_task() is None
        loop_of_ours.stop()

    loop_of_ours.call_soon(callback)
    loop_of_ours.run_forever()
    assert seen == ["result"]


@pytest.mark.parametrize("kind", ["_CTask", "_PyTask"])
def test_stock_tasks_nest_too(ours, loop_of_ours, kind):
    """nest_asyncio rebinds asyncio.Task to the Python class; C tasks come from modules that bound it early."""
    cls = getattr(asyncio.tasks, kind)
    if kind == "_PyTask" and support.PY314:
        pytest.skip("from Python 3.14 on asyncio.current_task() does not know Python tasks, on any loop")
    loop = loop_of_ours

    async def inner(depth):
        me = asyncio.current_task()
        await asyncio.sleep(0)
        if depth:
            loop.run_until_complete(cls(inner(depth - 1), loop=loop))
            assert await ours.sleep(0, "native") == "native"
        assert asyncio.current_task() is me
        return depth

    assert loop.run_until_complete(cls(inner(3), loop=loop)) == 3
    assert loop.run_until_complete(inner(3)) == 3


def test_exception_of_a_nested_run(ours, loop_of_ours):
    async def fails():
        await ours.sleep(0)
        raise ZeroDivisionError

    async def main():
        me = asyncio.current_task()
        with pytest.raises(ZeroDivisionError):
            loop_of_ours.run_until_complete(fails())
        assert asyncio.current_task() is me
        return await ours.sleep(0, "on")

    assert loop_of_ours.run_until_complete(main()) == "on"


@pytest.mark.parametrize("exit_exception", [KeyboardInterrupt, SystemExit])
def test_exit_leaves_all_runs(ours, loop_of_ours, exit_exception):
    """Ctrl-C in a notebook's nested run."""

    def leave():
        raise exit_exception

    async def main():
        loop_of_ours.call_soon(leave)
        loop_of_ours.run_until_complete(ours.sleep(1000))

    with pytest.raises(exit_exception):
        loop_of_ours.run_until_complete(main())
    assert not loop_of_ours.is_running() and asyncio._get_running_loop() is None
    assert asyncio.current_task(loop_of_ours) is None


def test_outer_future_done_during_a_nested_run(ours, loop_of_ours):
    """The outer run's future stops the loop when it is done: that must not end a run within, and not be forgotten."""
    loop = loop_of_ours
    log = []

    async def slow():
        for _ in range(10):
            await ours.sleep(0)
        log.append("inner")

    async def runs_nested():
        loop.run_until_complete(slow())
        log.append("nested")

    async def main():
        task = ours.create_task(runs_nested())
        await ours.sleep(0)
        log.append("outer")
        return task

    task = loop.run_until_complete(main())
    assert log == ["outer", "inner", "nested"]
    assert task.done()


def test_outer_future_done_during_a_nested_run_forever(ours, loop_of_ours):
    loop = loop_of_ours
    log = []

    async def runs_nested():
        loop.run_forever()
        log.append("nested")

    async def main():
        ours.create_task(runs_nested())
        await ours.sleep(0)
        log.append("outer")

    loop.run_until_complete(main())
    assert log == ["outer", "nested"]


def test_stop_ends_all_runs_until_complete(ours, loop_of_ours):
    """nest_asyncio: stop() is for every level; ipykernel ends its loop so."""
    loop = loop_of_ours
    log = []

    async def main():
        loop.call_soon(loop.stop)
        sleeper = ours.create_task(ours.sleep(1000))
        with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
            loop.run_until_complete(sleeper)
        log.append("inner")
        sleeper.cancel()
        await loop.create_future()

    task = loop.create_task(main())
    with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
        loop.run_until_complete(task)
    assert log == ["inner"]


def test_stop_ends_one_run_forever(loop_of_ours):
    """nest_asyncio: run_forever() takes the stop() for itself."""
    loop = loop_of_ours
    log = []

    def outer():
        loop.call_soon(loop.stop)
        loop.run_forever()
        log.append("inner")
        loop.call_soon(log.append, "goes on")
        loop.call_soon(loop.stop)

    loop.call_soon(outer)
    loop.run_forever()
    assert log == ["inner", "goes on"]


@pytest.mark.parametrize("outer_kind", ["asyncio", "native"])
def test_another_loop_in_a_task(ours, nesting, outer_kind):
    """nest_asyncio2's asyncio.run() with a loop factory: a loop of its own, within the running one's task."""
    outer = support.load(outer_kind)

    async def main():
        me = asyncio.current_task()
        with support.closing(ours.new_event_loop()) as inner:

            async def child():
                assert asyncio.get_running_loop() is inner
                assert asyncio.current_task() is not me
                return await ours.gather(ours.sleep(0, 1), ours.sleep(0.0001, 2))

            assert inner.run_until_complete(child()) == [1, 2]
        assert asyncio.current_task() is me
        assert asyncio.get_running_loop() is loop
        await outer.sleep(0)
        assert asyncio.current_task() is me

    with support.closing(outer.new_event_loop()) as loop:
        loop.run_until_complete(main())


def test_refused_in_another_thread(loop_of_ours):
    """A loop runs in one thread at a time, allowed or not."""
    errors = []

    def elsewhere():
        try:
            loop_of_ours.run_forever()
        except RuntimeError as error:
            errors.append(str(error))

    def callback():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        loop_of_ours.stop()

    loop_of_ours.call_soon(callback)
    loop_of_ours.run_forever()
    assert errors == ["This event loop is already running"]


@pytest.mark.whole_calls
def test_what_was_written_is_sent_first(ours, loop_of_ours, pair):
    """What a callback writes is sent when it ends; in a nested run the answer may come before that."""
    loop = loop_of_ours
    left, right = pair

    def echo():
        right.send(right.recv(100))

    async def main():
        loop.add_reader(right, echo)
        answer = loop.create_future()

        class Client(asyncio.Protocol):
            def data_received(self, data):
                answer.set_result(data)

        transport, _ = await loop.create_connection(Client, sock=left)
        transport.write(b"question")
        result = loop.run_until_complete(answer)
        loop.remove_reader(right)
        transport.close()
        return result

    assert loop.run_until_complete(main()) == b"question"


def test_debug_mode(ours, loop_of_ours):
    """The origin of coroutines is still recorded after a nested run, and the exception handler knows who raised."""
    loop = loop_of_ours
    loop.set_debug(True)
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    def callback():
        loop.run_until_complete(asyncio.sleep(0))
        loop.call_exception_handler({"message": "x"})
        assert sys.get_coroutine_origin_tracking_depth() > 0
        loop.stop()

    loop.call_soon(callback)
    loop.run_forever()
    assert sys.get_coroutine_origin_tracking_depth() == 0
    assert [context["message"] for context in contexts] == ["x"]
    assert loop._current_handle is None


def test_asynchronous_generators_after_a_nested_run(ours, loop_of_ours):
    """Their hooks are the outer run's again."""

    async def main():
        hooks = sys.get_asyncgen_hooks()
        loop_of_ours.run_until_complete(ours.sleep(0))
        assert sys.get_asyncgen_hooks() == hooks and hooks.finalizer is not None

    loop_of_ours.run_until_complete(main())


PROGRAM = """
    import asyncio, sys
    sys.path.insert(0, {root!r})
    import asyncio_c
    import {nester} as nester

    if {mode!r} != "factory":
        getattr(asyncio_c, {mode!r})()
    loop = asyncio_c.new_event_loop()
    asyncio.set_event_loop(loop)

    async def inner(depth):
        me = asyncio.current_task()
        await asyncio.sleep(0.0001)
        if depth:
            assert asyncio.get_event_loop().run_until_complete(inner(depth - 1)) == depth - 1
        assert asyncio.current_task() is me is not None
        return depth

    async def main():
        if {when!r} == "inside":
            nester.apply()
        me = asyncio.current_task()
        assert loop.run_until_complete(inner(2)) == 2
        assert asyncio.run(inner(1)) == 1
        assert asyncio.current_task() is me
        assert asyncio.get_running_loop() is loop
        assert await asyncio.gather(inner(0), inner(2)) == [0, 2]
        assert await asyncio.Task(inner(2), loop=loop) == 2
        return "done"

    if {when!r} == "before":
        nester.apply(loop)
    assert loop.run_until_complete(main()) == "done"
    assert asyncio.run(main()) == "done"
    assert asyncio_c.Loop.run_until_complete.__module__ == "asyncio_c.loop"
    loop.close()
"""


@pytest.mark.parametrize("when", ["before", "inside"])
@pytest.mark.parametrize("mode", ["factory", "install", "patch"])
@pytest.mark.parametrize("nester", NESTERS)
def test_apply(nester, mode, when):
    """nest_asyncio.apply(), in a process of its own, because nothing takes it back."""
    if importlib.util.find_spec(nester) is None:
        pytest.skip(f"{nester} is not installed")
    program = textwrap.dedent(PROGRAM).format(root=ROOT, nester=nester, mode=mode, when=when)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
