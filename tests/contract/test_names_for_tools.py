"""What tracers, profilers and mocks take: what each name that patch() rebinds shows of itself, and each public method of its class.

All is compared with asyncio's own on this Python. What is known to differ is in a table here and in docs/compatibility.md,
and no more and no less than that may.
"""

import asyncio
import functools
import importlib
import inspect
import pickle
import subprocess
import sys
import types
from unittest import mock

import pytest
import same_output
from unit import support

from . import test_replaced

PATCHED = importlib.import_module("asyncio_c.patch").NATIVE
NATIVE = {name: twin for name, (twin, _) in PATCHED.items() if twin is not None}
STOCK = {
    name: getattr(asyncio, name, asyncio.SelectorEventLoop) for name in NATIVE
}  # EventLoop comes with 3.13


def methods(cls):
    """The public attributes of a class that can be called."""
    return [name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name))]


NAMES = [
    (name, method)
    for name, stock in STOCK.items()
    for method in [None, *(methods(stock) if inspect.isclass(stock) else [])]
]

# ---- What a tool asks ----


def signature(what):
    try:
        return str(inspect.signature(what))
    except ValueError:
        return None


def code(what):
    """What tools read of it: the arguments, and what a call gives."""
    if not hasattr(what, "__code__"):
        return None
    code = what.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    flags = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_COROUTINE | inspect.CO_GENERATOR
    return (
        code.co_name,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_varnames[:count],
        code.co_flags & flags,
    )


def takes_an_attribute(what):
    try:
        what.mark = "set"
    except (AttributeError, TypeError):
        return False
    assert what.mark == "set"
    del what.mark
    return not hasattr(what, "mark")


def wrapper_of(what):
    @functools.wraps(what)
    def wrapper(*args, **kwargs):
        raise NotImplementedError

    assert wrapper.__wrapped__ is what
    return signature(wrapper), wrapper.__name__, wrapper.__qualname__


def is_found_by_its_names(what):
    """As pickle, Sphinx and tracers look for it: in its module, by its qualified name."""
    found = importlib.import_module(what.__module__) if getattr(what, "__module__", None) else None
    for name in what.__qualname__.split("."):
        found = getattr(found, name, None)
    return callable(found)


def mock_of(owner, name):
    """What mock.patch.object() puts there, and whether what was there is back at the end."""
    before = inspect.getattr_static(owner, name)
    try:
        with mock.patch.object(owner, name, autospec=True) as mocked:
            shown = (
                signature(mocked),
                inspect.iscoroutinefunction(mocked),
                hasattr(mocked, "__get__"),  # so that a mock of a method is given `self`
            )
    except TypeError:  # a class that nobody can change
        return None
    return shown if inspect.getattr_static(owner, name) is before else (*shown, "it stays")


def replaced_by_hand(owner, name):
    """Whether an attribute can be put in its place, and taken away."""
    before, own = inspect.getattr_static(owner, name), name in vars(owner)
    try:
        setattr(owner, name, NotImplemented)
    except TypeError:
        return False
    assert getattr(owner, name) is NotImplemented
    if own:
        setattr(owner, name, before)
    else:
        delattr(owner, name)
    return inspect.getattr_static(owner, name) is before


FACTS = {
    "signature": lambda what, owner, name: signature(what),
    "isfunction": lambda what, owner, name: inspect.isfunction(what),
    "isclass": lambda what, owner, name: inspect.isclass(what),
    "isroutine": lambda what, owner, name: inspect.isroutine(what),
    "iscoroutinefunction": lambda what, owner, name: inspect.iscoroutinefunction(what),
    "isgeneratorfunction": lambda what, owner, name: inspect.isgeneratorfunction(what),
    "isasyncgenfunction": lambda what, owner, name: inspect.isasyncgenfunction(what),
    "__name__": lambda what, owner, name: what.__name__,
    "__qualname__": lambda what, owner, name: what.__qualname__,
    "__module__": lambda what, owner, name: is_found_by_its_names(what),
    "__wrapped__": lambda what, owner, name: hasattr(what, "__wrapped__"),
    "__defaults__": lambda what, owner, name: getattr(what, "__defaults__", "none"),
    "__kwdefaults__": lambda what, owner, name: getattr(what, "__kwdefaults__", "none"),
    "__code__": lambda what, owner, name: code(what),
    "an attribute": lambda what, owner, name: takes_an_attribute(what),
    "functools.wraps": lambda what, owner, name: wrapper_of(what),
    "replaced": lambda what, owner, name: replaced_by_hand(owner, name),
    "mock": lambda what, owner, name: mock_of(owner, name),
}


