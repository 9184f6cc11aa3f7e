"""Sub-interpreters: each has a native core, and loops, of its own."""

import sys
import textwrap
from pathlib import Path

import pytest
from unit import support

ROOT = str(Path(__file__).parents[2])


class Interpreters:
    """The module of this Python version for sub-interpreters, as far as the tests need it."""

    def __init__(self):
        if sys.version_info >= (3, 14):
            from concurrent import interpreters

            self._new = lambda: interpreters.create()
            self._run = lambda interpreter, code: interpreter.exec(code)
            self._end = lambda interpreter: interpreter.close()
        elif sys.version_info >= (3, 13):
            import _interpreters

            def run(interpreter, code):
                failure = _interpreters.exec(interpreter, code)
                if failure is not None:
                    raise RuntimeError(failure.formatted)

            self._new, self._run, self._end = _interpreters.create, run, _interpreters.destroy
        else:
            import _xxsubinterpreters

            # Python 3.12.1 corrupts its own memory when asyncio runs in an interpreter with a GIL of its own.
            self._new = lambda: _xxsubinterpreters.create(isolated=not support.PY312)
            self._run = _xxsubinterpreters.run_string
            self._end = _xxsubinterpreters.destroy

    def run(self, code):
        interpreter = self._new()
        try:
            prefix = f"import sys; sys.path.insert(0, {ROOT!r})\nimport asyncio, asyncio_c\n"
            self._run(interpreter, prefix + textwrap.dedent(code))
        finally:
            self._end(interpreter)


@pytest.fixture
def interpreters():
    return Interpreters()


@pytest.mark.whole_calls
def test_program_in_a_sub_interpreter(interpreters, native):
    """mod_wsgi, and concurrent.interpreters (3.14): a module either works there or refuses; ours works."""
    for _ in range(3):
        interpreters.run("""
            async def child(n):
                await asyncio_c.sleep(0)
                assert asyncio.current_task() in asyncio.all_tasks()
                return n

            async def main():
                assert type(asyncio.current_task()) is asyncio_c.Task
                assert len(asyncio.all_tasks()) == 1
                reader, writer = await asyncio.open_connection(sock=left)
                writer.write(b"ping")
                assert await loop.sock_recv(right, 10) == b"ping"
                writer.close()
                await asyncio_c.sleep(0.0001)
                return await asyncio_c.gather(*(child(n) for n in range(100)))

            import socket
            left, right = socket.socketpair()
            right.setblocking(False)
            loop = asyncio_c.new_event_loop()
            assert loop.run_until_complete(main()) == list(range(100))
            loop.close()
            right.close()
        """)


@pytest.mark.skipif(
    not support.PY312, reason="Python 3.11 has one running loop for all interpreters of a thread"
)
def test_each_interpreter_has_its_own_tasks(interpreters, native):
    """A task of the main interpreter is not another one's: neither current there nor among its tasks."""

    async def main():
        task = native.current_task()
        interpreters.run("""
            assert asyncio_c._core._native_tasks() == []
            assert asyncio._get_running_loop() is None
            async def inner():
                assert len(asyncio.all_tasks()) == 1
            asyncio_c.run(inner())
        """)
        assert native.current_task() is task
        assert native.all_tasks() == {task}
        await native.sleep(0)

    native.run(main())


def test_patch_in_one_interpreter_only(interpreters, native):
    """patch() rebinds names of the interpreter that called it."""
    import asyncio

    interpreters.run("""
        asyncio_c.patch()
        assert asyncio.Task is asyncio_c.Task
        async def main():
            await asyncio.sleep(0)
        asyncio.run(main())
    """)
    assert asyncio.Task is not native.Task


def test_interpreter_ends_with_live_objects(interpreters, native):
    """An embedding application may end an interpreter at any time: pending tasks and open loops must not crash it."""
    interpreters.run("""
        import warnings
        warnings.simplefilter("ignore")
        loop = asyncio_c.new_event_loop()
        async def forever():
            await asyncio_c.sleep(1000)
        task = loop.create_task(forever())
        task._log_destroy_pending = False
        loop.call_later(1000, print)
        loop.stop()
        loop.run_forever()
    """)


@pytest.mark.skipif(
    not support.PY313,
    reason="Python 3.11 takes one's running loop for another's, and 3.12 may corrupt its memory",
)
@pytest.mark.whole_calls
def test_interpreters_in_several_threads_at_once(interpreters, native):
    """Each with a loop, while a loop of the main one waits: without a GIL, or each with its own, they meet in nothing."""
    program = """
        async def child(n):
            await asyncio_c.sleep(0)
            return n

        async def main():
            answers = [await asyncio_c.gather(*(child(n) for n in range(10))) for _ in range(10)]
            assert len(asyncio.all_tasks()) == 1
            return answers

        assert asyncio_c.run(main()) == [list(range(10))] * 10
    """

    async def main():
        programs = [native.to_thread(interpreters.run, program) for _ in range(4)]
        return await native.gather(*programs, *(native.sleep(0) for _ in range(10)))

    assert native.run(main()) == [None] * 14
