"""Pytest plugin that repeats each test and fails it if repeating costs references, memory or descriptors.

A test is repeated until two repetitions in a row cost nothing: the first ones fill caches and freelists. It leaks if something
has grown in each of the last repetitions of many; growth that stops, or goes back and forth, is nobody's leak. A test that
leaks about as much on stock asyncio is named at the end, and passes.

    refs     all references of the process, sys.gettotalrefcount(): debug interpreters only
    blocks   the interpreter's memory blocks, sys.getallocatedblocks()
    bytes    what malloc() has given out: the memory of the C core's own structures; exact in `environment()` only
    fds      open descriptors
"""

import array
import contextvars
import ctypes
import gc
import itertools
import logging
import os
import pathlib
import shutil
import sys
import tempfile

import pytest
from _pytest.runner import runtestprotocol

from tests.unit import support

REPETITIONS = 24
GROWING = 6  # so many repetitions in a row, the last ones
FLAT = 2
ALIKE = 1.25  # what a cycle keeps alive is not of one size in both

# What leaks on asyncio, too, where a twin would hang: a stock task that cannot start eagerly is never freed.
ON_ASYNCIO = {"test_stock_task_that_cannot_start"}

TWINS = pytest.StashKey()  # {what a test has in common with its twin: the twin, on stock asyncio}
SHARED = pytest.StashKey()  # the ids of the tests that leak no more than their twins

has_refs = hasattr(sys, "gettotalrefcount")


class _Mallinfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split())
    ]


def environment():
    """Return the variables of a process whose malloc() accounts for each byte: what is in its caches counts as given out."""
    return {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}


_mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
if _mallinfo2 is not None:
    _mallinfo2.restype = _Mallinfo


def _malloc_bytes():
    if _mallinfo2 is None:
        return 0
    info = _mallinfo2()
    return info.uordblks + info.hblkhd


MEASURES = {
    "refs": sys.gettotalrefcount if has_refs else lambda: 0,
    "blocks": sys.getallocatedblocks,
    "bytes": _malloc_bytes,
    "fds": lambda: len(os.listdir("/proc/self/fd")),
}


class Measurement:
    """A table of what each repetition left, in memory that does not grow while it is filled."""

    def __init__(self):
        self.table = {name: array.array("q", [0] * (REPETITIONS + 1)) for name in MEASURES}
        self.count = 0

    def take(self):
        for _ in range(3):
            gc.collect()
        if hasattr(sys, "_clear_internal_caches"):
            sys._clear_internal_caches()
        else:
            sys._clear_type_cache()
        for name, column in self.table.items():
            column[self.count] = MEASURES[name]()
        self.count += 1

    def deltas(self, name):
        values = self.table[name][: self.count]
        return [after - before for before, after in zip(values, values[1:])]

    def is_flat(self):
        """Whether the last FLAT repetitions cost nothing."""
        return self.count > FLAT and not any(any(self.deltas(name)[-FLAT:]) for name in MEASURES)

    def leaks(self):
        """Return `{name: what each repetition left}` of the measures that have grown in all of the last repetitions."""
        deltas = {name: self.deltas(name) for name in MEASURES}
        return {
            name: column
            for name, column in deltas.items()
            if len(column) >= GROWING and all(delta > 0 for delta in column[-GROWING:])
        }


class FailsAgain(Exception):
    """A test passes once, and not when it is repeated."""


def _finalizers(item):
    """Return `(finalizers, their number)` of each fixture that a test shares with others.

    Whenever a fixture of the test uses such one, pytest adds a finalizer to it, and forgets none before the last test.
    """
    definitions = itertools.chain.from_iterable(item._fixtureinfo.name2fixturedefs.values())
    shared = [definition._finalizers for definition in definitions if definition.scope != "function"]
    return [(finalizers, len(finalizers)) for finalizers in shared]


