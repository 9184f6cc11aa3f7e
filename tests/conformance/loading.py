"""Loads a module of CPython's suite under a binding and hands out its test cases.

The suite decides at import what it tests (`Task = tasks._CTask` in a class body), so a module is executed once per
binding, each time into a module object of its own, while that binding is active.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
import sysconfig
import types
import unittest
from asyncio import base_events, sslproto
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from .binding import BINDINGS, IMPLEMENTATION, TLS_BINDINGS, TYPES, Binding

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
    def foreign_objects(self) -> Iterator[list[str]]:
        """Collect the classes of what is made in a with block, although the binding has another under test.

        These are loops and, where the binding says by what it encrypts, the protocols of TLS. The virtual clock of the
        suite's own TestLoop is no mistake, nor is a class that a test defines: it is what the test wants.
        """
        # On asyncio's own types, some tests make a bare BaseEventLoop.
        other = self.binding.loop and IMPLEMENTATION != "stock"
        allowed = (TYPES.Loop if other else base_events.BaseEventLoop, suite_utils.TestLoop)
        made: list[str] = []

        def note_loop(loop: base_events.BaseEventLoop) -> None:
            if not isinstance(loop, allowed) and not type(loop).__module__.startswith("test."):
                made.append(type(loop).__qualname__)

        with _noting(base_events.BaseEventLoop, note_loop):
            if IMPLEMENTATION == "stock" or self.binding.tls is None:
                yield made
                return
            from asyncio_c import tls

            def note_stock(protocol: Any) -> None:
                if self.binding.tls != "asyncio" and not isinstance(protocol, tls.SSLProtocol):
                    made.append(type(protocol).__qualname__)

            def note_engine(protocol: Any) -> None:
                if protocol._engine != _tls_engine(self.binding.tls):
                    made.append(f"{type(protocol).__qualname__} by {protocol._engine}")

            with _noting(sslproto.SSLProtocol, note_stock), _noting(tls.SSLProtocol, note_engine):
                yield made

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
    regular expression matches in full; `Class.binding` there is of one binding. `unbound` says of the remaining classes why they do not run. A module that this
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
            for restricted in (class_name, f"{class_name}.{binding}"):
                _restrict(case, (only or {}).get(restricted, ".*"))
            plan.bound[f"{class_name}.{binding}"] = case
    return plan.bound


@contextlib.contextmanager
def _noting(type_: Any, note: Callable[[Any], None]) -> Iterator[None]:
    """Have `note` called with each object of a type that is made in a with block."""
    initialize = type_.__init__

    def wrapper(self: Any, *args: Any, **keywords: Any) -> None:
        initialize(self, *args, **keywords)
        note(self)

    type_.__init__ = wrapper
    try:
        yield
    finally:
        type_.__init__ = initialize


def _tls_engine(wanted: str) -> str:
    """Return by what a connection is encrypted that is to be by `wanted`: OpenSSL cannot be called everywhere."""
    can_be_had = hasattr(sys.modules["_ssl"], "__file__") and not sysconfig.get_config_var("Py_GIL_DISABLED")
    return "object" if wanted == "openssl" and not can_be_had else wanted


def only_over_tls(*classes: str) -> dict[str, str]:
    """Return, for `only`, that under the bindings of TLS the classes run the tests that are named after it."""
    return {
        f"{name}.{binding}": ".*(ssl|tls|connect_accepted).*" for name in classes for binding in TLS_BINDINGS
    }


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
