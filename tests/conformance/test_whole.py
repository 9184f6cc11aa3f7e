"""Whole modules of CPython's suite under install() and patch(): those that are quick; `make conformance` runs them all."""

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
    result = run(level, module, hang=120)
    bad = [test_id for test_id, outcome in result.outcomes.items() if outcome in BAD]
    assert bad == [], result.printed
    # Tests that pass on asyncio's own loop say nothing.
    on_our_loop = {result.outcomes[test_id] for test_id in result.on_our_loop}
    assert "passed" in on_our_loop, result.printed
