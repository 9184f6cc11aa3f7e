"""docs/compatibility.md and docs/coming-from-uvloop.md name the test that shows each statement: all of them have to be there."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "compatibility.md").read_text()
UVLOOP = (ROOT / "docs" / "coming-from-uvloop.md").read_text()
# What the abbreviations of the document stand for.
FOLDERS = {"net:": "tests/unit/net"}
FILES = {"differences:": "tests/unit/test_differences.py", "threads:": "tests/unit/test_free_threading.py"}


def rows(heading, text=TEXT):
    """Yield the rows of the table under a heading, each as a list of its cells, without the two lines of its head."""
    section = re.split(r"\n##+ ", text.partition(f"\n## {heading}\n")[2])[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    for line in table[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


@functools.cache
def functions(path):
    """Return the names of the functions of a file, without the `test_` of tests."""
    tree = ast.parse(path.read_text())
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name.removeprefix("test_") for node in found}


def references(cell):
    """Yield (file, name of a test or None) for what a cell names in backquotes; a name may end in an ellipsis."""
    folder, file = None, None
    for word in re.findall(r"`[^`]+`|\w+:", cell):
        name = word.strip("`")
        if word in FOLDERS:
            folder = FOLDERS[word]
        elif word in FILES:
            file = ROOT / FILES[word]
        elif name.endswith((".py", ".toml")):
            file = ROOT / (name if "/" in name else f"{folder}/{name}")
            yield file, None
        elif word.startswith("`"):
            yield file, name


def missing(cell):
    """Return what a cell names and is not there."""
    absent = []
    for file, name in references(cell):
        if file is None or not file.is_file():
            absent.append((file, name))
        elif name is not None:
            known = functions(file)
            prefix = name.removesuffix("…")
            if not (name in known if prefix == name else any(test.startswith(prefix) for test in known)):
                absent.append((file.name, name))
    return absent


DIFFERENCES = list(rows("Where it differs from asyncio"))
FAULTS = list(rows("Faults of asyncio that it does not share"))
REPLACED = list(rows("What tools replace"))
READ = list(rows("What tools read"))
CLAIMS = list(rows("Where it differs from uvloop", UVLOOP))
FEATURES = list(rows("What is there on which Python"))
WITHOUT_A_GIL = list(rows("Without a GIL"))


def test_tables_are_found():
    assert (
        len(DIFFERENCES) > 10
        and len(REPLACED) > 5
        and len(READ) >= 5
        and len(FAULTS) > 5
        and len(CLAIMS) > 10
        and len(FEATURES) > 5
        and len(WITHOUT_A_GIL) > 5
    )


@pytest.mark.parametrize(
    "row", [*DIFFERENCES, *REPLACED, *READ, *FAULTS, *FEATURES, *WITHOUT_A_GIL], ids=lambda row: row[0][:40]
)
def test_statement_names_tests_that_exist(row):
    assert list(references(row[-1])), "no test is named"
    assert missing(row[-1]) == []


@pytest.mark.parametrize("row", CLAIMS, ids=lambda row: row[0][:40])
def test_claim_about_uvloop_is_a_test(row):
    known = functions(ROOT / "tests" / "integration" / "test_uvloop.py")
    assert set(re.findall(r"`([^`]+)`", row[-1])) <= known and "`" in row[-1]


def test_other_references_exist():
    """Whatever else the document calls a file of the project is one; the last section speaks of other projects' files."""
    text = TEXT.partition("\n## Other people's test suites\n")[0]
    named = set(re.findall(r"`((?:tests|docs|tools|examples)/[\w./-]+)`", text))
    assert named and [name for name in named if not (ROOT / name).exists()] == []


def test_a_wrong_name_is_noticed():
    assert missing("differences: `no_such_test`") == [("test_differences.py", "no_such_test")]
    assert missing("differences: `no_such_…`") == [("test_differences.py", "no_such_…")]
    assert missing("net: `test_client.py`, `numeric_addresses_need_no_thread`") == []
    assert missing("`tests/no_such_file.py`") == [(ROOT / "tests/no_such_file.py", None)]
