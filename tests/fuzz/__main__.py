"""Call every method of every type with anything: python -m tests.fuzz [--seconds S | --count N] [--seed FIRST] [--jobs J]

Each seed is a program of its own in a child process, which may raise whatever it likes but must not die, hang or raise
SystemError, which is how the interpreter says that a C function has broken its rules. `--seed N --count 1` repeats one.
"""

import argparse
import faulthandler
import gc
import os
import resource
import signal
import sys
import tempfile
import time
import traceback

from tests.unit import support

from . import programs

GUARD_SECONDS = 30
# More than there is at the start, but less than the larger ones of the numbers: filling gigabytes takes as long as a hang.
MEMORY_BYTES = 1 << 30


def child(seed, steps, verbose, folder):
    faulthandler.dump_traceback_later(GUARD_SECONDS - 5, exit=False)
    os.chdir(folder)
    if "asan" not in os.environ.get("LD_PRELOAD", ""):
        # Without a GIL an allocator has set a gigabyte of addresses aside.
        with open("/proc/self/statm") as file:
            limit = int(file.read().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    programs.run(seed, steps, verbose)
    support.check_gil()
    return 0


def fork(seed, steps, verbose):
    """Start a child. Returns its pid, and the file for what it says."""
    file = tempfile.TemporaryFile()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid, file
    status = 1
    try:
        faulthandler.enable(file.fileno())
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        with tempfile.TemporaryDirectory() as folder:
            status = child(seed, steps, verbose, folder)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def collect(running, pid, status):
    """Report a child that has ended. Returns whether it failed."""
    seed, file, _ = running.pop(pid)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        file.seek(0)
        said = file.read()[-6000:].decode(errors="replace")
        print(f"seed {seed}: {'hangs' if code == -signal.SIGKILL else f'status {code}'}\n{said}", flush=True)
    file.close()
    return code != 0


def main():
    parser = argparse.ArgumentParser(description="Call every method of every type with anything.")
    parser.add_argument("--seconds", type=float, help="how long; by default, until --count programs have run")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument(
        "--seed", type=int, default=None, help="of the first program; by default another each time"
    )
    parser.add_argument("--steps", type=int, default=300, help="of each program")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="print each step")
    options = parser.parse_args()
    seed = int(time.time() * 1000) % 10**9 if options.seed is None else options.seed
    print(f"Python {sys.version.split()[0]}, from seed {seed} on", flush=True)
    gc.collect()
    gc.freeze()
    end = time.monotonic() + options.seconds if options.seconds else None
    running, count, failed = {}, 0, 0
    while running or (time.monotonic() < end if end else count < options.count):
        while len(running) < options.jobs and (time.monotonic() < end if end else count < options.count):
            pid, file = fork(seed + count, options.steps, options.verbose)
            running[pid] = seed + count, file, time.monotonic()
            count += 1
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            failed += collect(running, pid, status)
            continue
        for pid, (_, _, since) in running.items():
            if time.monotonic() - since > GUARD_SECONDS:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    print(f"{count} programs, {failed} fail", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
