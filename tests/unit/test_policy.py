"""EventLoopPolicy: the stock policy of this Python, but for the loops it makes."""

import asyncio
import os
import subprocess
import sys
import threading
import warnings
from asyncio import events

import pytest
from same_output import environment

import asyncio_c


@pytest.fixture
def policy():
    before = events._event_loop_policy
    policy = asyncio_c.EventLoopPolicy()
    events._event_loop_policy = policy
    yield policy
    events._event_loop_policy = before


def fresh_process(code, *options):
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


def test_kind(policy):
    assert isinstance(policy, type(policy).__mro__[-2])
    abstract = getattr(events, "_AbstractEventLoopPolicy", None) or events.AbstractEventLoopPolicy
    assert isinstance(policy, abstract)
    assert asyncio_c.EventLoopPolicy is type(policy)


def test_loops_are_ours(policy):
    loop = policy.new_event_loop()
    assert type(loop) is asyncio_c.Loop
    policy.set_event_loop(loop)
    assert policy.get_event_loop() is asyncio.get_event_loop() is loop
    policy.set_event_loop(None)
    loop.close()


def test_set_event_loop_wants_a_loop(policy):
    with pytest.raises(TypeError, match="must be an instance of AbstractEventLoop or None"):
        policy.set_event_loop(object())


def test_there_is_no_loop_after_set_event_loop_none(policy):
    policy.set_event_loop(None)
    with pytest.raises(RuntimeError, match="There is no current event loop in thread 'MainThread'"):
        policy.get_event_loop()


def test_a_loop_where_asyncio_has_one(policy):
    if sys.version_info >= (3, 14):
        with pytest.raises(RuntimeError, match="no current event loop"):
            asyncio.get_event_loop()
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop = asyncio.get_event_loop()
    assert [(w.category, w.filename) for w in caught] == (
        [(DeprecationWarning, __file__)] if sys.version_info >= (3, 12) else []
    )
    assert type(loop) is asyncio_c.Loop
    policy.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize("patched", [False, True])
def test_no_loop_in_other_threads(policy, patched):
    raised = []

    def ask():
        try:
            asyncio.get_event_loop()
        except RuntimeError as error:
            raised.append(str(error))

    if patched:
        asyncio_c.patch()
    thread = threading.Thread(target=ask, name="other")
    thread.start()
    thread.join()
    assert raised == ["There is no current event loop in thread 'other'."]


def test_no_warning_at_import_or_use():
    code = (
        "import asyncio_c, asyncio.events as events\n"
        "asyncio_c.EventLoopPolicy\n"
        "from asyncio_c import *\n"
        "events._event_loop_policy = asyncio_c.EventLoopPolicy()\n"
        "asyncio_c.install(); asyncio_c.patch()"
    )
    result = fresh_process(code, "-W", "error")
    assert (result.stderr, result.returncode) == ("", 0)


def test_importing_the_package_does_not_import_it():
    result = fresh_process("import asyncio_c, sys; print('asyncio_c.policy' in sys.modules)")
    assert result.stdout == "False\n"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="child watchers left with Python 3.14")
def test_child_watchers(policy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        watcher = asyncio.get_child_watcher()
        assert isinstance(watcher, asyncio.AbstractChildWatcher)
        new = asyncio.ThreadedChildWatcher()
        asyncio.set_child_watcher(new)
        assert asyncio.get_child_watcher() is new
        asyncio.set_child_watcher(None)


def test_set_event_loop_policy(policy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(asyncio_c.EventLoopPolicy())
        assert type(asyncio.get_event_loop_policy()) is asyncio_c.EventLoopPolicy

    async def loop_type():
        return type(asyncio.get_running_loop())

    assert asyncio.run(loop_type()) is asyncio_c.Loop


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="asyncio resets a forked child's policy since Python 3.12"
)
def test_a_forked_child_has_no_loop_of_its_parent():
    code = """if True:
        import asyncio, asyncio_c, os, warnings
        warnings.simplefilter("ignore")
        asyncio_c.patch()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        pid = os.fork()
        if pid == 0:
            child_loop = asyncio.get_event_loop()
            os._exit(0 if child_loop is not loop else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), asyncio.get_event_loop() is loop)
        loop.close()
    """
    result = fresh_process(code)
    assert result.stdout == "0 True\n", result.stderr


def test_environment_is_not_touched():
    assert "ASYNCIO_C" not in os.environ
