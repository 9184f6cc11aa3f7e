"""Repeat the unit and contract tests on our loop in search of leaks: python -m tests.leaks [PYTEST-ARGUMENT...]

First the detector is tried on planted leaks. Then each file is run in a process of its own, so that none hides behind the
state that another left. Wants a debug interpreter, which counts references, and a debug build of the core; on others memory
and descriptors are still compared.
"""

import pathlib
import subprocess
import sys
import time

from . import plugin

HERE = pathlib.Path(__file__).parent
TESTS = HERE.parent
# These test the benchmarks, the tools and whole programs in processes of their own, and sub-interpreters, of which CPython keeps
# memory.
ELSEWHERE = {
    "test_benchmarks.py",
    "test_benchmarks_net.py",
    "test_check_guards.py",
    "test_check_layers.py",
    "test_main.py",
    "test_autopatch.py",
    "test_commands.py",
    "test_serving.py",
    "test_timeline.py",
    "test_interpreters.py",
}
GUARD_SECONDS = 900


def run(*arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)]
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GUARD_SECONDS, env=plugin.environment()
        )
        status, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as expired:
        status, output = 1, f"{(expired.stdout or b'').decode()}\nno end after {GUARD_SECONDS} s\n"
    lines = output.strip().splitlines()
    print(
        f"{'ok  ' if status == 0 else 'FAIL'} {arguments[0]}  {time.monotonic() - start:.0f} s  {lines[-1] if lines else ''}"
    )
    if status != 0:
        print(output)
    sys.stdout.flush()
    return status == 0


def main():
    print("references are counted" if plugin.has_refs else "references are not counted: no debug interpreter")
    if not run(HERE / "test_planted.py"):
        return "the detector does not work here"
    if sys.argv[1:]:
        runs = [sys.argv[1:]]
    else:
        files = [
            path for folder in ("unit", "contract") for path in sorted((TESTS / folder).rglob("test_*.py"))
        ]
        runs = [[path.relative_to(TESTS.parent)] for path in files if path.name not in ELSEWHERE]
    # Pytest's capture of the log keeps records.
    options = ["-p", "tests.leaks.plugin", "-p", "no:logging"]
    failed = [arguments[0] for arguments in runs if not run(*arguments, *options)]
    return f"{len(failed)} of {len(runs)} leak or fail" if failed else 0


if __name__ == "__main__":
    sys.exit(main())
