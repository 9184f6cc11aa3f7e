"""Whole modules of CPython's suite under install() and patch(): those that are quick; `make conformance` runs them all."""

import re

import pytest

from . import (
    loading,  # noqa: F401  which skips this file where CPython's tests are not installed
    whole,
)
from .__main__ import BAD, run

QUICK = ["test_async_case", "test_timeouts", "test_graph", "test_queues", "test_streams"]


@pytest.mark.parametrize("module", [name for name in QUICK if name in whole.modules()])
@pytest.mark.parametrize("level", whole.LEVELS)
def test_module(level, module):
    outcomes, _, printed = run(level, module, hang=120)
    assert [test_id for test_id, outcome in outcomes.items() if outcome in BAD] == [], printed
    assert "passed" in outcomes.values()
    # Tests that pass on asyncio's own loop say nothing.
    assert re.search(r"^[1-9]\d* loops of asyncio_c$", printed, re.MULTILINE), printed
