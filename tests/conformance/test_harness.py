"""The harness itself: it binds what it says, misses no class of CPython's suite, and leaves asyncio as it found it."""

import asyncio
import importlib
import pathlib
from asyncio import futures, selector_events, tasks

import pytest

from . import expected, whole
from .__main__ import OWN
from .binding import BINDINGS, IMPLEMENTATION, TYPES
from .loading import PLANS, Loaded

for path in sorted(pathlib.Path(__file__).parent.glob("test_*.py")):
    if path.stem not in OWN:
        importlib.import_module(f".{path.stem}", __package__)


@pytest.mark.parametrize("name", sorted(PLANS))
def test_every_class_of_the_suite_is_accounted_for(name):
    plan = PLANS[name]
    bound = {label.partition(".")[0] for label in plan.bound}
    assert plan.defined - bound - plan.unbound.keys() == set()


def test_every_module_of_the_suite_is_bound_or_needs_no_binding():
    unbound = {
        "test_async_case": "of unittest",
        "test_proactor_events": "asyncio's own loop for Windows, with mocks",
        "test_selector_events": "asyncio's own selector loop and transports, with mocks",
        "test_tools": "what `python -m asyncio ps` prints",
        "test_windows_events": "Windows only",
        "test_windows_utils": "Windows only",
    }
    assert whole.modules().keys() - PLANS.keys() - unbound.keys() == set()


def test_every_expected_failure_names_a_test():
    ids = [test_id for plan in PLANS.values() for test_id in plan.ids()]
    for module in whole.modules():
        # Under install() and patch() every class runs, also those that are bound to nothing.
        ids += [test_id for level in whole.LEVELS for test_id in whole.ids(module, level)]
    stale = [
        pattern
        for entry in expected.EXPECTED
        for pattern in entry.tests
        if not any(expected.fnmatch.fnmatchcase(test_id, pattern) for test_id in ids)
    ]
    assert stale == []


@pytest.mark.parametrize("name", BINDINGS)
def test_the_binding_binds_the_implementation_under_test(name):
    binding = BINDINGS[name]
    c_task, c_future = tasks._CTask, futures._CFuture
    with binding.active():
        assert tasks._CTask is (TYPES.Task if binding.task else c_task)
        assert futures._CFuture is (TYPES.Future if binding.future else c_future)
        loop = asyncio.new_event_loop()
        loop.close()
        assert (type(loop) is TYPES.Loop) or not binding.loop


@pytest.mark.skipif(IMPLEMENTATION == "stock", reason="asyncio's own loop is the one under test")
@pytest.mark.parametrize("name", BINDINGS)
def test_loops_that_are_not_under_test_are_noticed(name):
    binding = BINDINGS[name]
    with Loaded("test_transports", binding).foreign_objects() as made:
        TYPES.Loop().close()
        assert made == []
        stock = selector_events.BaseSelectorEventLoop()
        stock.close()
    assert made == ([type(stock).__qualname__] if binding.loop else [])


@pytest.mark.parametrize("name", BINDINGS)
def test_the_binding_leaves_asyncio_as_it_was(name):
    modules = (asyncio, asyncio.events, futures, tasks)
    before = [dict(vars(module)) for module in modules]
    with BINDINGS[name].active():
        asyncio.Task = tasks.Task = asyncio.not_a_name = None
    assert [dict(vars(module)) for module in modules] == before