def facts_of(public, method, names):
    """All facts about a name, or about the method of the class that has it."""
    if method is None:
        owner, name = types.SimpleNamespace(**{public: names[public]}), public
    else:
        owner, name = names[public], method
    return {fact: ask(getattr(owner, name), owner, name) for fact, ask in FACTS.items()}


# ---- What differs ----

# A method in C: it is a routine, but no function, and has no code to be replaced and no dictionary; what mock puts there is
# not bound to the object. It is what the interpreter calls without a frame or an adaptor in between.
METHOD_IN_C = {
    *("signature", "isfunction", "__module__", "__defaults__", "__kwdefaults__", "__code__"),
    *("an attribute", "functools.wraps", "mock"),
}
# The constructor is in C: mock, which reads the signature of __init__, takes any arguments.
INIT_IN_C = {"mock"}
# asyncio's Future and Task in C cannot be changed; ours can, by tracers also. Their methods are in C here and there; they are
# found in the base class, and have signatures that asyncio's lack on some Pythons.
OPEN_CLASS = {"an attribute"}
OPEN_METHOD = {"replaced", "mock"}
OF_FUTURE = {*OPEN_METHOD, "__qualname__", "functools.wraps"}
WITH_SIGNATURE = {"signature", "functools.wraps"}
# Of the loop, what BaseEventLoop has is ours under another class's name, and some of it annotated.
METHOD_OF_LOOP = {*METHOD_IN_C, "__qualname__"}
ANNOTATED = {"__qualname__", "functools.wraps", "mock", "signature"}

QUEUE = "empty full get_nowait put_nowait qsize task_done"
IN_C = {
    "Lock": "locked release",
    "Event": "clear is_set set",
    "Condition": "notify notify_all",
    "Semaphore": "locked release",
    "BoundedSemaphore": "locked release",
    "Queue": QUEUE,
    "PriorityQueue": QUEUE,
    "LifoQueue": QUEUE,
    "StreamReader": "at_eof exception feed_data",
    "StreamReaderProtocol": "data_received",
    "StreamWriter": "close is_closing write writelines",
}


def of_class(public, names, facts):
    return {f"{public}.{name}": facts for name in names.split()}


KNOWN = {
    **{public: INIT_IN_C for public in [*IN_C, "Barrier", "TaskGroup"] if public != "StreamReaderProtocol"},
    **{
        name: facts
        for public, names in IN_C.items()
        for name, facts in of_class(public, names, METHOD_IN_C).items()
    },
    "Timeout": {*INIT_IN_C, *WITH_SIGNATURE},  # asyncio's has annotations
    "Future": OPEN_CLASS,
    "Task": OPEN_CLASS,
    **of_class("Future", " ".join(methods(asyncio.Future)), OPEN_METHOD),
    **of_class("Task", " ".join(methods(asyncio.Task)), OPEN_METHOD),
    **of_class("Task", "cancelled done exception remove_done_callback result", OF_FUTURE),
    "Future.add_done_callback": {*OPEN_METHOD, *WITH_SIGNATURE},
    "Task.add_done_callback": {*OF_FUTURE, *WITH_SIGNATURE},
    "EventLoop": {"__name__", *ANNOTATED},  # it takes a selector as asyncio's does
    **of_class(
        "EventLoop",
        "call_at call_later call_soon call_soon_threadsafe create_future create_task get_debug is_closed is_running "
        "stop time",
        METHOD_OF_LOOP,
    ),
    **of_class("EventLoop", "close getaddrinfo run_forever run_until_complete start_tls", ANNOTATED),
    **of_class(
        "EventLoop",
        "sock_accept sock_connect sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto",
        {"__module__"},  # ours, which has no BaseSelectorEventLoop
    ),
}


