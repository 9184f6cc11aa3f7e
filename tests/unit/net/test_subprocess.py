"""Subprocesses: pipes, signals, ends in every order, and loops in threads."""

import asyncio
import errno
import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from .. import marks, support
from . import peers
from .peers import in_thread, turns

PIPE = asyncio.subprocess.PIPE
DEVNULL = asyncio.subprocess.DEVNULL


class Recorder(asyncio.SubprocessProtocol):
    """Record what a subprocess protocol is told."""

    def __init__(self):
        self.events = []
        self.received = {1: bytearray(), 2: bytearray()}
        self.lost = asyncio.get_running_loop().create_future()
        self.exited = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def pipe_data_received(self, fd, data):
        assert type(data) is bytes
        self.received[fd] += data

    def pipe_connection_lost(self, fd, exc):
        self.events.append(f"pipe {fd} lost")

    def process_exited(self):
        self.events.append("exited")
        self.exited.set_result(None)

    def connection_lost(self, exc):
        self.events.append("lost")
        self.lost.set_result(exc)


def block_until_exit(pid):
    """Wait in the loop's own thread until a process has exited, so that the loop learns of it only afterwards."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], peers.GUARD_SECONDS)[0], "the process did not exit"
    finally:
        os.close(fd)


def shell(script, **keywords):
    return asyncio.create_subprocess_shell(script, **keywords)


def program(*arguments, **keywords):
    return asyncio.create_subprocess_exec(*arguments, **keywords)


# ---- The usual ways ----


async def test_communicate():
    process = await program("cat", stdin=PIPE, stdout=PIPE)
    assert await process.communicate(b"through the cat") == (b"through the cat", None)
    assert process.returncode == 0
    assert await process.wait() == 0


async def test_much_data():
    data = peers.payload(3 << 20)
    process = await program("cat", stdin=PIPE, stdout=PIPE)
    out, _ = await process.communicate(data)
    assert peers.digest(out) == peers.digest(data)


async def test_shell():
    process = await shell("echo out; echo err >&2; exit 3", stdout=PIPE, stderr=PIPE)
    assert await process.communicate() == (b"out\n", b"err\n")
    assert process.returncode == 3


async def test_streams():
    process = await program("cat", stdin=PIPE, stdout=PIPE)
    for i in range(20):
        process.stdin.write(b"line %d\n" % i)
        await process.stdin.drain()
        assert await process.stdout.readline() == b"line %d\n" % i
    process.stdin.close()
    assert await process.stdout.read() == b""
    assert await process.wait() == 0


async def test_stderr_into_stdout():
    process = await shell("echo one; echo two >&2", stdout=PIPE, stderr=asyncio.subprocess.STDOUT)
    assert await process.communicate() == (b"one\ntwo\n", None)


async def test_devnull_and_files(tmp_path):
    with open(tmp_path / "out", "wb") as out:
        process = await shell("cat; echo done", stdin=DEVNULL, stdout=out, stderr=DEVNULL)
        assert await process.wait() == 0
    assert (tmp_path / "out").read_bytes() == b"done\n"


async def test_standard_streams_are_pipes():
    """Not sockets: programs open /dev/stdin, and ask what their output is."""
    process = await shell(
        "test -p /dev/stdin && test -p /dev/stdout && test -p /dev/stderr",
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    await process.communicate(b"")
    assert process.returncode == 0


# ---- Signals ----


@pytest.mark.parametrize(
    "send, number",
    (
        (lambda process: process.kill(), signal.SIGKILL),
        (lambda process: process.terminate(), signal.SIGTERM),
        (lambda process: process.send_signal(signal.SIGUSR1), signal.SIGUSR1),
    ),
    ids=("kill", "terminate", "send_signal"),
)
async def test_signals(send, number):
    process = await program("sleep", "1000")
    send(process)
    assert await process.wait() == -number
    assert process.returncode == -number


async def test_signals_after_the_end():
    process = await program("true")
    assert await process.wait() == 0
    await turns()  # since Python 3.15 wait() returns a moment before the transport lets go of the process
    for send in (process.kill, process.terminate):
        with pytest.raises(ProcessLookupError):
            send()
    with pytest.raises(ProcessLookupError):
        process.send_signal(signal.SIGUSR1)


async def test_wait_by_many_and_cancelled():
    process = await program("sleep", "1000")
    waiting = [asyncio.ensure_future(process.wait()) for _ in range(5)]
    await turns(3)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    process.kill()
    assert await asyncio.gather(*waiting[1:]) == [-signal.SIGKILL] * 4


async def test_timeout():
    process = await program("sleep", "1000", stdout=PIPE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.communicate(), 0.01)
    process.kill()
    assert await process.wait() == -signal.SIGKILL


# ---- Ends ----


async def test_exit_before_anything_is_read():
    """The process is gone before the loop looks; its output is there nevertheless."""
    process = await shell("echo early; exit 5", stdout=PIPE)
    block_until_exit(process.pid)
    assert await process.stdout.read() == b"early\n"
    assert await process.wait() == 5


@marks.not_early
async def test_stdin_closed_early(logged):
    """The process does not read what it is sent."""
    process = await shell("exec <&-; echo closed", stdin=PIPE, stdout=PIPE)
    out, _ = await process.communicate(bytes(1 << 20))
    assert out == b"closed\n"
    assert process.returncode == 0
    logged.clear()


async def test_grandchild_keeps_the_pipe_open():
    """The process has exited, and its output has not ended."""
    process = await shell("sleep 1000 & echo $!", stdout=PIPE)
    grandchild = int(await process.stdout.readline())
    try:
        block_until_exit(process.pid)
        reading = asyncio.ensure_future(process.stdout.read())
        await turns(5)
        assert not reading.done()
    finally:
        os.kill(grandchild, signal.SIGKILL)
    assert await reading == b""
    assert await process.wait() == 0


async def test_many_at_once():
    async def one(i):
        process = await shell(f"read x; echo $x {i}; exit {i % 7}", stdin=PIPE, stdout=PIPE)
        out, _ = await process.communicate(b"number\n")
        assert out == b"number %d\n" % i
        assert process.returncode == i % 7

    await asyncio.gather(*[one(i) for i in range(50)])


async def test_many_that_end_at_once():
    processes = await asyncio.gather(*[program("cat", stdin=PIPE) for _ in range(20)])
    for process in processes:
        process.stdin.close()
    assert await asyncio.gather(*[process.wait() for process in processes]) == [0] * 20


# ---- Popen's keywords ----


async def test_cwd_and_env(tmp_path):
    process = await program(
        "sh",
        "-c",
        'pwd; echo "$MINE"',
        stdout=PIPE,
        cwd=tmp_path,
        env={"MINE": "value", "PATH": os.environ["PATH"]},
    )
    out, _ = await process.communicate()
    assert out.decode().splitlines() == [str(tmp_path.resolve()), "value"]


async def test_start_new_session():
    process = await program("sleep", "1000", start_new_session=True)
    assert os.getsid(process.pid) == process.pid
    process.kill()
    await process.wait()


async def test_process_group():
    process = await program("sleep", "1000", process_group=0)
    assert os.getpgid(process.pid) == process.pid
    process.kill()
    await process.wait()


async def test_pass_fds():
    reading, writing = os.pipe()
    process = await shell(f"echo passed >/proc/self/fd/{writing}", pass_fds=(writing,))
    os.close(writing)
    assert await process.wait() == 0
    assert os.read(reading, 100) == b"passed\n"
    os.close(reading)


async def test_descriptors_are_not_inherited():
    """The loop's own, above all."""
    process = await shell("ls /proc/self/fd", stdout=PIPE, stdin=DEVNULL, stderr=DEVNULL)
    out, _ = await process.communicate()
    # The fourth is the folder that ls reads.
    assert out.split() == [b"0", b"1", b"2", b"3"]


