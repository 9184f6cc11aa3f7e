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
FREED = """\
==================
WARNING: ThreadSanitizer: data race (pid=1)
  Read of size 8 at 0x1 by thread T2:
    #0 is_dead object.c:356:26 (python3.13td+0x1)
    #1 _Py_DecRefSharedIsDead object.c:391:30 (python3.13td+0x2)
    #2 Py_DECREF object.h:896:9 (python3.13td+0x3)
    #3 list_clear listobject.c:1:1 (python3.13td+0x4)

  Previous write of size 8 at 0x1 by thread T1:
    #0 memset <null> (python3.13td+0x5)
    #1 fill_mem_debug obmalloc.c (python3.13td+0x6)
    #2 _PyMem_DebugFree obmalloc.c:1:1 (python3.13td+0x7)
    #3 PyObject_Free obmalloc.c:1:1 (python3.13td+0x8)
    #4 {function} file.c:1:1 ({module}.cpython-313td-x86_64-linux-gnu.so+0x9)
==================
"""
FREED_BY_US = FREED.format(function="Task_dealloc", module="_core")
FREED_BY_THEM = FREED.format(function="tb_dealloc", module="python3.13td")


@pytest.mark.parametrize(
    ("reports", "passes"),
    [
        ([], False),
        ([THEIRS], False),
        ([ON_PURPOSE], True),
        ([ON_PURPOSE + THEIRS], True),
        ([ON_PURPOSE, OURS], False),
        ([ON_PURPOSE, FREED_BY_US], False),
        ([ON_PURPOSE, FREED_BY_THEM], True),
        ([OURS], False),
    ],
    ids=[
        "no report",
        "CPython's",
        "that on purpose",
        "and CPython's",
        "and ours",
        "and ours in an allocator",
        "and CPython's in an allocator",
        "ours alone",
    ],
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
