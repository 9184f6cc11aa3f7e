"""Running other programs: the scenarios of programs/ in each mode, and servers that announce where they listen.

Nothing here polls or sleeps. A server is ready when it says so in a line of its output; whatever hangs is killed by a
timer, which ends the output that the test is reading.
"""

import contextlib
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = pathlib.Path(__file__).parent / "programs"
TIMEOUT_S = 240  # of a process, from its start to its end: on a busy machine Dask takes 40
SESSION_S = 600  # of a server for all of the tests

# How a program is run, and the package of the loop and of asyncio.Task that it must find itself on.
MODES = {
    "asyncio": ((), "asyncio", "asyncio"),
    "loop_only": (("-m", "asyncio_c", "--loop-only"), "asyncio_c", "asyncio"),
    "patched": (("-m", "asyncio_c"), "asyncio_c", "asyncio_c"),
}
# The same for what encrypts, beside the default.
TLS_MODES = {f"loop_only-{engine}": engine for engine in ("asyncio", "object", "openssl")}


def needs(*packages):
    """Return a mark that skips where one of these packages, of the extra "integration", is not installed."""
    missing = [name for name in packages if not _is_installed(name)]
    reason = f"not installed: {', '.join(missing)} (pip install -e '.[integration]')"
    return pytest.mark.skipif(bool(missing), reason=reason)


def _is_installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # what it is in
        return False


def find_server(name, debian_package):
    """Return the path of a server's program; skips where it is not installed."""
    # Debian keeps PostgreSQL's programs out of the PATH.
    folders = [os.environ["PATH"], *map(str, sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin")))]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install {debian_package})")
    return found


def environment(**more):
    """Return an environment without what would change a child's Python or asyncio, but for the poller under test."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "ASYNCIO_C", "PYTEST")) or name == "ASYNCIO_C_POLLER"
    }
    # The commands of the packages are beside this Python.
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), inherited["PATH"]])
    fixed = {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**inherited, **fixed, **more}


def run_program(name, mode, *arguments):
    """Run a program of programs/ in a mode, and assert that it succeeds and says nothing but what it prints.

    Returns its standard output.
    """
    options, loop, task = MODES[mode.partition("-")[0]]
    more = {"ASYNCIO_C_TLS": TLS_MODES[mode]} if mode in TLS_MODES else {}
    command = [sys.executable, "-W", "always::ResourceWarning", *options, PROGRAMS / f"{name}.py", *arguments]
    with Process(command, env=environment(EXPECTED_LOOP=loop, EXPECTED_TASK=task, **more)) as process:
        status, output = process.finish()
        assert (status, process.errors()) == (0, ""), process.report()
    return output


class Process:
    """A child process that is read line by line and cannot outlive its time limit or its with block."""

    def __init__(self, command, *, env=None, merge_errors=False, timeout_s=TIMEOUT_S, **options):
        self.command = [str(part) for part in command]
        self._seen = []
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self._popen = subprocess.Popen(
            self.command,
            env=environment() if env is None else env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge_errors else self._errors,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            **options,
        )
        self._late = False
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._timer.cancel()
        self._kill()
        self._popen.wait()
        self._popen.stdout.close()
        self._errors.close()

    def _expire(self):
        self._late = True
        self._kill()

    def _kill(self):
        # The whole session: what the process started ends with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def wait_for(self, pattern):
        """Read the output up to the first line in which pattern is found, and return the match."""
        for line in self._popen.stdout:
            self._seen.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"ended without a line like {pattern!r}: {self.report()}")

    def finish(self):
        """Read the rest of the output; return the exit status and all of the output."""
        self._seen.extend(self._popen.stdout)
        status = self._popen.wait()
        assert not self._late, f"timed out: {self.report()}"
        return status, "".join(self._seen)

    def stop(self, number):
        """Send a signal, and return the exit status and all of the output."""
        self._popen.send_signal(number)
        return self.finish()

    def errors(self):
        """Return what the process wrote to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def report(self):
        """Return a description for the message of a failure."""
        parts = [" ".join(self.command), f"status {self._popen.poll()}", "".join(self._seen), self.errors()]
        return "\n".join(["the time limit was reached" if self._late else "", *parts])


def start_on_free_port(stack, make_command, ready, **options):
    """Start a server that has to be told its port: make_command(port) returns the command, ready is its last line.

    Returns the port. Between the choice of the port and its use somebody else may take it, hence the attempts.
    """
    for last in (False, False, True):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        process = stack.enter_context(Process(make_command(port), merge_errors=True, **options))
        try:
            process.wait_for(ready)
        except AssertionError:
            if last:
                raise
        else:
            return port
