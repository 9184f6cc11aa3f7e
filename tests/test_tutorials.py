"""The scripts of published asyncio tutorials say the same under stock python and under python -m asyncio_c.

They are not part of this repository: the folder is that of the variable ASYNCIO_C_TUTORIALS, or one beside the checkout.
"""

import os
import pathlib

import pytest
from same_output import ROOT, compare, started

FOLDER = pathlib.Path(
    os.environ.get("ASYNCIO_C_TUTORIALS") or ROOT.parent / "shared" / "tutorials" / "scripts"
)
SCRIPTS = sorted(FOLDER.glob("*.py"))

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the folder of tutorial scripts is not there")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with started(SCRIPTS, tmp_path_factory.mktemp("tutorials")) as runs:
        yield runs


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_tutorial(script, runs):
    compare(runs[script], is_mistake="error" in script.name)
