"""Reads expected.toml: the tests that are expected to fail, each with its kind and its reason."""

from __future__ import annotations

import dataclasses
import fnmatch
import operator
import pathlib
import sys
import tomllib

from .binding import IMPLEMENTATION

KINDS = ("not applicable", "known difference")
_COMPARE = {">=": operator.ge, "<": operator.lt, "==": operator.eq}


@dataclasses.dataclass(frozen=True)
class Expected:
    """One entry. `tests` are patterns of ids; `run` is false for a test that must not even be started."""

    tests: tuple[str, ...]
    kind: str
    reason: str
    run: bool

    def matches(self, test_id: str) -> bool:
        """Say whether `module::Class.binding::test` is one of the entry's tests."""
        return any(fnmatch.fnmatchcase(test_id, pattern) for pattern in self.tests)


def _applies(python: str) -> bool:
    """Say whether the running Python is one of, for instance, ">=3.12,<3.14"."""
    for condition in filter(None, python.replace(" ", "").split(",")):
        symbol = next(symbol for symbol in _COMPARE if condition.startswith(symbol))
        version = tuple(map(int, condition.removeprefix(symbol).split(".")))
        if not _COMPARE[symbol](sys.version_info[: len(version)], version):
            return False
    return True


def _read() -> list[Expected]:
    entries = []
    for table in tomllib.loads(pathlib.Path(__file__).with_name("expected.toml").read_text()).get(
        "expected", []
    ):
        tests, kind, reason = tuple(table.pop("tests")), table.pop("kind"), table.pop("reason")
        python, run = table.pop("python", ""), table.pop("run", True)
        implementation = table.pop("implementation", "native")
        if table or kind not in KINDS or not reason or implementation not in ("native", "stock", "any"):
            raise ValueError(f"expected.toml: bad entry for {tests}: {table or (kind, implementation)}")
        if implementation in (IMPLEMENTATION, "any") and _applies(python):
            entries.append(Expected(tests, kind, reason, run))
    return entries


EXPECTED = _read()


def find(test_id: str) -> Expected | None:
    """Return the entry that lists the test, or None."""
    return next((entry for entry in EXPECTED if entry.matches(test_id)), None)
