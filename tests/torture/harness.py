"""What the torture of allocations and the one of system calls share: children that are forked, and what has to hold in them.

The process lives and does not hang; the loop still runs tasks, timers, threads' calls and descriptors; once it is closed no
descriptor is left open. Exceptions of any kind are right.
"""

import asyncio
import contextlib
import gc
import os
import pathlib
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import traceback

from tests.unit import support

GUARD_SECONDS = 60  # on a busy machine a moment takes long
ENDED, FAILED_AS_IT_MAY = 0, 3  # exit statuses of a child: nothing was left to fail; something has failed


class HangsError(BaseException):
    """Raised by the alarm, where it hangs."""


class LostWakeUpError(BaseException):
    """A task waits for what has happened."""


def is_preloaded(source):
    return source.stem in os.environ.get("LD_PRELOAD", "")


def preload(source, **environment):
    """Start this program again, with a library made of the C file `source` before all others. Returns its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder, source.stem + ".so")
        compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
        include = f"-I{sysconfig.get_path('include')}"
        command = [compiler, "-O1", "-Wall", "-shared", "-fPIC", include, "-o", library, source, "-ldl"]
        subprocess.run(command, check=True)
        environment["LD_PRELOAD"] = str(library)
        again = [sys.executable, "-X", "faulthandler", *sys.orig_argv[1:]]
        return subprocess.run(again, env=os.environ | environment).returncode


def open_descriptors():
    """The numbers of the descriptors that are open, without the one that lists them."""
    return {fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")}


def end_run(loop):
    """Do what asyncio's own `finally` does at the end of a run, which needs memory too."""
    asyncio._set_running_loop(None)
    loop._thread_id = None
    loop._stopping = False  # where stop() was followed by a run that did not begin


def check_loop(impl, loop):
    """The loop still does all that a loop does."""
    end_run(loop)
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


def close_and_check(impl, loop, before, may_leak=None):
    """Close the loop; no descriptor that is not among `before` may be left open, but one of the kind `may_leak`."""
    for task in asyncio.all_tasks(loop):
        task.cancel()
    for _ in range(10):
        loop.run_until_complete(impl.sleep(0))
    if loop._default_executor is not None:
        loop._default_executor.shutdown()
    loop.close()
    del loop
    for _ in range(3):
        gc.collect()
    left = [os.readlink(f"/proc/self/fd/{fd}") for fd in open_descriptors() - before]
    tolerated = len(left) == 1 and may_leak is not None and left[0].startswith(may_leak)
    assert not left or tolerated, f"descriptors left open: {left}"


def _raise_hangs(*args):
    raise HangsError


def torture(impl, function, arm, disarm, must_succeed=False, may_wait=False):
    """Run one operation with something that fails, and check that all holds afterwards. Failures are exceptions.

    The operation is a generator function of `(impl, loop)`. What comes before its first `yield` is prepared. Then it either
    runs to its second `yield` between arm() and disarm(), or, if it has yielded a function, that runs between them, and the
    exception that it has raised, or None, is sent back. The rest is what has to hold in any case. With `must_succeed` no
    exception may be raised; with `may_wait` tasks may wait for what fails until disarm().
    """
    before = open_descriptors()
    loop = impl.new_event_loop()
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
    sys.unraisablehook = lambda args: reports.append(args.object)
    signal.signal(signal.SIGALRM, _raise_hangs)
    signal.alarm(GUARD_SECONDS)  # anew: a child may run several
    try:
        _torture(impl, loop, function(impl, loop), arm, disarm, must_succeed, may_wait)
        close_and_check(impl, loop, before, getattr(function, "may_leak", None))
    except BaseException:
        print("reported:", *reports, file=sys.stderr)
        raise


def _torture(impl, loop, steps, arm, disarm, must_succeed, may_wait):
    armed = next(steps)
    error, more = None, True
    try:
        arm()
        if armed is None:
            more = advance(steps)
        else:
            armed()
        disarm()
    except BaseException as caught:
        disarm()
        waits = may_wait and isinstance(caught, LostWakeUpError)
        if must_succeed or isinstance(caught, (HangsError, LostWakeUpError)) and not waits:
            raise
        # A generator that raises cleans up what it leaves in its own `finally` and `with`.
        error, more = caught, armed is not None
    end_run(loop)
    if more:
        with contextlib.suppress(StopIteration):
            next(steps) if armed is None else steps.send(error)
    steps.close()
    check_loop(impl, loop)
    if error is not None:
        error.__traceback__ = error.__context__ = error.__cause__ = None


def fork(work):
    """Run work() in a child, whose exit status it returns. Returns that status, and the child's output."""
    with tempfile.TemporaryFile() as file:
        pid = os.fork()
        if pid == 0:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            signal.alarm(GUARD_SECONDS)
            status = 1
            try:
                status = work()
                support.check_gil()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        file.seek(0)
        return status, file.read().decode(errors="replace")


def describe(status, output):
    """The last words of a child that failed."""
    lines = output.strip().splitlines()
    if status == 1:
        return " | ".join([line for line in lines if "Error" in line][-1:])
    return " | ".join([f"signal {-status}", *lines[1:6]])
