"""Whole modules of CPython's suite under install() and patch(): those that are quick; `make conformance` runs them all."""

import pytest

from . import whole
from .__main__ import BAD, run

QUICK = ["test_async_case", "test_runners", "test_timeouts", "test_graph", "test_streams"]


@pytest.mark.parametrize("module", [name for name in QUICK if name in whole.modules()])
@pytest.mark.parametrize("level", whole.LEVELS)
def test_module(level, module):
    outcomes, _, printed = run(level, module, hang=120)
    assert [test_id for test_id, outcome in outcomes.items() if outcome in BAD] == [], printed
    assert "passed" in outcomes.values()
