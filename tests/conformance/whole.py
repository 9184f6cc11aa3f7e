"""Runs a whole module of CPython's suite, as it is, in a process where every new loop is ours.

    python -m tests.conformance.whole installed test_tasks
    python -m tests.conformance.whole patched test_async_case TestAsyncCase.test_full_cycle

No name is rebound but by install() or patch(), and no test is left out: what makes a loop of asyncio's by name, as many
tests do, has one, and shows no more than that asyncio itself is as it was; the record says how many loops of ours each
test made. The ids are `module::Class@level::test`, so that a pattern of expected.toml does not mix these runs up
with those of the bindings, `module::Class.binding::test`. Next to the modules of test.test_asyncio there is
test_async_case, the tests of unittest's IsolatedAsyncioTestCase.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import json
import os
import pathlib
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import asyncio_c
from tests.unit import support

from . import expected

LEVELS = ("installed", "patched")
RECORD = os.environ.get("ASYNCIO_C_CONFORMANCE_RECORD")
# Up to 3.11, unittest's tests are beside it, and not in the package of all tests.
ASYNC_CASE = f"{'unittest.test' if sys.version_info < (3, 12) else 'test.test_unittest'}.test_async_case"


def modules() -> dict[str, str]:
    """Return the modules of the suite of the running Python: short name and full name."""
    package = importlib.util.find_spec("test.test_asyncio")
    if package is None or package.submodule_search_locations is None:
        return {}
    folder = pathlib.Path(package.submodule_search_locations[0])
    found = {path.stem: f"test.test_asyncio.{path.stem}" for path in sorted(folder.glob("test_*.py"))}
    return found | {"test_async_case": ASYNC_CASE}


def record(**line: Any) -> None:
    """Add a line to the record, at once: the next thing to happen may be a crash."""
    if RECORD:
        with open(RECORD, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def started_before() -> set[str]:
    """Return the tests that were started by a process before this one, which did not survive the last of them."""
    if not RECORD or not os.path.exists(RECORD):
        return set()
    with open(RECORD, encoding="utf-8") as file:
        return {line["start"] for line in map(json.loads, file) if "start" in line}


class Recorder(unittest.TextTestResult):
    """Records what becomes of each test, by the id that `name` gives it."""

    hang = 120.0

    def __init__(self, *args: Any, name: Callable[[unittest.TestCase], str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.name = name
        self.bad = False
        self.outcome = ""
        self.started_at = 0.0
        self.loops_before = 0

    def startTest(self, test: unittest.TestCase) -> None:
        record(start=self.name(test))
        # What hangs is reported, and the process ended, so that another one can go on with the next test.
        faulthandler.dump_traceback_later(self.hang, exit=True)
        self.outcome, self.started_at = "passed", time.monotonic()
        self.loops_before = loops_made
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()
        test_id = self.name(test)
        self.settle(test_id)
        self.bad = self.bad or self.outcome == "failed"
        # A test of a class that is skipped is not started, from 3.12 on.
        seconds = time.monotonic() - self.started_at if self.started_at else 0.0
        record(done=test_id, outcome=self.outcome, seconds=seconds, loops=loops_made - self.loops_before)
        self.started_at = 0.0

    def settle(self, test_id: str) -> None:
        """Make of `outcome` what is to be recorded."""

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        if isinstance(test, unittest.TestCase):
            self.outcome = "skipped"

    def _fails(self, test: Any) -> None:
        if isinstance(test, unittest.TestCase):
            self.outcome = "failed"
        else:
            self.set_up_fails(test)

    def set_up_fails(self, test: Any) -> None:
        """setUpClass() or setUpModule() failed, after which no test of it is started."""
        self.bad = True

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        self._fails(test)

    def addFailure(self, test: Any, error: Any) -> None:
        super().addFailure(test, error)
        self._fails(test)

    def addSubTest(self, test: Any, subtest: Any, error: Any) -> None:
        super().addSubTest(test, subtest, error)
        if error is not None:
            self._fails(test)

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._fails(test)


class Result(Recorder):
    """Compares what becomes of each test with expected.toml, and records it."""

    def __init__(self, *args: Any, module: str, level: str, **options: Any) -> None:
        super().__init__(*args, name=lambda test: id_of(test, module, level), **options)
        self.module, self.level = module, level

    def settle(self, test_id: str) -> None:
        entry = expected.find(test_id)
        if entry is not None and self.outcome == "failed":
            self.outcome = entry.kind
        elif entry is not None and self.outcome == "passed":
            self.outcome = "failed"
            self.stream.writeln(f"UNEXPECTED PASS: {test_id}")

    def set_up_fails(self, test: Any) -> None:
        super().set_up_fails(test)
        record(done=f"{self.module}::{test}@{self.level}::set up", outcome="failed", seconds=0)


def flat(suite: Any) -> Iterator[unittest.TestCase]:
    """Yield the tests of a suite."""
    if isinstance(suite, unittest.TestSuite):
        for inner in suite:
            yield from flat(inner)
    else:
        yield suite


def id_of(test: unittest.TestCase, module: str, level: str) -> str:
    class_name, _, name = test.id().rpartition(".")
    return f"{module}::{class_name.rpartition('.')[2]}@{level}::{name}"


def select(suite: unittest.TestSuite, module: str, level: str) -> unittest.TestSuite:
    """Return the tests that were not started yet, without those that must not be."""
    started = started_before()
    chosen = []
    for test in flat(suite):
        test_id = id_of(test, module, level)
        entry = expected.find(test_id)
        if test_id in started:
            continue
        if entry is not None and not entry.run:
            record(start=test_id)
            record(done=test_id, outcome=entry.kind, seconds=0)
        else:
            chosen.append(test)
    return unittest.TestSuite(chosen)


def ids(module: str, level: str) -> Iterator[str]:
    """Yield the id of each test of a module."""
    try:
        suite = unittest.defaultTestLoader.loadTestsFromName(modules()[module])
    except unittest.SkipTest:
        return
    for test in flat(suite):
        yield id_of(test, module, level)


loops_made = 0  # in this process


def count_loops(type_: Any) -> None:
    """Keep `loops_made` up to date from now on, of loops of this type."""
    initialize = type_.__init__

    def count(loop: Any, *args: Any, **keywords: Any) -> None:
        global loops_made
        loops_made += 1
        initialize(loop, *args, **keywords)

    type_.__init__ = count


def run(names: Iterable[str], module: str, level: str) -> bool:
    """Run the tests of these names; return whether all became what was expected of them."""
    try:
        suite = unittest.defaultTestLoader.loadTestsFromNames([name.rstrip(".") for name in names])
    except unittest.SkipTest as reason:
        print(f"no tests: {reason}")
        return True
    result: list[Result] = []

    def make_result(*args: Any, **options: Any) -> Result:
        result.append(Result(*args, module=module, level=level, **options))
        return result[0]

    runner = unittest.TextTestRunner(verbosity=0, warnings="default", resultclass=make_result)
    runner.run(select(suite, module, level))
    return not result[0].bad


def main() -> int:
    """Run a module, or the tests of it that are named; return 1 if any did not become what was expected of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.whole", description=__doc__)
    parser.add_argument("--hang", type=float, default=120, help="seconds after which the process ends itself")
    parser.add_argument("level", choices=LEVELS)
    parser.add_argument("module", choices=modules())
    parser.add_argument("names", nargs="*", help="of classes or tests; all of them if none is given")
    options = parser.parse_args()
    level, module, names = options.level, options.module, options.names

    getattr(asyncio_c, {"installed": "install", "patched": "patch"}[level])()
    full_name = modules()[module]
    count_loops(asyncio_c.Loop)
    from test.support import os_helper

    # The suite's scratch file is otherwise in the current folder, and stays there after a crash.
    with tempfile.TemporaryDirectory() as scratch:
        os_helper.TESTFN = os.path.join(scratch, "scratch")
        Result.hang = options.hang
        good = run((f"{full_name}.{name}" for name in names or [""]), module, level)
    support.check_gil()
    record(finished=True)
    print(f"{loops_made} loops of asyncio_c")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
