"""serve() and ASYNCIO_C_MONITOR=1: who may look, who may not, and what nobody can do to the program."""

import asyncio
import contextlib
import errno
import json
import os
import select
import socket
import subprocess
import sys
import threading
from unittest import mock

import pytest

import asyncio_c
from asyncio_c import monitor
from asyncio_c.monitor import client, places, prompt, protocol, server

from .. import support
from . import programs

IDLE = "asyncio.run(wait_without_blocking())\n"
OWN = f"asyncio_c-{os.getpid()}.sock"


def ask(kind="process"):
    return client.ask(os.getpid(), kind)


@pytest.fixture
def connection(served):
    """A connection to the monitor of this process."""
    with places.open_own_folder() as folder, folder.connect(os.getpid(), 60) as connection:
        yield connection


def answer_on(connection):
    """Return all that comes until the other end closes the connection, as JSON; None if that is nothing."""
    line = b"".join(iter(lambda: connection.recv(65536), b""))
    return json.loads(line) if line else None


# ---- Serving ----


def test_several_calls_are_one_until_all_are_closed(sockets):
    before = set(threading.enumerate())
    with monitor.serve() as first:
        second = monitor.serve()
        (thread,) = set(threading.enumerate()) - before
        assert sockets() == [OWN]
        first.close()
        first.close()
        assert ask()["pid"] == os.getpid()
        second.close()
    assert sockets() == [] and not thread.is_alive()
    with monitor.serve():
        assert ask()["pid"] == os.getpid()


def test_another_interpreter_of_the_process_is_refused_and_takes_nothing_away(served, sockets):
    before = sockets()
    with pytest.raises(FileExistsError, match="another interpreter of process"):
        server._Server()  # of one's own, as in an interpreter that has a module of its own
    assert sockets() == before == [f"asyncio_c-{os.getpid()}.sock"]


def test_descriptors_are_closed(served):
    served.close()
    before = os.listdir("/proc/self/fd")
    with monitor.serve():
        ask()
    assert os.listdir("/proc/self/fd") == before


def test_folder_and_socket_are_the_users_alone(served, runtime_folder):
    folder = runtime_folder / "asyncio_c"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / OWN).stat().st_mode & 0o777 == 0o600


def test_without_a_runtime_folder_it_is_one_of_the_users_own_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with monitor.serve():
        assert [path.name for path in tmp_path.glob("asyncio_c-*/*")] == [OWN]
        assert ask()["pid"] == os.getpid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_runtime_folder_of_another_user_is_not_used(tmp_path, runtime_folder, monkeypatch):
    os.chown(runtime_folder, 12345, -1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with monitor.serve():
        assert os.listdir(runtime_folder) == [] and ask()["pid"] == os.getpid()


def link(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")


def file(folder, tmp_path):
    folder.write_text("")


def open_to_others(folder, tmp_path):
    folder.mkdir()
    folder.chmod(0o750)


def of_another_user(folder, tmp_path):
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (link, "is a link or no folder"),
        (file, "is a link or no folder"),
        (open_to_others, "is open to other users"),
        pytest.param(
            of_another_user,
            "is of another user",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away"),
        ),
    ],
)
def test_folder_that_is_not_to_be_trusted_is_refused(make, why, runtime_folder, tmp_path):
    make(runtime_folder / "asyncio_c", tmp_path)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PermissionError, match=why):
        monitor.serve()
    assert os.listdir("/proc/self/fd") == before


def test_what_the_variable_cannot_have_is_a_warning(runtime_folder, tmp_path):
    link(runtime_folder / "asyncio_c", tmp_path)
    with programs.running(tmp_path / "program.py", IDLE) as process:
        pass
    assert process.returncode == 0
    result = programs.run_command(
        "-c", "import asyncio; asyncio.run(asyncio.sleep(0))", ASYNCIO_C_MONITOR="1"
    )
    assert result.returncode == 0
    assert "RuntimeWarning: ASYNCIO_C_MONITOR: " in result.stderr and "is a link" in result.stderr


