"""A few operations are tortured with the other tests; `make torture` has them all."""

import subprocess
import sys

OPERATIONS = (
    "call_soon_threadsafe",
    "waiters_of_a_future",
    "removal_keeps_the_waiters",
    "sleep",
    "watched_process",
    "task_group_that_is_cancelled",
    "tls_echo_openssl",
)


def test_survive():
    command = [sys.executable, "-m", "tests.torture", *OPERATIONS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for operation in OPERATIONS:
        assert f"ok   {operation}: " in done.stdout


def test_notices_what_is_lost(tmp_path):
    """The harness itself: an operation that forgets whom to wake is found guilty."""
    program = tmp_path / "planted.py"
    program.write_text(PLANTED)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300)
    assert "planted_lost" in done.stdout, done.stdout + done.stderr
    assert "LostWakeUpError" in done.stdout
    assert "descriptors left open" in done.stdout
    assert done.stdout.count("FAIL") == 2
    assert done.stdout.count("ok  ") == 1


PLANTED = '''
import os
import sys

sys.path.insert(0, os.getcwd())
from tests.torture import __main__ as harness
from tests.torture.harness import LostWakeUpError
from tests.torture.operations import operation


@operation
def planted_lost(impl, loop):
    """A wake-up that is given up when memory lacks."""
    yield
    try:
        [[] for _ in range(3)]
    except MemoryError:
        raise LostWakeUpError from None


@operation
def planted_descriptor(impl, loop):
    yield
    fd = os.dup(0)
    [[] for _ in range(3)]
    os.close(fd)


@operation
def planted_nothing(impl, loop):
    yield
    [[] for _ in range(3)]


sys.argv[1:] = ["planted_lost", "planted_descriptor", "planted_nothing"]
sys.exit(harness.main())
'''
