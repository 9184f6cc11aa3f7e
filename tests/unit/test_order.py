"""The exact order of events: the programs of scenarios.py on stock and on ours must leave the same trace."""

import asyncio

import pytest

from . import scenarios, support


def trace_of(impl, scenario, with_time):
    """Run one scenario and return its events; `with_time` notes the iteration of each event as well."""
    loop, clock = support.new_virtual_loop(impl)
    log = support.Trace(clock if with_time else None)
    with support.closing(loop):
        # A scenario that never ends is a difference, too, not a hanging test.
        limit = loop.call_later(500, lambda: (log("never ended"), loop.stop()))
        try:
            loop.run_until_complete(scenario(impl, loop, log))
        except RuntimeError as exc:
            log("run_until_complete", exc)
        limit.cancel()
        support.run_once(loop, 5)
        clock.stop()
    return log.events


def patched_names():
    """The implementation as a program under `python -m asyncio_c` sees it: `asyncio.gather` itself is native."""
    impl = support.load("native")
    for name in support.NAMES_WITH_NATIVE_TWIN:
        setattr(impl, name, getattr(asyncio, name))
    return impl


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
@pytest.mark.parametrize("with_time", [False, True], ids=["order", "iterations"])
def test_same_trace_as_stock(ours, stock, name, with_time):
    scenario = scenarios.SCENARIOS[name]
    expected = trace_of(stock, scenario, with_time)
    assert expected
    assert ("never ended",) not in [event[-1:] for event in expected]
    assert trace_of(ours, scenario, with_time) == expected


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_same_trace_as_stock_when_patched(stock, name):
    """Under patch(), shield, TaskGroup, timeout, Queue and all others run on the native names as well."""
    scenario = scenarios.SCENARIOS[name]
    expected = trace_of(stock, scenario, True)
    with support.patched():
        assert trace_of(patched_names(), scenario, True) == expected


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_traces_are_deterministic(stock, name):
    """Otherwise the comparisons above would mean nothing."""
    scenario = scenarios.SCENARIOS[name]
    assert trace_of(stock, scenario, True) == trace_of(stock, scenario, True)


# Scenarios that never look at a clock also run on an unmodified loop, whose fused paths a `time()` override turns off.
TIMELESS = [
    "callbacks_and_tasks_interleave",
    "sleep_zero_round_robin",
    "future_callbacks_and_waiters_in_order_of_arrival",
    "chain_of_tasks",
    "awaiting_what_is_done",
    "callback_context_of_task_steps",
    "cancel_children_that_cancel_each_other",
    "cancel_the_future_under_a_task",
    "gather_results",
    "gather_first_exception",
    "gather_return_exceptions",
    "gather_child_cancelled",
    "gather_nested",
    "gather_nested_cancelled",
    "gather_duplicates",
    "gather_of_done_futures",
    "gather_of_nothing",
    "wait_first_completed",
    "wait_first_exception",
    "wait_all_completed",
    "wait_of_done_futures",
    "many_waiters_of_one_future",
    "shield_keeps_the_inner_task",
    "task_group",
    "queue",
    "condition_and_barrier",
    "errors_in_callbacks_between_tasks",
    "asynchronous_generators",
    "wrapped_awaitables",
    "tasks_created_in_callbacks",
    *(f"gather_cancelled_{step}" for step in range(7)),
    *(f"gather_cancelled_returning_exceptions_{step}" for step in range(7)),
    *(f"gather_parent_cancelled_{step}" for step in range(8)),
    *(f"wait_cancelled_{step}" for step in range(8)),
]


def trace_on_a_real_loop(impl, scenario):
    log = support.Trace()
    with support.closing(impl.new_event_loop()) as loop:
        loop.run_until_complete(scenario(impl, loop, log))
        support.run_once(loop, 5)
    return log.events


@pytest.mark.parametrize("name", TIMELESS)
def test_same_trace_as_stock_on_an_unmodified_loop(ours, stock, name):
    scenario = scenarios.SCENARIOS[name]
    assert trace_on_a_real_loop(ours, scenario) == trace_on_a_real_loop(stock, scenario)


@pytest.mark.parametrize("name", TIMELESS)
def test_same_trace_as_stock_in_debug_mode(ours, stock, name):
    scenario = scenarios.SCENARIOS[name]

    def trace(impl):
        log = support.Trace()
        with support.closing(impl.new_event_loop()) as loop:
            loop.set_debug(True)
            loop.slow_callback_duration = 3600
            loop.run_until_complete(scenario(impl, loop, log))
        return log.events

    assert trace(ours) == trace(stock)
