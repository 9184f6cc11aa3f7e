"""A few operations suffer with the other tests; `make faults` has them all, with each call of theirs failing."""

import os
import subprocess
import sys

import pytest

OPERATIONS = (
    *("readers", "create_server", "accept", "large_write", "close_with_data"),
    *("pause_and_resume", "datagrams", "subprocess"),
)


@pytest.mark.parametrize("poller", ["epoll", "poll"])
def test_survive(poller):
    command = [sys.executable, "-m", "tests.faults", "--limit=1", *OPERATIONS]
    environment = os.environ | {"ASYNCIO_C_POLLER": poller}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for operation in OPERATIONS:
        assert f"ok   {operation}: " in done.stdout
        assert f"ok   {operation}: 0 faults" not in done.stdout


def test_notices_what_is_wrong(tmp_path):
    """The harness itself: operations that forget, spin, leak or notice what nobody may are found guilty."""
    program = tmp_path / "planted.py"
    program.write_text(PLANTED)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300)
    assert "planted_lost:recv:ECONNRESET:0 tests.torture.harness.LostWakeUpError" in done.stdout, done.stderr
    assert "planted_spin:recv:ECONNRESET:0 AssertionError: the loop spins" in done.stdout
    assert "planted_descriptor:recv:ECONNRESET:0 AssertionError: descriptors left open" in done.stdout
    assert "planted_noticed:recv:EAGAIN:0 BlockingIOError" in done.stdout
    assert "ok   planted_nothing: 6 faults" in done.stdout


PLANTED = """
import os
import socket
import sys

sys.path.insert(0, os.getcwd())
from tests.faults import __main__ as main
from tests.faults import operations
from tests.torture.harness import LostWakeUpError

OURS, THEIRS = socket.socketpair()


def receive():
    with operations.as_peer():
        THEIRS.send(b"x")
    try:
        OURS.recv(1)
    except OSError as error:
        with operations.as_peer():
            OURS.recv(1)
        return error


@operations.operation("recv:EINTR")
def planted_lost(impl, loop):
    error = []
    yield lambda: error.append(receive())
    if error[0] is not None and not isinstance(error[0], BlockingIOError):
        raise LostWakeUpError


@operations.operation()
def planted_spin(impl, loop):
    if (yield lambda: operations.nothing() if receive() is None else 1 / 0) is not None:
        with operations.as_peer():
            THEIRS.send(b"x")
        loop.add_reader(OURS, operations.nothing)
        operations.check_idle(loop)


@operations.operation()
def planted_descriptor(impl, loop):
    yield lambda: receive() is None or os.dup(OURS.fileno())


@operations.operation()
def planted_noticed(impl, loop):
    def armed():
        if error := receive():
            raise error

    yield armed


@operations.operation()
def planted_nothing(impl, loop):
    yield receive


sys.argv[1:] = [name for name in operations.OPERATIONS if name.startswith("planted")]
sys.exit(main.main())
"""
