"""Fail each allocation of each operation: python -m tests.torture [--implementation NAME] [OPERATION[:N]...]

For N = 0, 1, 2, ... a child is forked in which the Nth allocation of the operation fails, until there are no more. Then the
memory is back, and harness.py says what has to hold.

With `OPERATION:N` that one alone, with its output.
"""

import argparse
import ctypes
import gc
import pathlib
import re
import sys

from tests.unit import support

from . import (  # noqa: F401
    flow_operations,
    harness,
    net_operations,
    runner_operations,
    stream_operations,
)
from .operations import OPERATIONS

# A dict's iterator that lacks memory is taken from the collector before that has got it: up to Python 3.13.
CRASH_OF_THE_INTERPRETER = re.compile(r"most recent call first.*\n.*weakref\.py.* in update\n")
FAILING_MALLOC = pathlib.Path(__file__).with_name("failing_malloc.c")


def torture(impl, function, number, malloc):
    """The child's work. Returns its exit status."""
    counted = []
    harness.torture(
        impl,
        function,
        lambda: malloc.torture_arm(number),
        lambda: counted.append(malloc.torture_disarm()),
    )
    return harness.ENDED if counted[0] <= number else harness.FAILED_AS_IT_MAY


def run(impl, name, function, malloc, first=0, only=False):
    """Torture one operation. Returns the failures as `(N, status, output)`."""
    failures, number = [], first
    while True:
        status, output = harness.fork(lambda: torture(impl, function, number, malloc))
        if status < 0 and CRASH_OF_THE_INTERPRETER.search(output):
            status = harness.FAILED_AS_IT_MAY
        if status not in (harness.ENDED, harness.FAILED_AS_IT_MAY):
            failures.append((number, status, output))
        number += 1
        if status == harness.ENDED or only or len(failures) >= 40:
            break
    kinds = {status: sum(1 for f in failures if f[1] == status) for status in {f[1] for f in failures}}
    print(
        f"{'FAIL' if failures else 'ok  '} {name}: {number} allocations" + (f", {kinds}" if failures else "")
    )
    seen = set()
    for number, status, output in failures:
        words = harness.describe(status, output)
        if words not in seen:
            seen.add(words)
            print(f"     {name}:{number} {words}")
    sys.stdout.flush()
    return failures


def main():
    parser = argparse.ArgumentParser(description="Fail each allocation of each operation.")
    parser.add_argument("--implementation", default="native", choices=("asyncio", "loop_only", "native"))
    parser.add_argument("operations", nargs="*", metavar="OPERATION[:N]")
    options = parser.parse_args()
    if not harness.is_preloaded(FAILING_MALLOC):
        # Each allocation of the interpreter is then one of malloc(), and what is freed is overwritten; without a GIL it is
        # one of the interpreter's own allocator, which can do the latter, too.
        own = "debug" if support.FREE_THREADED else "malloc"
        return harness.preload(FAILING_MALLOC, PYTHONMALLOC=own, MALLOC_PERTURB_="165")

    malloc = ctypes.CDLL(None)
    impl = support.load(options.implementation)
    gc.collect()
    gc.freeze()  # the children's collections look at what is theirs
    failed = 0
    for chosen in options.operations or OPERATIONS:
        name, _, number = chosen.partition(":")
        failures = run(impl, name, OPERATIONS[name], malloc, int(number or 0), bool(number))
        failed += bool(failures)
        if number and failures:
            print(failures[0][2])
    print(f"{failed} operations fail" if failed else "all operations survive")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
