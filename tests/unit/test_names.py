"""import asyncio_c as asyncio: every public name is there, native where there is a native one; run and Runner."""

import asyncio
import inspect
import re
import subprocess
import sys
import warnings
from asyncio import events

import pytest
from same_output import ROOT, environment

import asyncio_c

from .support import PRIMITIVES, STREAM_FUNCTIONS, STREAMS

NATIVE = [
    "Future",
    "Handle",
    "Task",
    "TimerHandle",
    "create_task",
    "gather",
    "shield",
    "sleep",
    "timeout",
    "timeout_at",
    "to_thread",
    "wait",
    "wait_for",
]


async def noop():
    return "done"


def test_unbuilt_sources_say_what_to_do(tmp_path):
    """What somebody sees who starts Python in the folder of the sources after an installation that is not editable."""
    package = tmp_path / "asyncio_c"
    package.mkdir()
    for source in (ROOT / "asyncio_c").glob("*.py"):
        (package / source.name).write_text(source.read_text())
    # -S: else an editable installation's own finder supplies the missing module.
    command = [sys.executable, "-S", "-c", "import asyncio_c"]
    result = subprocess.run(command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True)
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: asyncio_c in {package} is not built for this Python")
    assert "pip install -e ." in last and "During handling" not in result.stderr


# ---- names ----


@pytest.mark.parametrize("name", sorted(asyncio.__all__))
def test_name_of_asyncio(name):
    ours = getattr(asyncio_c, name)
    if name not in [
        *NATIVE,
        "EventLoop",
        "Runner",
        "TaskGroup",
        *PRIMITIVES,
        "as_completed",
        *STREAMS,
        *STREAM_FUNCTIONS,
        "Timeout",
        "eager_task_factory",
        "new_event_loop",
        "run",
    ]:
        assert ours is getattr(asyncio, name)


@pytest.mark.parametrize("name", NATIVE)
def test_native_name(name):
    from asyncio_c import _core

    assert getattr(asyncio_c, name) is getattr(_core, name)
    assert getattr(asyncio_c, name) is not getattr(asyncio, name)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitive(name):
    from asyncio_c import primitives

    assert getattr(asyncio_c, name) is getattr(primitives, name)
    assert issubclass(getattr(asyncio_c, name), getattr(asyncio, name))


@pytest.mark.parametrize("name", STREAMS)
def test_stream_class(name):
    from asyncio_c import streams

    ours, stock = getattr(asyncio_c, name), getattr(asyncio, name)
    assert ours is getattr(streams, name)
    assert issubclass(ours, stock) and ours.__module__ == stock.__module__ and ours.__name__ == name


@pytest.mark.parametrize("name", STREAM_FUNCTIONS)
def test_stream_function(name):
    """It is asyncio's own, with our classes."""
    ours, stock = getattr(asyncio_c, name), getattr(asyncio, name)
    assert ours.__code__ is stock.__code__ and ours.__kwdefaults__ == stock.__kwdefaults__
    assert inspect.signature(ours) == inspect.signature(stock) and ours.__doc__ == stock.__doc__
    assert ours.__globals__["StreamReader"] is asyncio_c.StreamReader


def test_submodules_of_asyncio():
    assert asyncio_c.locks is asyncio.locks and asyncio_c.queues is asyncio.queues
    assert asyncio_c.subprocess.PIPE == asyncio.subprocess.PIPE
    assert asyncio_c.exceptions is asyncio.exceptions


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'asyncio_c' has no attribute 'no_such_name'"):
        asyncio_c.no_such_name
    assert not hasattr(asyncio_c, "__no_such_name__")


def test_all_and_dir():
    assert set(asyncio.__all__) <= set(asyncio_c.__all__) <= set(dir(asyncio_c))
    for name in asyncio_c.__all__:
        assert hasattr(asyncio_c, name), name


