"""Each script of examples/ says the same under stock python and under python -m asyncio_c."""

import pytest
from same_output import ROOT, compare, started

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with started(SCRIPTS, tmp_path_factory.mktemp("examples")) as runs:
        yield runs


def test_there_are_examples():
    assert SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example(script, runs):
    compare(runs[script], is_mistake="mistake" in script.name)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_readme_lists(script):
    assert f"`{script.name}`" in (ROOT / "examples" / "README.md").read_text()
