"""The leak detector finds the leaks that were made on purpose, and only those."""

import re
import subprocess
import sys

import pytest

from . import planted, plugin

# All tests read what one process says.
pytestmark = pytest.mark.xdist_group("planted leaks")

NEEDS_REFS = "leak_ref"


@pytest.fixture(scope="module")
def outcomes():
    """What became of each test of planted.py: `{"test_task[leak]": "FAILED", ...}`."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.leaks.plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-v", planted.__file__],
        capture_output=True,
        text=True,
        timeout=300,
        env=plugin.environment(),
    )
    found = dict(re.findall(r"^\S+::(\S+) (PASSED|FAILED)", done.stdout, re.MULTILINE))
    assert found, done.stdout + done.stderr
    return found


CASES = [
    *(f"test_{what}[{how}]" for what in ("task", "connection", "cancelled_timer", "failed_connect") for how in ("leak", "flat", NEEDS_REFS)),
    *(f"test_{what}[{how}]" for what in ("own_memory", "descriptor") for how in ("leak", "flat")),
    *(f"test_twin[asyncio_c-{how}]" for how in ("leak", "leak_more", "leak_alone", "shared")),
    "test_fixture[flat]",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_verdict(outcomes, case):
    if NEEDS_REFS in case and not plugin.has_refs:
        pytest.skip("references are counted by debug interpreters only")
    assert outcomes[case] == ("PASSED" if "flat" in case or "shared" in case else "FAILED")


def test_nothing_else_was_run(outcomes):
    assert sorted(outcomes) == sorted(CASES)