@pytest.mark.parametrize(
    ("value", "serves"), [("1", True), ("yes", True), ("0", False), ("off", False), ("", False)]
)
def test_values_of_the_variable(value, serves):
    code = """\
import asyncio, os
from asyncio_c.monitor import client
async def main():
    print(client.ask(os.getpid(), "process")["pid"] == os.getpid())
asyncio.run(main())
"""
    result = programs.run_command("-c", code, ASYNCIO_C_MONITOR=value)
    assert (result.stdout == "True\n") == serves
    assert ("has no monitor" in result.stderr) != serves


def test_a_value_that_means_nothing_is_told():
    result = programs.run_command(
        "-c", "import asyncio; asyncio.run(asyncio.sleep(0))", ASYNCIO_C_MONITOR="port 80"
    )
    assert "RuntimeWarning: ASYNCIO_C_MONITOR=port 80 is none of 1 and 0" in result.stderr


def test_the_server_is_not_imported_while_nobody_asks():
    code = "import asyncio, sys; asyncio.run(asyncio.sleep(0)); print([m for m in sys.modules if m.startswith('asyncio_c.monitor.')])"
    assert programs.run_command("-c", code).stdout == "['asyncio_c.monitor.commands']\n"


# ---- The life of a process ----


def test_exit_removes_the_socket(tmp_path, sockets):
    with programs.running(tmp_path / "program.py", IDLE) as process:
        assert sockets() == [f"asyncio_c-{process.pid}.sock"]
    assert sockets() == []


def test_a_dead_process_leaves_a_socket_which_the_next_one_removes(tmp_path, sockets, monkeypatch):
    with pytest.raises(AssertionError), programs.running(tmp_path / "program.py", IDLE) as process:
        process.kill()
        process.wait()
    assert sockets() == [f"asyncio_c-{process.pid}.sock"]
    with monitor.serve():
        assert sockets() == [OWN]


FORK = """
from asyncio_c.monitor import client

def child():
    try:
        client.ask(os.getpid(), "process")
    except client.MonitorError as error:
        assert "has no monitor" in str(error), error
    asyncio.run(of_the_child())

async def of_the_child():
    assert client.ask(os.getpid(), "process")["pid"] == os.getpid()
    assert client.ask(os.getppid(), "process")["pid"] == os.getppid()

async def main():
    pid = os.fork()
    if pid == 0:
        try:
            asyncio._set_running_loop(None)
            child()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        raise SystemExit(0)
    assert os.waitpid(pid, 0)[1] == 0
    await wait_without_blocking()

try:
    asyncio.run(main())
except SystemExit:
    pass
"""


@pytest.mark.filterwarnings("ignore:This process")
def test_fork(tmp_path, sockets):
    """A child has no monitor, and one of its own from its first loop on; its end removes its own socket alone."""
    with programs.running(tmp_path / "program.py", FORK) as process:
        assert sockets() == [f"asyncio_c-{process.pid}.sock"]
        assert client.ask(process.pid, "process")["pid"] == process.pid


def test_child_of_a_process_that_serves_can_close_what_it_has_of_it(tmp_path, sockets):
    code = """
import asyncio_c.monitor
serving = asyncio_c.monitor.serve()
pid = os.fork()
if pid == 0:
    serving.close()
    raise SystemExit(len(os.listdir("/proc/self/fd")) > 4)
assert os.waitpid(pid, 0)[1] == 0
wait()
"""
    with programs.running(tmp_path / "program.py", code, variables={}) as process:
        assert client.ask(process.pid, "process")["pid"] == process.pid


def test_descriptors_closed_by_the_program(tmp_path):
    """A daemon that closes all of them, and opens files, keeps these; it can serve again."""
    code = """
import asyncio_c.monitor, os
monitor = asyncio_c.monitor
serving = monitor.serve()
os.closerange(3, 100)
files = [os.open("/dev/null", os.O_RDWR) for _ in range(10)]
serving.close()
for fd in files:
    os.fstat(fd)
monitor.serve()
wait()
"""
    with programs.running(tmp_path / "program.py", code, variables={}) as process:
        assert client.ask(process.pid, "process")["pid"] == process.pid


# ---- Two at the same time ----


