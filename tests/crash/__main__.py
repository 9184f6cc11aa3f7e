"""Run cases: python -m tests.crash IMPLEMENTATION [CASE...]

Imports everything once and forks a child for each case, in which the case runs and Python then ends as it always does.
Prints a line of JSON for each: [name, exit status or minus the signal, output]. With `--here CASE` runs that one in this
process, under whatever debugger.
"""

import faulthandler
import gc
import json
import os
import signal
import sys
import tempfile

from tests.unit import support

from . import (  # noqa: F401
    in_callbacks,
    in_endpoints,
    in_primitives,
    in_processes,
    in_protocols,
    in_queues,
    in_runners,
    in_streams,
    in_tasks,
    in_the_middle,
    in_waits,
    over_tls,
    with_numbers,
)
from .table import CASES

GUARD_SECONDS = 60


def in_child(name, impl, output):
    """Become the process of one case."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    faulthandler.enable()
    # No thread of faulthandler's: a fork would lose it.
    faulthandler.register(signal.SIGALRM, chain=True)
    signal.alarm(GUARD_SECONDS)
    CASES[name].function(impl)
    support.check_gil()
    # At the end of Python, modules and what is left of the case go together, in the order in which they were made.
    gc.freeze()
    gc.unfreeze()
    gc.collect()


def run(name, impl):
    """Return the status and the output of a case; in the child, return None and be at the end of the program."""
    with tempfile.TemporaryFile() as file:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            in_child(name, impl, os.dup(file.fileno()))
            return None
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        file.seek(0)
        return status, file.read().decode(errors="replace")


def main():
    implementation, *names = sys.argv[1:]
    impl = support.load(implementation)
    if names[:1] == ["--here"]:
        CASES[names[1]].function(impl)
        return
    gc.freeze()  # the children's collections look at what is theirs
    # What stock asyncio does not get through may take it a minute to hang; it is run if it is asked for.
    all_cases = [name for name, case in CASES.items() if implementation != "asyncio" or not case.stock]
    for name in names or all_cases:
        result = run(name, impl)
        if result is None:
            return
        print(json.dumps([name, *result]))


if __name__ == "__main__":
    main()