def _leaks_of(item):
    """Repeat a test; return what `Measurement.leaks` does, or raise FailsAgain."""
    finalizers = _finalizers(item)
    measurement = Measurement()
    measurement.take()
    while measurement.count <= REPETITIONS and not measurement.is_flat():
        # In a context of its own: what a test sets in that around it would stay there for ever.
        context = contextvars.copy_context()
        reports = context.run(runtestprotocol, item, nextitem=item.parent, log=False)
        item._report_sections.clear()  # what was printed and logged
        del context
        if not all(report.passed for report in reports):
            raise FailsAgain("\n".join(str(report.longrepr) for report in reports if report.failed))
        del reports
        for added, count in finalizers:
            del added[count:]
        measurement.take()
    return measurement.leaks()


def pytest_sessionstart(session):
    if support.FREE_THREADED and not support.PY314:
        # There the first thread makes functions, classes and constants immortal, and all that are made later.
        import _testinternalcapi

        _testinternalcapi.suppress_immortalization(True)
    # What the unit tests freeze for speed, their collections would not see: here, freezing is done once.
    gc.collect()
    gc.freeze()
    gc.freeze = lambda: None


@pytest.fixture
def tmp_path():
    """Stand in for pytest's own, which keeps something of each repetition.

    Of one name each time: pathlib interns names, and what is interned is kept for ever where there is no GIL.
    """
    path = pathlib.Path(tempfile.gettempdir(), f"asyncio_c.leaks.{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


class _Log(logging.Handler):
    def __init__(self):
        super().__init__()
        self.clear()

    def clear(self):
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def messages(self):
        return [record.getMessage() for record in self.records]

    @property
    def text(self):
        return "\n".join(map(self.format, self.records))


@pytest.fixture
def caplog():
    """Stand in for pytest's own, which is left out with the plugin that keeps what is logged."""
    log = _Log()
    logging.getLogger().addHandler(log)
    yield log
    logging.getLogger().removeHandler(log)


def _is_of_asyncio(item):
    """Whether a test runs on stock asyncio, and so has no part of ours in it: by its parameters, not by its name."""
    return hasattr(item, "callspec") and item.callspec.params.get("impl") == "asyncio"


def _case(item):
    """What a test and its twin on stock asyncio have in common."""
    parameters = item.callspec.params.items() if hasattr(item, "callspec") else ()
    return (
        item.parent,
        item.originalname,
        *((name, str(value)) for name, value in parameters if name != "impl"),
    )


def pytest_collection_modifyitems(config, items):
    stock = [item for item in items if _is_of_asyncio(item)]
    config.stash[TWINS] = {_case(item): item for item in stock}
    config.stash[SHARED] = []
    config.hook.pytest_deselected(items=stock)
    items[:] = [item for item in items if not _is_of_asyncio(item)]


def _is_shared(item, leaks):
    """Whether the twin on stock asyncio leaks about as much: then it is the interpreter that does, or the test."""
    twin = item.config.stash[TWINS].get(_case(item))
    if twin is None:
        return False
    try:
        on_asyncio = _leaks_of(twin)
    except FailsAgain:  # or it is skipped
        return False
    return all(
        name in on_asyncio and min(column[-GROWING:]) <= max(on_asyncio[name][-GROWING:]) * ALIKE
        for name, column in leaks.items()
    )


def _verdict(item):
    """Repeat a test that has passed; return what is wrong with it, as a text, or None."""
    try:
        leaks = _leaks_of(item)
    except FailsAgain as failure:
        return f"fails when it is repeated:\n{failure}"
    if not leaks:
        return None
    if item.originalname in ON_ASYNCIO or _is_shared(item, leaks):
        item.config.stash[SHARED].append(item.nodeid)
        return None
    return "\n".join(f"{name} grow with each repetition: {column}" for name, column in leaks.items())


def pytest_terminal_summary(terminalreporter, config):
    for nodeid in config.stash[SHARED]:
        terminalreporter.write_line(f"leaks on asyncio, too: {nodeid}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    # With the item's parent as the next "item", what belongs to the item is torn down, and nothing else.
    reports = runtestprotocol(item, nextitem=item.parent, log=False)
    if all(report.passed for report in reports):
        verdict = _verdict(item)
        if verdict is not None:
            call = next(report for report in reports if report.when == "call")
            call.outcome, call.longrepr = "failed", verdict
    item.session._setupstate.teardown_exact(nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
