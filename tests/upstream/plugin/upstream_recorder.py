"""A pytest plugin for the runs of other people's suites: it writes down each result, and the kinds of loops that were made.

One JSON object a line, written at once, so that a run that hangs or crashes has left what it did until then.
"""

import asyncio.base_events
import collections
import functools
import json
import os

_loops = collections.Counter()
_initialize_loop = asyncio.base_events.BaseEventLoop.__init__


@functools.wraps(_initialize_loop)
def _counting_init(self, *arguments, **keywords):
    _loops[f"{type(self).__module__}.{type(self).__qualname__}"] += 1
    _initialize_loop(self, *arguments, **keywords)


asyncio.base_events.BaseEventLoop.__init__ = _counting_init


def _write(**entry):
    with open(os.environ["UPSTREAM_RECORD"], "a") as file:
        file.write(json.dumps(entry) + "\n")


def pytest_runtest_logstart(nodeid, location):
    _write(test=nodeid, outcome="started")


def pytest_runtest_logreport(report):
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if outcome == "skipped" else "xpassed"
    if outcome != "passed" or report.when == "call":
        _write(test=report.nodeid, outcome=outcome, text=report.longreprtext[-4000:] if report.failed else "")


def pytest_collectreport(report):
    if report.failed:
        _write(test=report.nodeid, outcome="failed", text=report.longreprtext[-4000:])


def pytest_sessionfinish(session, exitstatus):
    _write(loops=dict(_loops), exit=int(exitstatus))
