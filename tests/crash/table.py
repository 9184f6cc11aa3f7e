"""The table of cases, and what they share.

A case is a function of an implementation (see tests/unit/support.py). It runs in a process of its own, whose end is the
interpreter's ordinary end, and has to return, or to raise what `raises` names: never to die by a signal, never to hang.
"""

import asyncio
import contextlib
import socket

CASES = {}


class Case:
    def __init__(self, function, raises, stock):
        self.function = function
        self.raises = raises  # name of the exception with which the process ends; None: it succeeds
        self.stock = stock  # why stock asyncio does not get through; None: it does


def case(function=None, *, raises=None, stock=None):
    """Enter a function into the table."""
    if function is None:
        return lambda function: case(function, raises=raises, stock=stock)
    assert function.__name__ not in CASES, function.__name__
    CASES[function.__name__] = Case(function, raises, stock)
    return function


def cases(name, values, **options):
    """Enter a function of `(impl, value)` once for each value of a dictionary `{suffix: value}`."""

    def enter(function):
        for suffix, value in values.items():

            def one(impl, value=value):
                function(impl, value)

            one.__name__ = f"{name}_{suffix}"
            case(one, **options)
        return function

    return enter


@contextlib.contextmanager
def new_loop(impl):
    """A loop that keeps what it reports in `loop.reports`; closed at the end, unless the case has done so."""
    loop = impl.new_event_loop()
    loop.reports = []
    loop.set_exception_handler(lambda loop, context: loop.reports.append(context))
    yield loop
    if not loop.is_closed():
        loop.close()


def turns(loop, count=10):
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


def attempt(function, *args, **kwargs):
    """Call something that may raise any Exception; return it, or the result."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return error


def set_or_delete(owner, name, value):
    """Attempt to set an attribute to what `value()` returns, or to delete it where `value` is None."""
    if value is None:
        attempt(delattr, owner, name)
    else:
        attempt(lambda: setattr(owner, name, value()))


def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    return ours, theirs


@contextlib.contextmanager
def connected(loop, protocol):
    """A transport of `loop` with this protocol, and a plain socket as its peer."""
    ours, theirs = pair()
    with ours, theirs:
        transport, _ = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
        yield transport, theirs
        transport.abort()
        turns(loop, 3)


class Recorder(asyncio.Protocol):
    """Says when the connection is lost."""

    def __init__(self):
        self.received = b""
        self.lost = False

    def data_received(self, data):
        self.received += data

    def connection_lost(self, exc):
        self.lost = True