async def test_umask_and_restored_signals():
    process = await shell("umask", stdout=PIPE, umask=0o27)
    assert (await process.communicate())[0].strip() == b"0027"


async def test_bytes_and_paths(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho $1\n")
    script.chmod(0o755)
    for name in (str(script), os.fsencode(script), script):
        process = await program(name, b"argument", stdout=PIPE)
        assert (await process.communicate())[0] == b"argument\n"


async def test_wrong_arguments(loop):
    for keywords, text in (
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"shell": True}, "shell must be False"),
        ({"bufsize": 5}, "bufsize must be 0"),
        ({"text": True}, "text must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
    ):
        with pytest.raises(ValueError) as caught:
            await loop.subprocess_exec(Recorder, "true", **keywords)
        assert str(caught.value) == text
    with pytest.raises(ValueError) as caught:
        await loop.subprocess_shell(Recorder, 5)
    assert str(caught.value) == "cmd must be a string"


async def test_absent_program(tmp_path):
    with pytest.raises(FileNotFoundError):
        await program("no such program", stdin=PIPE, stdout=PIPE, stderr=PIPE)
    (tmp_path / "plain").touch()
    with pytest.raises(PermissionError):
        await program(tmp_path / "plain", stdin=PIPE, stdout=PIPE)


# ---- Transports and protocols ----