def test_serving_again_while_another_thread_ends_it(monkeypatch):
    """The one that ends removes its own socket, and not that of the next one."""
    original, again = server._Server.close, []

    def close(self):
        thread = threading.Thread(target=lambda: again.append(monitor.serve()))
        thread.start()
        support.wait_until_blocked_or_ended(thread)
        original(self)
        threads.append(thread)

    threads = []
    with monkeypatch.context() as patch:
        patch.setattr(server._Server, "close", close)
        monitor.serve().close()
    threads[0].join()
    with again[0]:
        assert ask()["pid"] == os.getpid()


def test_closed_again_by_a_signal_in_the_middle_of_that(monkeypatch, sockets):
    original = server._Server.close

    def close(self):
        serving.close()
        original(self)

    monkeypatch.setattr(server._Server, "close", close)
    serving = monitor.serve()
    thread = threading.Thread(target=serving.close, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive() and sockets() == []


def test_a_process_that_begins_to_serve_while_it_is_looked_for(monkeypatch, sockets):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(places.open_own_folder())

        class Socket(socket.socket):
            def connect(self, address):
                try:
                    super().connect(address)
                finally:
                    stack.enter_context(monitor.serve())

        with monkeypatch.context() as patch:
            patch.setattr(places.socket, "socket", Socket)
            assert folder.connect(os.getpid(), 60) is None
        assert sockets() == [OWN] and ask()["pid"] == os.getpid()


def test_without_descriptors_it_waits(connection, monkeypatch):
    """Instead of being told of the same client again and again."""
    ask()  # so that the connection was let in before
    attempts, failed = [], threading.Event()

    def accept(self):
        attempts.append(self)
        failed.set()
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(server._Server, "_accept", accept)
        patch.setattr(server, "PAUSE", 3600)
        with places.open_own_folder() as folder, folder.connect(os.getpid(), 60):
            assert failed.wait(60)
            connection.sendall(protocol.encode({"version": 1, "ask": "process"}))
            assert answer_on(connection)["pid"] == os.getpid()  # it turns
        assert len(attempts) == 1


def test_without_descriptors_it_goes_on_later(served, monkeypatch):
    accept, failed = server._Server._accept, []

    def accept_second(self):
        if not failed:
            failed.append(self)
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    monkeypatch.setattr(server._Server, "_accept", accept_second)
    monkeypatch.setattr(server, "PAUSE", 0.001)
    assert ask()["pid"] == os.getpid() and failed


# ---- The interval at which threads are switched ----


def test_interval_of_the_program_comes_back():
    before = sys.getswitchinterval()
    with prompt.switching(before / 10):
        assert sys.getswitchinterval() == pytest.approx(before / 10)
    assert sys.getswitchinterval() == before
    with prompt.switching(before * 10):
        assert sys.getswitchinterval() == before


def test_interval_that_the_program_sets_meanwhile_stays():
    before = sys.getswitchinterval()
    try:
        with prompt.switching(before / 10):
            sys.setswitchinterval(before * 2)
        assert sys.getswitchinterval() == pytest.approx(before * 2)
    finally:
        sys.setswitchinterval(before)


def test_interval_in_a_forked_child():
    before = sys.getswitchinterval()
    with prompt.switching(before / 10):
        child = os.fork()
        if child == 0:
            os._exit(sys.getswitchinterval() != before)
        assert os.waitpid(child, 0)[1] == 0
        assert sys.getswitchinterval() == pytest.approx(before / 10)


# ---- Clients that mean no good ----


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (b"\x00\xff garbage\n", "no question"),
        (b"[1]\n", "no question"),
        (b"[" * 4000 + b"\n", "no question"),
        (b'{"version": 2, "ask": "tasks"}\n', "version 2 of the monitor's protocol"),
        (b'{"ask": "tasks"}\n', "version None of the monitor's protocol"),
        (b'{"version": 1, "ask": "secrets"}\n', "not asked for 'secrets'"),
        (b'{"version": 1, "ask": ["tasks"]}\n', "unhashable"),
        (b'{"version": 1, "ask": "tasks", "limit": -1}\n', "limit"),
        (b"x" * (protocol.MAX_QUESTION + 1), "at most 4096 bytes"),
    ],
)
def test_what_is_no_question_is_refused(connection, question, why):
    connection.sendall(question)
    answer = answer_on(connection)
    assert why in answer["error"] and answer["version"] == protocol.VERSION
    assert ask()["pid"] == os.getpid()


