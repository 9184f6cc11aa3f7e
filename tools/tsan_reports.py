"""Tell races of asyncio_c apart from those of CPython, in reports of the thread sanitizer.

    python tools/tsan_reports.py PREFIX     PREFIX: the log_path of TSAN_OPTIONS, to which each process adds its number

A report is ours if code of the module touches the memory (or the lock) that it is about: if, in one of its stacks, the innermost
frame is the module's, but for the sanitizer's own, and for those of CPython that count references or make and free memory. These do to
what they are given what their caller wants, so that they are passed over: an object that the module drops too early, or shows to others
before it is complete, is the module's fault. What CPython's other functions do, called by us or not, is CPython's, and is counted by these
functions; those that the module has called are marked, for it may have called them for what it had to guard.

One race is there on purpose, in a function of the module that a test calls (test_free_threading_sanitized.py): without a report of it
nothing was watched, or the reports went elsewhere.

Prints ours in full, and exits with 1 if there are any, or not that one.
"""

from __future__ import annotations

import collections
import pathlib
import re
import sys

RULE = "=" * 18
FRAME = re.compile(r"    #\d+ (\S+) .*\((\S+)\+0x")
# A stack that says who touched what; those of allocations, threads and locks explain it, and are named otherwise.
TOUCHED = re.compile(r"  .*(write|read) of size .*:$", re.I)
MODULE = "_core."
ON_PURPOSE = "race_on_purpose"
# Of CPython: what counts references, and what makes, frees and, in a debug build, fills memory.
COUNTS = re.compile(
    r"_?Py_X?(INCREF|DECREF|NewRef)|_Py_(DecRef|IncRef|MergeZeroLocalRefcount|TryXGet|TryIncref)\w*|is_dead"
    r"|_Py_IsOwnedByCurrentThread|_Py_atomic_\w+|Py_TYPE|Py_IS_TYPE|_?Py_NewReference|new_reference|_?PyObject_Init"
)
ALLOCATES = re.compile(
    r"fill_mem_debug|(write|read)_size_t|_?PyMem_\w+|_?PyObject_(Malloc|Calloc|Realloc|Free)\w*|gc_alloc"
    r"|_?PyObject_GC_(New|NewVar|Del|Link|Track|UnTrack)|_?mi_\w+"
)
# How deep below an interpreter's function the module is still the one that has called it.
CALLED = 3

Stack = list[tuple[str, bool]]  # of frames, from the innermost: the function, and whether it is the module's


def stacks_of(report: str) -> list[Stack]:
    """Return the stacks of those that have touched the memory; of a report of another kind, all."""
    touched: list[Stack] = []
    others: list[Stack] = []
    current: Stack = []
    for line in report.splitlines():
        frame = FRAME.match(line)
        if frame is None:
            current = []
            (touched if TOUCHED.match(line) else others).append(current)
        elif current or not is_the_sanitizers(line):
            current.append((frame[1], MODULE in frame[2]))
    for stack in touched:
        pass_over(stack)
    return [stack for stack in touched or others if stack]


def is_the_sanitizers(line: str) -> bool:
    """Whether the frame is an interceptor's, which has no line of a source."""
    return "<null>" in line


def pass_over(stack: Stack) -> None:
    """Remove the innermost frames that do what their caller wants; what is the module's own, an inlined one, says that already."""
    served = 0
    for function, ours in stack[:-1]:
        if ours or not (COUNTS.fullmatch(function) or ALLOCATES.fullmatch(function)):
            break
        served += 1
    del stack[:served]


def is_ours(stacks: list[Stack]) -> bool:
    return any(stack[0][1] for stack in stacks)


def is_on_purpose(stacks: list[Stack]) -> bool:
    return is_ours(stacks) and all(stack[0][0] == ON_PURPOSE for stack in stacks)


def named(stack: Stack) -> str:
    called = any(ours for _, ours in stack[:CALLED])
    return stack[0][0] + (" (called by the module)" if called else "")


def main(prefix: pathlib.Path) -> int:
    files = sorted(prefix.parent.glob(prefix.name + ".*"))
    text = "".join(file.read_text(errors="replace") for file in files)
    reports = [part for part in text.split(RULE) if "WARNING: ThreadSanitizer" in part]
    ours = []
    proofs = 0
    theirs: collections.Counter[str] = collections.Counter()
    for report in reports:
        stacks = stacks_of(report)
        if is_on_purpose(stacks):
            proofs += 1
        elif is_ours(stacks):
            ours.append(report)
        else:
            theirs[" and ".join(sorted({named(stack) for stack in stacks}))] += 1
    for report in ours:
        print(RULE + report)
    for functions, count in theirs.most_common():
        print(f"{count:5} of CPython: {functions}")
    print(f"{len(reports)} reports, {len(ours)} of asyncio_c, {proofs} of the race that is made on purpose")
    if proofs == 0:
        print("nothing was watched: the race that is made on purpose is not among the reports")
    return 1 if ours or proofs == 0 else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