async def test_protocol(loop):
    transport, protocol = await loop.subprocess_shell(Recorder, "cat; echo err >&2; exit 2")
    assert isinstance(transport, asyncio.SubprocessTransport)
    assert transport.get_protocol() is protocol
    assert transport.get_returncode() is None
    assert transport.get_pid() > 0
    assert isinstance(transport.get_extra_info("subprocess"), subprocess.Popen)
    assert transport.get_extra_info("subprocess").pid == transport.get_pid()
    pipes = [transport.get_pipe_transport(fd) for fd in range(3)]
    assert isinstance(pipes[0], asyncio.WriteTransport)
    assert isinstance(pipes[1], asyncio.ReadTransport) and isinstance(pipes[2], asyncio.ReadTransport)
    assert transport.get_pipe_transport(3) is None
    for pipe in pipes:
        assert pipe.get_extra_info("pipe").fileno() >= 0
    pipes[0].write(b"in")
    pipes[0].write_eof()
    assert await protocol.lost is None
    assert protocol.received == {1: b"in", 2: b"err\n"}
    assert protocol.events[0] == "made" and protocol.events[-1] == "lost"
    assert set(protocol.events[1:-1]) == {"pipe 0 lost", "pipe 1 lost", "pipe 2 lost", "exited"}
    assert transport.get_returncode() == 2
    transport.close()


async def test_connection_lost_comes_after_exit_and_all_pipes(loop):
    transport, protocol = await loop.subprocess_shell(
        Recorder, "sleep 1000 >&- 2>&- & exec 0<&- 2>&-; echo $!; kill -9 $!", stdin=PIPE
    )
    await protocol.lost
    assert protocol.events[-1] == "lost"
    assert len(protocol.events) == 6
    transport.close()


async def test_closing_a_running_process_kills_it(loop):
    transport, protocol = await loop.subprocess_exec(Recorder, "sleep", "1000")
    transport.close()
    transport.close()
    assert transport.is_closing() is True
    assert await protocol.lost is None
    assert transport.get_returncode() == -signal.SIGKILL


async def test_pausing_output(loop):
    transport, protocol = await loop.subprocess_shell(Recorder, "head -c 1000000 /dev/zero", stderr=DEVNULL)
    pipe = transport.get_pipe_transport(1)
    pipe.pause_reading()
    await turns(2)  # what had been read by then is passed on by call_soon
    size = len(protocol.received[1])
    await turns(10)
    assert len(protocol.received[1]) == size
    pipe.resume_reading()
    await protocol.lost
    assert len(protocol.received[1]) == 1_000_000
    transport.close()


async def test_repr(loop):
    transport, protocol = await loop.subprocess_exec(
        Recorder, "sleep", "1000", stdin=None, stdout=None, stderr=None
    )
    assert "running" in repr(transport)
    transport.kill()
    await protocol.lost
    transport.close()
    assert "returncode=-9" in repr(transport)


# ---- How the loop learns of the end ----


async def test_no_thread_and_no_signal_handler(impl):
    """A process costs neither, nor a child watcher, whichever the program has set."""
    if not impl.native_loop and not support.PY312:
        pytest.skip("before Python 3.12 asyncio has a thread that waits for the process")
    handler, threads = signal.getsignal(signal.SIGCHLD), set(threading.enumerate())
    process = await program("cat", stdin=PIPE, stdout=PIPE)
    assert set(threading.enumerate()) <= threads  # an earlier test's may have ended meanwhile
    assert signal.getsignal(signal.SIGCHLD) is handler
    await process.communicate(b"")
    assert await process.wait() == 0


async def test_exit_before_the_process_is_watched(monkeypatch):
    """It has ended by the time that Popen returns."""

    class Popen(subprocess.Popen):
        def __init__(self, *args, **keywords):
            super().__init__(*args, **keywords)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    process = await shell("echo early; exit 3", stdout=PIPE)
    assert await process.communicate() == (b"early\n", None)
    assert process.returncode == 3


