"""Fail each allocation of each operation: python -m tests.torture [--implementation NAME] [OPERATION[:N]...]

For N = 0, 1, 2, ... a child is forked in which the Nth allocation of the operation fails, until there are no more. Then the
memory is back, and has to hold: the process lives and does not hang; the loop still runs tasks, timers, threads' calls and
descriptors; once it is closed no descriptor is left open. Exceptions of any kind are right.

With `OPERATION:N` that one alone, with its output.
"""

import argparse
import ctypes
import gc
import os
import pathlib
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading

from tests.unit import support

from .operations import OPERATIONS, LostWakeUpError

GUARD_SECONDS = 5
HERE = pathlib.Path(__file__).parent
ENDED, FAILED_AS_IT_MAY = 0, 3  # exit statuses of a child: no allocation was left to fail; one has failed


def preload():
    """Start this program again, with the failing malloc."""
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder, "failing_malloc.so")
        compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", library, HERE / "failing_malloc.c"]
        subprocess.run(command, check=True)
        environment = {"LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": "165"}
        again = [sys.executable, "-X", "faulthandler", *sys.orig_argv[1:]]
        return subprocess.run(again, env=os.environ | environment).returncode


def open_descriptors():
    return set(os.listdir("/proc/self/fd"))


def check_loop(impl, loop):
    """The loop still does all that a loop does."""
    import asyncio
    import socket

    # What asyncio's own `finally` does at the end of a run needs memory too.
    asyncio._set_running_loop(None)
    loop._thread_id = None
    loop._stopping = False  # where stop() was followed by a run that did not begin
    loop.set_debug(False)

    async def main():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            future = loop.create_future()
            loop.add_reader(ours, lambda: future.done() or future.set_result(None))
            theirs.send(b"x")
            await future
            loop.remove_reader(ours)
        await impl.gather(impl.sleep(0.0001), loop.create_task(impl.sleep(0)))
        called = loop.create_future()
        threading.Thread(target=loop.call_soon_threadsafe, args=(called.set_result, None)).start()
        await called

    loop.run_until_complete(main())


def advance(steps):
    """Run an operation to its next `yield`; an exception ends that part, as it may."""
    try:
        next(steps)
    except StopIteration:
        return False
    return True


def torture(impl, function, number, malloc):
    """The child's work. Returns its exit status; failures are exceptions."""
    before = open_descriptors()
    loop = impl.new_event_loop()
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
    sys.unraisablehook = lambda args: reports.append(args.object)
    signal.signal(signal.SIGALRM, lambda *args: hangs(reports))
    steps = function(impl, loop)
    next(steps)
    error = None
    try:
        malloc.torture_arm(number)
        more = advance(steps)
        counted = malloc.torture_disarm()
    except (HangsError, LostWakeUpError):
        malloc.torture_disarm()
        raise
    except BaseException as caught:
        counted = malloc.torture_disarm()
        # What an operation leaves behind when it raises, it cleans up in its generator's own `finally` and `with`.
        error, more = caught, False
    if more:
        advance(steps)
    steps.close()
    check_loop(impl, loop)
    if error is not None:
        error.__traceback__ = error.__context__ = error.__cause__ = None
    del steps, error
    import asyncio

    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(impl.sleep(0))
    if loop._default_executor is not None:
        loop._default_executor.shutdown()
    loop.close()
    del loop
    for _ in range(3):
        gc.collect()
    left = open_descriptors() - before
    assert not left, f"descriptors left open: {[os.readlink(f'/proc/self/fd/{fd}') for fd in left]}"
    return ENDED if counted <= number else FAILED_AS_IT_MAY


class HangsError(BaseException):
    """Raised by the alarm, where it hangs."""


def hangs(reports):
    print("reported:", *reports, file=sys.stderr)
    raise HangsError


def fork(impl, function, number, malloc):
    """Run one child. Returns its exit status, and its output."""
    with tempfile.TemporaryFile() as file:
        pid = os.fork()
        if pid == 0:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            signal.alarm(GUARD_SECONDS)
            status = 1
            try:
                status = torture(impl, function, number, malloc)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        file.seek(0)
        return status, file.read().decode(errors="replace")


def run(impl, name, function, malloc, first=0, only=False):
    """Torture one operation. Returns the failures as `(N, status, output)`."""
    failures, number = [], first
    while True:
        status, output = fork(impl, function, number, malloc)
        if status not in (ENDED, FAILED_AS_IT_MAY):
            failures.append((number, status, output))
        number += 1
        if status == ENDED or only or len(failures) >= 40:
            break
    kinds = {status: sum(1 for f in failures if f[1] == status) for status in {f[1] for f in failures}}
    print(
        f"{'FAIL' if failures else 'ok  '} {name}: {number} allocations" + (f", {kinds}" if failures else "")
    )
    seen = set()
    for number, status, output in failures:
        lines = output.strip().splitlines()
        last = (
            [line for line in lines if "Error" in line][-1:]
            if status == 1
            else [f"signal {-status}", *lines[1:6]]
        )
        if str(last) not in seen:
            seen.add(str(last))
            print(f"     {name}:{number} {' | '.join(last)}")
    sys.stdout.flush()
    return failures


def main():
    parser = argparse.ArgumentParser(description="Fail each allocation of each operation.")
    parser.add_argument("--implementation", default="native", choices=("asyncio", "loop_only", "native"))
    parser.add_argument("operations", nargs="*", metavar="OPERATION[:N]")
    options = parser.parse_args()
    if "failing_malloc" not in os.environ.get("LD_PRELOAD", ""):
        return preload()

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
