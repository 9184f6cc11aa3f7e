"""pytest's side: the binding around each test, the marks of expected.toml, and the record that the table is made from."""

from __future__ import annotations

import contextlib
import gc
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from . import expected

_LAST_PARENT = pytest.StashKey[Any]()
RECORD = os.environ.get("ASYNCIO_C_CONFORMANCE_RECORD")


def _test_id(item: pytest.Item) -> str | None:
    if not hasattr(getattr(item, "cls", None), "conformance") or item.parent is None:
        return None
    return f"{item.path.stem}::{item.parent.name}::{item.name}"


def _record(**line: Any) -> None:
    """Add a line to the record, at once: the next thing to happen may be a crash."""
    if RECORD:
        with open(RECORD, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _started() -> set[str]:
    """Return the tests that the record says were started, by a process that did not survive the last of them."""
    if not RECORD or not os.path.exists(RECORD):
        return set()
    with open(RECORD, encoding="utf-8") as file:
        return {line["start"] for line in map(json.loads, file) if "start" in line}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    started = _started()
    items[:] = [item for item in items if _test_id(item) not in started]
    for item in items:
        test_id = _test_id(item)
        if test_id is None:
            continue
        # The suite is written for Python's own filters, whatever this project's are.
        # But what a destructor or a thread raises would otherwise go unseen.
        item.add_marker(
            pytest.mark.filterwarnings(
                "default",
                "error::pytest.PytestUnraisableExceptionWarning",
                "error::pytest.PytestUnhandledThreadExceptionWarning",
            )
        )
        entry = expected.find(test_id)
        if entry is not None:
            reason = f"{entry.kind}: {entry.reason}"
            item.add_marker(pytest.mark.xfail(reason=reason, run=entry.run, strict=True))


def _relieve_garbage_collector() -> None:
    """Take what pytest has allocated by now out of the collections that the suite makes, hundreds of them."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    # Its absence tells of a crash, and of a hang: faulthandler's exit has the status of a mere failure.
    _record(finished=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    test_id = _test_id(item)
    if test_id is None:
        return (yield)
    if item.parent is not item.session.stash.get(_LAST_PARENT, None):
        item.session.stash[_LAST_PARENT] = item.parent
        _relieve_garbage_collector()
    _record(start=test_id)
    with item.cls.conformance.active():  # type: ignore[attr-defined]
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _scratch_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Move the suite's scratch file, which is otherwise in the current folder, and stays there after a crash."""
    from test.support import os_helper

    os_helper.TESTFN = str(tmp_path_factory.mktemp("conformance") / "scratch")


def _descriptors() -> set[tuple[str, str]]:
    """Return number and target of each open descriptor."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        # The descriptor of the listing itself is closed by now.
        with contextlib.suppress(OSError):
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


@pytest.fixture(autouse=True)
def _no_descriptor_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a test fail that leaves descriptors open, garbage aside."""
    if _test_id(request.node) is None:
        yield
        return
    before = _descriptors()
    yield
    if _descriptors() - before:
        gc.collect()
        assert _descriptors() - before == set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    if _test_id(item) is None:
        return (yield)
    with item.cls.conformance.foreign_objects() as made:  # type: ignore[attr-defined]
        result = yield
    # A test that passes on asyncio's own loop, or its TLS, says nothing.
    assert not made, f"ran on {made}"
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    test_id = _test_id(item)
    if test_id is not None and (report.when == "call" or not report.passed):
        outcome = report.outcome
        if hasattr(report, "wasxfail"):
            entry = expected.find(test_id)
            outcome = entry.kind if entry is not None and outcome == "skipped" else "failed"
        _record(done=test_id, outcome=outcome, seconds=report.duration)
    return report