@pytest.mark.whole_calls
async def test_what_a_process_wrote_comes_before_its_end(loop):
    """Where the loop learns of both at the same moment."""
    if support.PY314 and os.environ.get("ASYNCIO_C_POLLER") == "poll":
        pytest.skip(
            "poll() tells in the order of descriptors, and asyncio tells of the end at once from 3.14 on"
        )
    told = []

    class Protocol(Recorder):
        def pipe_data_received(self, fd, data):
            told.append(data)

        def process_exited(self):
            told.append("exited")
            super().process_exited()

    transport, protocol = await loop.subprocess_shell(Protocol, "read x; echo $x", stderr=None)
    transport.get_pipe_transport(0).write(b"last words\n")
    block_until_exit(transport.get_pid())
    await protocol.lost
    assert told == [b"last words\n", "exited"]
    transport.close()


async def test_status_read_by_popen(impl, loop):
    """Popen asks for the status too, before it sends a signal: it is not lost for that."""
    if not impl.native_loop:
        pytest.skip("asyncio reports 255 and logs a warning")
    transport, protocol = await loop.subprocess_shell(
        Recorder, "exit 7", stdin=None, stdout=None, stderr=None
    )
    block_until_exit(transport.get_pid())
    assert transport.get_extra_info("subprocess").poll() == 7
    await protocol.lost
    assert transport.get_returncode() == 7
    transport.close()


async def test_status_read_by_a_signal_handler(impl, loop):
    """A handler of SIGCHLD that reaps whatever there is, as some of asyncio's child watchers had: the status is not lost."""
    if not impl.native_loop:
        pytest.skip("asyncio reports 255 and logs a warning, or has such a watcher itself")
    reaped = []

    def reap():
        try:
            reaped.append(os.waitpid(-1, os.WNOHANG)[0])
        except ChildProcessError:
            reaped.append(None)

    loop.add_signal_handler(signal.SIGCHLD, reap)
    process = await shell("exit 6")
    block_until_exit(process.pid)
    assert await process.wait() == 6
    await turns(3)
    loop.remove_signal_handler(signal.SIGCHLD)
    assert reaped  # it was called: which of the two came first does not matter


async def test_ignored_sigchld(impl, logged):
    """The kernel throws the status away; if the process is quick, before anybody could watch it."""
    if not impl.native_loop and support.PY312:
        pytest.skip("asyncio fails with ProcessLookupError if the process is quick")
    handler = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = await program("cat", stdin=PIPE)
        await process.communicate(b"")
        assert await process.wait() == 255
        quick = await shell("kill -9 $$")
        assert await quick.wait() == 255
    finally:
        signal.signal(signal.SIGCHLD, handler)
    assert all("will report returncode 255" in message for message in logged)
    assert len(logged) == 2
    logged.clear()


@pytest.mark.parametrize("number", (errno.ENOSYS, errno.EPERM, errno.EMFILE))
async def test_without_pidfds(impl, loop, monkeypatch, number):
    """An old kernel, a sandbox, no descriptor left: a thread waits instead."""
    if not impl.native_loop:
        pytest.skip("asyncio has chosen before")

    def fail(pid, flags=0):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pidfd_open", fail)
    process = await program("cat", stdin=PIPE, stdout=PIPE)
    assert await process.communicate(b"by a thread") == (b"by a thread", None)
    assert process.returncode == 0
    process = await program("sleep", "1000")
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    del process
    support.collect()