def test_importing_changes_nothing_in_asyncio():
    code = (
        "import asyncio, sys\n"
        "before = {n: dict(vars(m)) for n, m in sys.modules.items() if n.startswith('asyncio')}\n"
        "from asyncio_c import *\n"
        "import asyncio_c\n"
        "print([(n, k) for n in before for k in ('Task', 'Future', 'sleep', 'gather', 'wait', 'run', 'new_event_loop',\n"
        "       '_event_loop_policy') if before[n].get(k) is not vars(sys.modules[n]).get(k)])\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment(), capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_names_of_deprecated_things_warn_when_used():
    if sys.version_info < (3, 14):
        assert asyncio_c.DefaultEventLoopPolicy is asyncio.DefaultEventLoopPolicy
    else:
        with pytest.warns(DeprecationWarning):
            asyncio_c.DefaultEventLoopPolicy


def test_version_is_the_declared_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+", asyncio_c.__version__)
    assert f"## {asyncio_c.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_signatures_are_documented():
    for name in (
        "install",
        "uninstall",
        "patch",
        "unpatch",
        "run",
        "new_event_loop",
        "Runner",
        "EventLoopPolicy",
    ):
        assert getattr(asyncio_c, name).__doc__, name


# ---- new_event_loop, run, Runner ----


def test_new_event_loop():
    loop = asyncio_c.new_event_loop()
    assert type(loop) is asyncio_c.Loop
    assert isinstance(loop, asyncio.AbstractEventLoop) and isinstance(loop, asyncio.BaseEventLoop)
    assert not loop.is_running()
    loop.close()


async def loop_and_debug():
    loop = asyncio.get_running_loop()
    return type(loop), loop.get_debug()


def test_run():
    assert asyncio_c.run(noop()) == "done"
    assert asyncio_c.run(loop_and_debug(), debug=True) == (asyncio_c.Loop, True)
    assert asyncio_c.run(loop_and_debug(), debug=False) == (asyncio_c.Loop, False)
    assert (
        asyncio_c.run(loop_and_debug(), loop_factory=asyncio.SelectorEventLoop)[0]
        is asyncio.SelectorEventLoop
    )


@pytest.fixture
def set_loops(monkeypatch):
    """The arguments of all calls of set_event_loop."""
    calls, stock = [], events.set_event_loop
    monkeypatch.setattr(events, "set_event_loop", lambda loop: (calls.append(loop), stock(loop))[1])
    return calls


@pytest.mark.parametrize("run", [asyncio.run, asyncio_c.run])
def test_run_sets_and_unsets_the_current_loop(run, set_loops):
    async def main():
        assert set_loops == [asyncio.get_running_loop()]

    run(main())
    assert len(set_loops) == 2 and set_loops[1] is None


@pytest.mark.parametrize("runner_type", [asyncio.Runner, asyncio_c.Runner])
def test_runner_does_not_set_a_loop_of_a_factory(runner_type, set_loops):
    with runner_type(loop_factory=asyncio_c.new_event_loop) as runner:
        assert runner.run(loop_and_debug())[0] is asyncio_c.Loop
    assert set_loops == []


@pytest.mark.parametrize("runner_type", [asyncio.Runner, asyncio_c.Runner])
def test_runner_sets_its_loop_once(runner_type, set_loops):
    runner = runner_type()
    loop = runner.get_loop()
    assert runner.run(noop()) == runner.run(noop()) == "done"
    runner.close()
    runner.close()
    assert set_loops == [loop, None] and loop.is_closed()
    with pytest.raises(RuntimeError, match="Runner is closed"):
        runner.run(noop_without_warning())


def noop_without_warning():
    """A coroutine that may be dropped."""
    coroutine = noop()
    coroutine.close()
    return coroutine


@pytest.mark.parametrize("run", [asyncio.run, asyncio_c.run])
def test_run_wants_a_coroutine(run):
    with pytest.raises((ValueError, TypeError)) as raised:
        run(42)
    if sys.version_info >= (3, 14):
        assert type(raised.value) is TypeError
    else:
        assert type(raised.value) is ValueError
        assert str(raised.value) == "a coroutine was expected, got 42"


@pytest.mark.parametrize("run", [asyncio.run, asyncio_c.run])
def test_run_does_not_nest(run):
    async def main():
        with pytest.raises(
            RuntimeError, match=r"^asyncio.run\(\) cannot be called from a running event loop$"
        ):
            run(noop_without_warning())

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, asyncio_c.run])
def test_closing_order(run):
    """The remaining tasks are cancelled first, then asynchronous generators are closed, then the executor."""
    log = []

    async def generator():
        try:
            yield 1
        finally:
            log.append("generator")

    async def background():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            log.append("task")

    async def main():
        loop = asyncio.get_running_loop()
        stock = loop.shutdown_default_executor

        def shutdown(*arguments):
            log.append("executor")
            return stock(*arguments)

        loop.shutdown_default_executor = shutdown
        global _kept
        _kept = [generator(), loop.create_task(background())]
        await anext(_kept[0])
        log.append("main")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main())
    assert log == ["main", "task", "generator", "executor"]


@pytest.mark.parametrize("run", [asyncio.run, asyncio_c.run])
def test_run_raises_what_main_raises(run):
    async def main():
        raise LookupError("from main")

    with pytest.raises(LookupError, match="from main"):
        run(main())