def test_huge_question_is_not_read(connection):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            connection.sendall(b"x" * 100_000)
    assert ask()["pid"] == os.getpid()


def test_disconnected_in_the_middle_of_a_question(connection):
    connection.sendall(b'{"version"')
    connection.close()
    assert ask()["pid"] == os.getpid()


def test_disconnected_before_the_answer(connection):
    connection.sendall(protocol.encode({"version": 1, "ask": "process"}))
    connection.close()
    assert ask()["pid"] == os.getpid()


@pytest.fixture
def short_patience(monkeypatch):
    monkeypatch.setattr(server, "PATIENCE", 0.5)


def test_one_that_stalls_is_dropped_and_keeps_nobody_waiting(short_patience, connection):
    connection.sendall(b'{"ver')
    assert ask()["pid"] == os.getpid()
    assert answer_on(connection) is None  # it was given up


def test_one_that_takes_no_answer_is_dropped_and_keeps_nobody_waiting(short_patience, connection):
    with mock.patch.object(server.answers, "to", lambda line: [b"x" * 50_000_000]):
        connection.sendall(b"\n")
        assert connection.recv(1) == b"x"
    assert ask()["pid"] == os.getpid()
    is_dropped = select.poll()
    is_dropped.register(connection, 0)
    assert is_dropped.poll(60_000) == [(connection.fileno(), select.POLLHUP)]


def test_many_at_once_are_a_few_at_a_time(short_patience, served):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(places.open_own_folder())
        crowd = []
        for _ in range(server.MAX_CLIENTS + 10):
            crowd.append(stack.enter_context(folder.connect(os.getpid(), 60)))
        assert ask()["pid"] == os.getpid()  # when some of the others have been given up
        assert len(server._server.clients) <= server.MAX_CLIENTS


def test_an_answer_that_fails_is_one_sentence(served, monkeypatch):
    def fail(question):
        raise MemoryError

    monkeypatch.setitem(server.answers._ANSWERS, "process", fail)
    with pytest.raises(client.MonitorError, match="does not answer: MemoryError"):
        ask()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_nothing(served, runtime_folder, tmp_path_factory):
    """Not by the folder, and not by a way around it."""
    code = f"""
import os, socket
os.chdir({str(runtime_folder / "asyncio_c")!r})
os.setuid(12345)
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect({OWN!r})
except PermissionError:
    print("refused")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "refused\n"
    (runtime_folder / "asyncio_c").chmod(0o777)
    (runtime_folder / "asyncio_c" / OWN).chmod(0o777)
    own = tmp_path_factory.getbasetemp().parent
    for folder in [runtime_folder, *runtime_folder.parents]:
        if own in (folder, *folder.parents):
            folder.chmod(0o755)
    code += """
connection.settimeout(60)
try:
    connection.sendall(b'{"version": 1, "ask": "process"}' + b"\\n")
    print(connection.recv(1000))
except ConnectionError:
    print(b"")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "b''\n"


# ---- The program goes on ----


def test_the_loop_runs_on_while_it_is_looked_at(served):
    """From a thread, ask again and again while a loop makes and ends tasks."""
    asked = []

    def look():
        while len(asked) < 20:
            asked.append(ask("tasks"))

    async def main():
        thread = threading.Thread(target=look)
        thread.start()
        while thread.is_alive():
            queue = asyncio.Queue()
            workers = [asyncio.create_task(queue.get()) for _ in range(50)]
            await asyncio.sleep(0)
            for number in range(50):
                queue.put_nowait(number)
            assert await asyncio.gather(*workers) == list(range(50))
        thread.join()

    asyncio_c.run(main())
    assert len(asked) == 20 and any(loop["tasks"] for answer in asked for loop in answer["loops"])