@pytest.mark.parametrize("public, method", NAMES, ids=lambda name: name or "")
def test_shows_what_asyncios_own_shows(public, method):
    stock, ours = facts_of(public, method, STOCK), facts_of(public, method, NATIVE)
    differing = {fact for fact in FACTS if ours[fact] != stock[fact]}
    known = KNOWN.get(public if method is None else f"{public}.{method}", set())
    assert differing == known, {fact: (stock[fact], ours[fact]) for fact in differing ^ known}


@pytest.mark.parametrize("public, method", NAMES, ids=lambda name: name or "")
def test_has_a_text_where_asyncios_own_has_one(public, method):
    stock, ours = STOCK[public], NATIVE[public]
    if method is not None:
        stock, ours = getattr(stock, method), getattr(ours, method)
    assert ours.__doc__ or not stock.__doc__


def test_nothing_is_known_of_what_is_not_there():
    names = {public if method is None else f"{public}.{method}" for public, method in NAMES}
    assert not KNOWN.keys() - names


BOTH = pytest.mark.parametrize("names", [STOCK, NATIVE], ids=["asyncio", "native"])


@BOTH
def test_mock_of_a_method_is_given_the_object(names):
    timeout = names["Timeout"](None)
    with mock.patch.object(names["Timeout"], "reschedule", autospec=True) as mocked:
        timeout.reschedule(3)
        mocked.assert_called_once_with(timeout, 3)
        with pytest.raises(TypeError, match="missing a required argument: 'when'"):
            timeout.reschedule()


@BOTH
def test_mock_of_a_method_can_be_awaited(names):
    with support.closing(names["EventLoop"]()) as loop:
        with mock.patch.object(names["EventLoop"], "sock_recv", autospec=True) as mocked:
            mocked.return_value = b"data"
            assert loop.run_until_complete(loop.sock_recv("socket", 1)) == b"data"
        mocked.assert_awaited_once_with(loop, "socket", 1)


@BOTH
@pytest.mark.parametrize("name", ["when", "expired", "reschedule"])
def test_code_of_a_method_replaced_in_place(names, name):
    timeout = names["Timeout"](None)
    calls, undo = test_replaced.in_place_of(getattr(names["Timeout"], name))
    try:
        assert getattr(timeout, name)() is None
        assert calls == [(timeout,)]
    finally:
        undo()
    assert (timeout.when(), timeout.expired()) == (None, False)


@BOTH
@pytest.mark.parametrize("name", ["when", "expired"])
def test_too_many_arguments(names, name):
    timeout = names["Timeout"](None)
    with pytest.raises(
        TypeError, match=rf"^Timeout\.{name}\(\) takes 1 positional argument but 2 were given$"
    ):
        getattr(timeout, name)(1)
    with pytest.raises(
        TypeError, match=rf"^Timeout\.{name}\(\) missing 1 required positional argument: 'self'$"
    ):
        getattr(names["Timeout"], name)()


def test_what_was_replaced_before_is_called():
    """A mock has no name, and a method is found by the class's."""
    program = (
        "import asyncio\n"
        "from unittest import mock\n"
        "with mock.patch.object(asyncio.Timeout, 'reschedule', return_value='mocked'):\n"
        "    import asyncio_c\n"
        "    print(asyncio_c.Timeout(None).reschedule(1))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=same_output.environment(), capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("mocked\n", "")


def test_methods_take_asyncios_own_objects():
    """What asyncio's function is given by its class's name after patch()."""
    assert NATIVE["Timeout"].when(STOCK["Timeout"](7)) == 7


@pytest.mark.parametrize(
    "name", sorted({*support.NAMES_WITH_NATIVE_TWIN} - {*support.STREAMS, *support.STREAM_FUNCTIONS})
)
def test_pickled_by_reference(impl, name):
    """As multiprocessing hands functions and classes over: what comes back is the same one, patched or not."""
    what = getattr(impl, name)
    assert pickle.loads(pickle.dumps(what)) is what
