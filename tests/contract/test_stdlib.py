"""What asyncio's own modules, unittest and concurrent.futures reach for on a loop, a task or a future."""

import asyncio
import concurrent.futures
import socket
import threading
import unittest
from asyncio import futures

import pytest
from unit import support


def test_timeout_needs_a_task(impl, loop):
    """asyncio.timeout() asks current_task(): a callback has none, and a task is asked to count its cancellations."""
    errors = []

    def callback():
        try:
            asyncio.timeout(1).__aenter__().send(None)
        except RuntimeError as error:
            errors.append(str(error))

    async def main():
        loop.call_soon(callback)
        await impl.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await impl.sleep(3600)
        return asyncio.current_task().cancelling()

    assert loop.run_until_complete(main()) == 0
    assert errors == ["Timeout should be used inside a task"]


def test_future_get_loop(impl, loop):
    """asyncio.futures._get_loop(): of gather(), shield(), ensure_future() and wrap_future()."""
    task = loop.create_task(impl.sleep(0))
    assert futures._get_loop(task) is futures._get_loop(loop.create_future()) is loop
    loop.run_until_complete(task)


def test_cancelled_error_of_a_task_is_given_once(impl, loop):
    """asyncio.timeout and anyio compare exceptions by identity: the one that left the coroutine is raised, then others."""
    raised = []

    async def main():
        try:
            await impl.sleep(3600)
        except asyncio.CancelledError as error:
            raised.append(error)
            raise

    task = loop.create_task(main())
    support.run_once(loop)
    task.cancel()
    support.run_until_idle(loop)
    results = []
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError) as caught:
            task.result()
        results.append(caught.value)
    assert results[0] is raised[0] and results[1] is not raised[0]
    assert [error.args for error in results] == [(), ()]


def test_result_of_a_concurrent_future(impl, loop):
    """wrap_future() and run_coroutine_threadsafe() copy states between futures of both kinds, and cancel the other one."""
    finished, cancelled = (concurrent.futures.Future() for _ in range(2))
    results = [asyncio.wrap_future(future, loop=loop) for future in (finished, cancelled)]
    finished.set_result(1)
    results[1].cancel()
    support.run_until_idle(loop)
    assert results[0].result() == 1 and cancelled.cancelled()

    async def answer():
        return 2

    copied = asyncio.run_coroutine_threadsafe(answer(), loop)
    support.run_until_idle(loop)
    assert copied.result(0) == 2


def test_name_of_the_threads_of_the_default_executor(loop):
    """Profilers and people know asyncio's threads by name."""
    name = loop.run_until_complete(loop.run_in_executor(None, lambda: threading.current_thread().name))
    assert name == "asyncio_0"
    loop.run_until_complete(loop.shutdown_default_executor())


def test_slow_name_resolution_is_logged(loop):
    """asyncio's debug mode says how long a name took."""
    loop.set_debug(True)
    loop.slow_callback_duration = -1
    with support.recorded_logs() as logs:
        loop.run_until_complete(loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM))
    loop.set_debug(False)
    messages = [message for level, message, _ in logs if message.startswith("Getting address info")]
    assert len(messages) == 1 and "localhost:80" in messages[0] and "took" in messages[0]
    loop.run_until_complete(loop.shutdown_default_executor())


def test_isolated_test_case(impl):
    """unittest.IsolatedAsyncioTestCase: on the loop of its loop_factory, from Python 3.13 on, or of the policy."""
    seen = []

    class Case(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            seen.append(asyncio.get_running_loop())

        async def test(self):
            await impl.sleep(0)
            seen.append(asyncio.get_running_loop())
            self.addAsyncCleanup(self.clean_up)

        async def clean_up(self):
            seen.append(asyncio.get_running_loop())

    # The function of a class attribute would be bound, as unittest documents with staticmethod().
    Case.loop_factory = staticmethod(impl.new_event_loop)
    result = unittest.TestResult()
    if support.PY313:
        unittest.TestSuite([Case("test")]).run(result)
    else:
        policy = asyncio.get_event_loop_policy()
        asyncio.set_event_loop_policy(type("Policy", (type(policy),), {"_loop_factory": impl.Loop})())
        try:
            unittest.TestSuite([Case("test")]).run(result)
        finally:
            asyncio.set_event_loop_policy(policy)
    assert result.wasSuccessful() and result.testsRun == 1, result.errors
    assert len(seen) == 3 and len(set(seen)) == 1
    assert isinstance(seen[0], impl.Loop) and seen[0].is_closed()
