"""Loads a module of CPython's suite under a binding and hands out its test cases.

The suite decides at import what it tests (`Task = tasks._CTask` in a class body), so a module is executed once per
binding, each time into a module object of its own, while that binding is active.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
import types
import unittest
from asyncio import base_events
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from .binding import BINDINGS, IMPLEMENTATION, TYPES, Binding

PACKAGE = "test.test_asyncio"
# The classes that merge_loop_classes() makes one of, and the reason why they do not run themselves.
ONE_PER_SELECTOR = dict.fromkeys(
    ("SelectEventLoopTests", "PollEventLoopTests", "EPollEventLoopTests"),
    "the tests of EventLoopTests on one of asyncio's selectors",
)

try:
    from test.test_asyncio import utils as suite_utils
except ImportError:
    pytest.skip(f"CPython's {PACKAGE} is not installed with this Python", allow_module_level=True)


class Loaded:
    """One module of the suite under one binding."""

    def __init__(self, name: str, binding: Binding) -> None:
        spec = importlib.util.find_spec(f"{PACKAGE}.{name}")
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"{PACKAGE}.{name}")
        self.binding = binding
        self.module = importlib.util.module_from_spec(spec)
        with self.active():
            spec.loader.exec_module(self.module)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make the binding active, and this the module that its name imports (tests pickle their functions)."""
        name = self.module.__name__
        previous = sys.modules.get(name)
        sys.modules[name] = self.module
        try:
            with self.binding.active():
                yield
        finally:
            if previous is None:
                del sys.modules[name]
            else:
                sys.modules[name] = previous

    @contextlib.contextmanager
    def foreign_loops(self) -> Iterator[list[type]]:
        """Collect the classes of the loops that are made in a with block, although the binding has the loop under test.

        The virtual clock of the suite's own TestLoop is no mistake, nor is a loop that a test defines: it is what the test
        wants.
        """
        initialize = base_events.BaseEventLoop.__init__
        # On asyncio's own types, some tests make a bare BaseEventLoop.
        native = self.binding.loop and IMPLEMENTATION == "native"
        allowed = (TYPES.Loop if native else base_events.BaseEventLoop, suite_utils.TestLoop)
        made: list[type] = []

        def record(loop: base_events.BaseEventLoop) -> None:
            if not isinstance(loop, allowed) and not type(loop).__module__.startswith("test."):
                made.append(type(loop))
            initialize(loop)

        base_events.BaseEventLoop.__init__ = record  # type: ignore[method-assign]
        try:
            yield made
        finally:
            base_events.BaseEventLoop.__init__ = initialize  # type: ignore[method-assign]

    def cases(self) -> dict[str, type[unittest.TestCase]]:
        """Return the test cases that the module itself defines, by name."""
        return {
            name: value
            for name, value in vars(self.module).items()
            if isinstance(value, type)
            and issubclass(value, unittest.TestCase)
            and value.__module__ == self.module.__name__
            and unittest.defaultTestLoader.getTestCaseNames(value)
        }


class Plan:
    """What one test file binds of one module of the suite; the harness's own tests read it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bound: dict[str, type[unittest.TestCase]] = {}
        self.unbound: Mapping[str, str] = {}
        self.defined: set[str] = set()

    def ids(self) -> Iterator[str]:
        """Yield `module::Class.binding::test` for each test."""
        for label, case in self.bound.items():
            for test in unittest.defaultTestLoader.getTestCaseNames(case):
                yield f"{self.name}::{label}::{test}"


PLANS: dict[str, Plan] = {}


def bind(
    name: str,
    bindings: Mapping[str, Sequence[str]],
    *,
    adapt: Callable[[types.ModuleType], None] | None = None,
    only: Mapping[str, str] | None = None,
    unbound: Mapping[str, str] | None = None,
) -> dict[str, type[unittest.TestCase]]:
    """Return the test cases of test.test_asyncio.<name>, as `Class.binding`, for the namespace of a test file.

    `bindings` names the classes that run under each binding; one that this Python's suite lacks is passed over. `adapt`
    is called with each freshly loaded module whose binding has the loop: it makes the classes build their loop by
    TYPES.Loop where they would otherwise build asyncio.BaseEventLoop(). `only` restricts a class to the tests that a
    regular expression matches in full. `unbound` says of the remaining classes why they do not run. A module that this
    Python's suite lacks gives nothing.
    """
    plan = PLANS[name] = Plan(name)
    plan.unbound = unbound or {}
    if importlib.util.find_spec(f"{PACKAGE}.{name}") is None:
        return plan.bound
    for binding, classes in bindings.items():
        loaded = Loaded(name, BINDINGS[binding])
        plan.defined |= loaded.cases().keys()
        if loaded.binding.loop and adapt is not None:
            adapt(loaded.module)
        for class_name, case in loaded.cases().items():
            if class_name not in classes:
                continue
            if loaded.binding.loop and issubclass(case, suite_utils.TestCase):
                case.new_test_loop = _new_test_loop
            case.conformance = loaded  # type: ignore[attr-defined]
            _restrict(case, (only or {}).get(class_name, ".*"))
            plan.bound[f"{class_name}.{binding}"] = case
    return plan.bound


def merge_loop_classes(module: Any, *bases: str) -> None:
    """Add the class EventLoopTests: `bases` on the loop under test.

    The suite has one such class per selector, and they differ in nothing else.
    """
    namespace = {"create_event_loop": lambda self: TYPES.Loop(), "__module__": module.__name__}
    module.EventLoopTests = type("EventLoopTests", tuple(getattr(module, base) for base in bases), namespace)


def _new_test_loop(self: Any, gen: Any = None) -> Any:
    """Stand in for TestCase.new_test_loop: the loop under test, unless the test drives a virtual clock."""
    if gen is not None:
        return suite_utils.TestCase.new_test_loop(self, gen)
    loop = TYPES.Loop()
    self.set_event_loop(loop)
    return loop


def _restrict(case: type[unittest.TestCase], pattern: str) -> None:
    for test in unittest.defaultTestLoader.getTestCaseNames(case):
        if not re.fullmatch(pattern, test):
            setattr(case, test, None)