async def test_descriptor_of_a_process_cannot_be_closed(impl, monkeypatch, reports):
    """What fails when a process has ended is reported, and whoever waits for the process still learns its end."""
    if not impl.native_loop:
        pytest.skip("asyncio closes a pidfd, if it has one, before it tells, and then does not tell")
    opened, close, pidfd_open = [], os.close, os.pidfd_open

    def remember(pid, flags=0):
        opened.append(pidfd_open(pid, flags))
        return opened[-1]

    def close_badly(fd):
        close(fd)
        if fd in opened:
            opened.remove(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pidfd_open", remember)
    monkeypatch.setattr(os, "close", close_badly)
    process = await program("true")
    assert await process.wait() == 0
    (report,) = reports
    assert report["exception"].errno == errno.EIO
    reports.clear()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


@pytest.mark.parametrize("after", range(4))
async def test_cancelled_creation(loop, after):
    """The process is killed and its end waited for, however far the creation has come; nothing is left of it."""
    processes = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **keywords):
            super().__init__(*args, **keywords)
            processes.append(self.pid)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Popen)
        creating = asyncio.ensure_future(program("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE))
        await turns(1 + after)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
    (pid,) = processes
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    await turns(5)
    del creating
    support.collect()


def test_loop_closed_while_a_process_lives(impl, loop, same_descriptors):
    if not impl.native_loop or not support.PY312:
        pytest.skip("asyncio leaves its pidfd open; and all loops leave a thread behind on Python 3.11")

    async def start():
        transport, _ = await loop.subprocess_exec(
            Recorder, "sleep", "1000", stdin=None, stdout=None, stderr=None
        )
        return transport

    transport = loop.run_until_complete(start())
    loop.close()
    popen = transport.get_extra_info("subprocess")
    transport.close()
    assert popen.wait(peers.GUARD_SECONDS) == -signal.SIGKILL


# ---- Threads, and other children ----


def test_loop_in_a_thread(impl):
    """No handler of SIGCHLD, which only the main thread could have."""
    results = []

    async def main():
        process = await program("cat", stdin=PIPE, stdout=PIPE)
        results.append(await process.communicate(b"in a thread"))
        process = await program("sleep", "1000")
        process.kill()
        results.append(await process.wait())

    def run():
        with asyncio.Runner(loop_factory=impl.new_event_loop) as runner:
            runner.run(main())

    before = signal.getsignal(signal.SIGCHLD)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(peers.GUARD_SECONDS)
    assert results == [(b"in a thread", None), -signal.SIGKILL]
    assert signal.getsignal(signal.SIGCHLD) is before


async def test_children_of_others_are_left_alone():
    other = subprocess.Popen(["true"])
    process = await program("true")
    assert await process.wait() == 0
    assert await in_thread(other.wait) == 0


@pytest.mark.skipif(
    not support.PY312, reason="before Python 3.12 asyncio has a thread that waits for the process"
)
async def test_process_reaped_by_somebody_else(logged):
    """Its status is lost; the loop learns that it has ended and says so."""
    process = await program("sleep", "1000")
    process.kill()
    os.waitpid(process.pid, 0)
    assert await process.wait() == 255
    support.collect()
    logged.clear()


async def test_interpreter_as_a_child():
    process = await program(sys.executable, "-I", "-S", "-c", "print(input()[::-1])", stdin=PIPE, stdout=PIPE)
    assert await process.communicate(b"abc\n") == (b"cba\n", None)


# ---- What asyncio waits for in vain ----


async def test_wait_does_not_wait_for_a_grandchild(impl):
    """A process that ends leaves its pipe to another one (CPython issue 119710)."""
    if not impl.native_loop and not support.PY314:
        pytest.skip("up to Python 3.13 asyncio waits until all have closed the pipe")
    process = await program("sh", "-c", "sleep 1000 & echo $!; read -r line", stdin=PIPE, stdout=PIPE)
    grandchild = int(await process.stdout.readline())
    waiting = asyncio.create_task(process.wait())
    await turns(1)
    process.stdin.write(b"end\n")
    assert await waiting == 0
    assert not process.stdout.at_eof()
    os.kill(grandchild, signal.SIGKILL)
    assert await process.stdout.read() == b""


@pytest.mark.parametrize("count", range(6))
async def test_all_tasks_cancelled_while_a_process_starts(impl, count):
    """As asyncio.run() does at its end: also the task that connects the pipes (CPython issue 125502)."""
    if not impl.native_loop:
        pytest.skip("asyncio waits for ever for pipes that nobody connects, or leaves them open")
    before = asyncio.all_tasks()
    starting = asyncio.create_task(program("cat", stdin=PIPE, stdout=PIPE))
    await turns(count)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await asyncio.wait([starting])
    if not starting.cancelled():
        starting.result()._transport.close()
    await turns(3)


@pytest.mark.parametrize("count", range(1, 6))
async def test_start_cancelled_of_a_process_with_a_child(impl, count):
    """The pipes are closed, or the grandchild would wait for its input, and be waited for, for ever."""
    if not impl.native_loop:
        pytest.skip("asyncio leaves pipes open that it connects after the end")
    read_end, write_end = os.pipe()
    starting = asyncio.create_task(
        program("sh", "-c", "cat; true", stdin=PIPE, stdout=PIPE, pass_fds=[write_end])
    )
    await turns(count)
    starting.cancel()
    await asyncio.wait([starting])
    if not starting.cancelled():
        starting.result()._transport.close()
    os.close(write_end)
    with open(read_end, "rb", 0) as proof:
        assert await in_thread(proof.read) == b""  # all have ended
