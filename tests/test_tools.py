"""Tools by whose verdict a target of the Makefile passes or fails."""

import pathlib
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).parents[1] / "tools"

REPORT = """\
==================
WARNING: ThreadSanitizer: data race (pid=1)
  Write of size 4 at 0x1 by thread T2:
    #0 {function} file.c:1 ({module}.cpython-313td-x86_64-linux-gnu.so+0x1)
    #1 cfunction_vectorcall_NOARGS Objects/methodobject.c:484 (python3.13td+0x2)

  Previous write of size 4 at 0x1 by thread T1:
    #0 __tsan_memcpy <null> (python3.13td+0x3)
    #1 {function} file.c:1 ({module}.cpython-313td-x86_64-linux-gnu.so+0x1)

  Thread T2 (tid=3, running) created by main thread at:
    #0 pthread_create <null> (python3.13td+0x4)
==================
"""
ON_PURPOSE = REPORT.format(function="race_on_purpose", module="_core")
OURS = REPORT.format(function="loop_push", module="_core")
THEIRS = REPORT.format(function="select_poll", module="select")


@pytest.mark.parametrize(
    ("reports", "passes"),
    [
        ([], False),
        ([THEIRS], False),
        ([ON_PURPOSE], True),
        ([ON_PURPOSE + THEIRS], True),
        ([ON_PURPOSE, OURS], False),
        ([OURS], False),
    ],
    ids=["no report", "CPython's", "that on purpose", "and CPython's", "and ours", "ours alone"],
)
def test_reports_of_the_thread_sanitizer(tmp_path, reports, passes):
    for number, text in enumerate(reports):
        (tmp_path / f"tsan.{number}").write_text(text)
    (tmp_path / "threads").write_text(ON_PURPOSE)  # nothing of a run
    answer = subprocess.run(
        [sys.executable, TOOLS / "tsan_reports.py", tmp_path / "tsan"], capture_output=True, text=True
    )
    assert (answer.returncode == 0) is passes, answer.stdout
    assert ("nothing was watched" in answer.stdout) is (ON_PURPOSE not in "".join(reports))
    assert answer.stderr == ""
