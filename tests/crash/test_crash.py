"""Whatever a program does in its callbacks, Python raises an exception or goes on; it never dies."""

import json
import os
import subprocess
import sys

import pytest

from tests.unit import support

from . import __main__, table

# Freed memory is overwritten, so that using it is noticed.
ENVIRONMENT = {"PYTHONMALLOC": "debug", "MALLOC_PERTURB_": "165"}


# Where a debug build of 3.11 ends by an assertion of its own, on asyncio too.
ASSERTED_BY_311 = {
    "write_of_released": "iterating a released memoryview asserts that no exception is set",
    "exception_handler_recurses": "list.sort() asserts that comparing again, at the limit of recursion, says the same",
}
IS_DEBUG_311 = sys.version_info < (3, 12) and hasattr(sys, "gettotalrefcount")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(f"crash on {name}")) for name in support.NAMES],
)
def outcomes(request):
    """`{case: (status, output)}` of all cases on one implementation."""
    command = [sys.executable, "-m", "tests.crash", request.param]
    with subprocess.Popen(
        command, env=os.environ | ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        results = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    return request.param, {name: (status, output) for name, status, output in results}


@pytest.mark.parametrize("name", table.CASES)
def test_survives(outcomes, name):
    implementation, results = outcomes
    case = table.CASES[name]
    if implementation == "asyncio" and case.stock:
        pytest.skip(f"stock asyncio: {case.stock}")
    if IS_DEBUG_311 and name in ASSERTED_BY_311:
        pytest.skip(ASSERTED_BY_311[name])
    status, output = results[name]
    assert status == (1 if case.raises else 0), output
    if case.raises:
        assert case.raises in output


def test_table_is_complete():
    assert len(table.CASES) > 100
    assert __main__.GUARD_SECONDS > 0
