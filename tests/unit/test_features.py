"""What is there on which Python: the first table of docs/compatibility.md, against asyncio's own."""

import asyncio
import inspect
import sys

import pytest

from . import support


def has_parameter(function, name):
    return name in inspect.signature(function).parameters


async def nothing():
    pass


def starts_eagerly(loop):
    async def main():
        try:
            return loop.create_task(coroutine, eager_start=True).done()
        except TypeError:
            coroutine.close()
            return False

    coroutine = nothing()
    return loop.run_until_complete(main())


def runs_any_awaitable(loop):
    class Awaitable:
        def __await__(self):
            yield
            return "result"

    with asyncio.Runner(loop_factory=type(loop)) as runner:
        try:
            return runner.run(Awaitable()) == "result"
        except ValueError:
            return False


def server_has(name):
    def check(loop):
        server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
        server.close()
        return hasattr(server, name)

    return check


# What it is, since which Python asyncio has it, and whether the loop, or asyncio with it, has it.
FEATURES = {
    "TaskGroup": ("3.11", lambda loop: hasattr(asyncio, "TaskGroup")),
    "timeout": ("3.11", lambda loop: hasattr(asyncio, "timeout")),
    "Runner": ("3.11", lambda loop: hasattr(asyncio, "Runner")),
    "Barrier": ("3.11", lambda loop: hasattr(asyncio, "Barrier")),
    "eager tasks": ("3.12", lambda loop: hasattr(asyncio, "eager_task_factory")),
    "run(loop_factory)": ("3.12", lambda loop: has_parameter(asyncio.run, "loop_factory")),
    "create_connection(all_errors)": (
        "3.12",
        lambda loop: has_parameter(loop.create_connection, "all_errors"),
    ),
    "close_clients": ("3.13", server_has("close_clients")),
    "abort_clients": ("3.13", server_has("abort_clients")),
    "create_server(keep_alive)": ("3.13", lambda loop: has_parameter(loop.create_server, "keep_alive")),
    "create_unix_server(cleanup_socket)": (
        "3.13",
        lambda loop: has_parameter(loop.create_unix_server, "cleanup_socket"),
    ),
    "EventLoop": ("3.13", lambda loop: hasattr(asyncio, "EventLoop")),
    "Queue.shutdown": ("3.13", lambda loop: hasattr(asyncio.Queue, "shutdown")),
    "create_task(eager_start)": ("3.13.3", starts_eagerly),
    "Runner.run of any awaitable": ("3.14", runs_any_awaitable),
    "call graphs": ("3.14", lambda loop: hasattr(asyncio, "capture_call_graph")),
    "TaskGroup.cancel": ("3.15", lambda loop: hasattr(asyncio.TaskGroup, "cancel")),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_feature_is_there_where_asyncio_has_it(loop, feature):
    since, check = FEATURES[feature]
    assert check(loop) == (sys.version_info[:3] >= tuple(map(int, since.split("."))))


def test_get_context_of_a_task(impl, loop):
    """Native tasks have it on Python 3.11, too."""
    task = loop.create_task(nothing())
    loop.run_until_complete(task)
    assert hasattr(task, "get_context") == (support.PY312 or impl.native_loop)


def test_native_names_of_the_package_have_what_asyncio_has(native):
    """`import asyncio_c as asyncio`: classes with native methods lose nothing of asyncio's."""
    for name in support.NAMES_WITH_NATIVE_TWIN:
        ours, stock = getattr(native, name), getattr(asyncio, name)
        if inspect.isclass(stock):
            assert {n for n in dir(stock) if not n.startswith("__")} <= set(dir(ours)), name
