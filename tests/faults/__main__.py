"""Fail each system call of each operation: python -m tests.faults [options] [OPERATION | OPERATION:FUNCTION:ERROR:N[+]]...

For each function that an operation calls, each errno that it may have, and N = 0, 1, 2, ... a child is forked in which the Nth
call fails; then one in which that call and all after it fail (N+), as when the process is out of descriptors. Afterwards the
system is well again, and what tests/torture/harness.py says has to hold, and what the operation itself says. EINTR and EAGAIN
are no failures: nobody may notice them.

With `OPERATION:FUNCTION:ERROR:N` that one alone, with its output; `N+` for all from the Nth on.
"""

import argparse
import ctypes
import errno
import gc
import os
import pathlib
import sys

from tests.torture import harness
from tests.unit import support

from . import flow_operations  # noqa: F401
from .operations import OPERATIONS

SHIM = pathlib.Path(__file__).with_name("failing_syscalls.c")
HARMLESS = ("EINTR", "EAGAIN")
# What a process that is out of something goes on failing with.
PERSISTENT = ("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ENOSPC")
ACQUIRING = (
    "accept4",
    "epoll_create1",
    "epoll_ctl",
    "fcntl",
    "pidfd_open",
    "pipe2",
    "send",
    "socket",
    "socketpair",
)

# What each function may fail with, EAGAIN and EINTR only where it may be called without anything there.
ERRORS = {
    "accept4": "EMFILE ENFILE ENOMEM ENOBUFS ECONNABORTED EPERM EBADF EINTR EAGAIN",
    "bind": "EADDRINUSE EACCES",
    "close": "EIO",
    "connect": "ECONNREFUSED ENETUNREACH EADDRNOTAVAIL ETIMEDOUT",
    "epoll_create1": "EMFILE ENFILE ENOMEM",
    "epoll_ctl": "ENOMEM ENOSPC EBADF",
    "epoll_pwait2": "ENOSYS EPERM EINTR ENOMEM EBADF",
    "epoll_wait": "EINTR ENOMEM EBADF",
    "fcntl": "EMFILE",
    "fstat": "EBADF",
    "getpeername": "ENOTCONN ENOBUFS",
    "getsockname": "ENOBUFS",
    "getsockopt": "ENOBUFS",
    "listen": "EADDRINUSE",
    "pidfd_open": "EMFILE ENOSYS ENOMEM ESRCH",
    "pipe2": "EMFILE ENFILE",
    "poll": "EINTR ENOMEM",
    "ppoll": "EINTR ENOMEM",
    "read": "EIO EBADF EINTR EAGAIN",
    "recv": "ECONNRESET ETIMEDOUT ENOMEM EBADF EINTR EAGAIN",
    "recvfrom": "ECONNREFUSED ENOMEM EBADF EINTR EAGAIN",
    "send": "EPIPE ECONNRESET ENOBUFS ENOMEM EBADF EINTR EAGAIN",
    "sendfile": "EIO ENOSYS EINVAL EINTR EAGAIN",
    "sendmsg": "EPIPE ECONNRESET ENOBUFS EBADF EINTR EAGAIN",
    "sendto": "EPERM ENOBUFS ENOMEM EMSGSIZE EBADF EINTR EAGAIN",
    "setsockopt": "ENOPROTOOPT ENOMEM",
    "shutdown": "ENOTCONN ENOBUFS",
    "socket": "EMFILE ENFILE ENOBUFS EAFNOSUPPORT",
    "socketpair": "EMFILE ENFILE",
    "write": "EPIPE EIO EBADF EINTR EAGAIN",
    "writev": "EPIPE EIO EBADF EINTR EAGAIN",
}


def fault(impl, function, shim, target, error, number, times):
    """The child's work. Returns its exit status."""
    counted = []

    def disarm():
        counted.append(shim.faults_disarm())

    def arm():
        shim.faults_arm(target.encode(), number, times, getattr(errno, error))

    harness.torture(impl, function, arm, disarm, must_succeed=error in HARMLESS, may_wait=times < 0)
    return harness.ENDED if counted[0] <= number else harness.FAILED_AS_IT_MAY


def count_calls(impl, function, shim):
    """Return how often an operation calls each function when nothing fails."""
    read_end, write_end = os.pipe()

    def work():
        for target in ERRORS:
            counted = []
            harness.torture(
                impl,
                function,
                lambda target=target: shim.faults_arm(target.encode(), 0, 0, 0),
                lambda counted=counted: counted.append(shim.faults_disarm()),
                must_succeed=True,
            )
            os.write(write_end, f"{target} {counted[0]}\n".encode())
        return 0

    status, output = harness.fork(work)
    os.close(write_end)
    with open(read_end) as file:
        counts = {line.split()[0]: int(line.split()[1]) for line in file}
    return status, output, {target: count for target, count in counts.items() if count}


def cases(counts, limit, never):
    """Yield `(function, errno, N, times)`: -1 times is for ever."""
    for target, count in counts.items():
        for error in ERRORS[target].split():
            if target in never or f"{target}:{error}" in never:
                continue
            for number in range(min(count, limit)):
                if f"{target}::{number}" in never:
                    continue
                yield target, error, number, 1
                if error in PERSISTENT and target in ACQUIRING:
                    yield target, error, number, -1


def run(impl, name, shim, limit):
    """Fail each call of one operation. Returns the number of failures."""
    function = OPERATIONS[name]
    status, output, counts = count_calls(impl, function, shim)
    if status:
        print(f"FAIL {name}: fails although nothing does: {harness.describe(status, output)}")
        return 1
    failures, total, seen = 0, 0, set()
    lines = []
    for target, error, number, times in cases(counts, limit, function.never):
        status, output = harness.fork(lambda: fault(impl, function, shim, target, error, number, times))
        total += 1
        if status in (harness.ENDED, harness.FAILED_AS_IT_MAY):
            continue
        failures += 1
        words = harness.describe(status, output)
        if (target, words) not in seen:
            seen.add((target, words))
            lines.append(f"     {name}:{target}:{error}:{number}{'+' if times < 0 else ''} {words}")
    print(
        f"{'FAIL' if failures else 'ok  '} {name}: {total} faults"
        + (f", {failures} fail" if failures else "")
    )
    print(*lines, sep="\n", end="\n" if lines else "")
    sys.stdout.flush()
    return failures


def run_one(impl, chosen, shim):
    name, target, error, number = chosen.split(":")
    times = -1 if number.endswith("+") else 1
    work = [impl, OPERATIONS[name], shim, target, error, int(number.rstrip("+")), times]
    status, output = harness.fork(lambda: fault(*work))
    print(f"{chosen}: status {status}\n{output}")
    return status not in (harness.ENDED, harness.FAILED_AS_IT_MAY)


def main():
    parser = argparse.ArgumentParser(description="Fail each system call of each operation.")
    parser.add_argument("--implementation", default="native", choices=("asyncio", "loop_only", "native"))
    parser.add_argument(
        "--limit", type=int, default=30, help="of calls of each function that fail, for each operation"
    )
    parser.add_argument("operations", nargs="*", metavar="OPERATION[:FUNCTION:ERROR:N]")
    options = parser.parse_args()
    if not harness.is_preloaded(SHIM):
        return harness.preload(SHIM)

    shim = ctypes.CDLL(None)
    impl = support.load(options.implementation)
    gc.collect()
    gc.freeze()
    failed = 0
    for chosen in options.operations or OPERATIONS:
        failed += run_one(impl, chosen, shim) if ":" in chosen else run(impl, chosen, shim, options.limit)
    print(f"{failed} faults are not survived" if failed else "all faults are survived")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
