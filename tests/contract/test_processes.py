"""fork, and greenlets: what switches away under the loop."""

import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
import threading

import pytest
from unit import support
from unit.test_fork import in_child


def test_child_runs_a_loop_of_its_own(impl):
    """gunicorn's workers and multiprocessing's fork: the child of a process with a running loop uses asyncio."""

    async def work():
        reader, writer = await asyncio.open_connection(sock=left)
        writer.write(b"x")
        await writer.drain()
        data = await asyncio.get_running_loop().sock_recv(right, 1)
        writer.close()
        return data

    async def main():
        return in_child(lambda: impl.run(work()))

    left, right = socket.socketpair()
    right.setblocking(False)
    with left, right:
        assert impl.run(main()) == b"x"


def test_child_of_multiprocessing(impl):
    """multiprocessing's fork context, of a process whose loop has been used."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    async def child():
        await impl.sleep(0)
        sending.send("alive")

    async def before():
        await impl.sleep(0)

    impl.run(before())
    process = context.Process(target=lambda: impl.run(child()))
    process.start()
    process.join()
    assert process.exitcode == 0 and receiving.recv() == "alive"


def test_subprocess_does_not_run_the_hooks_of_fork(impl, loop):
    """uvloop #749: starting a subprocess is no fork, and runs no hook of os.register_at_fork()."""
    code = (
        "import asyncio, os, sys\n"
        "os.register_at_fork(before=lambda: print('before'), after_in_parent=lambda: print('after'))\n"
        f"sys.path.insert(0, {os.path.dirname(os.path.dirname(os.path.dirname(__file__)))!r})\n"
        + ("import asyncio_c\n" if impl.native_loop else "")
        + "async def main():\n"
        "    process = await asyncio.create_subprocess_exec(sys.executable, '-c', 'print(1)')\n"
        "    assert await process.wait() == 0\n"
        + ("asyncio_c.run(main())\n" if impl.native_loop else "asyncio.run(main())\n")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_greenlet_waits_for_a_coroutine(impl, loop):
    """SQLAlchemy's greenlet_spawn(): blocking code in a greenlet hands awaitables to the task that it runs in."""
    greenlet = pytest.importorskip("greenlet", reason="greenlet is optional")
    variables = []

    async def spawn(function):
        child = greenlet.greenlet(function)
        awaitable = child.switch()
        while not child.dead:
            awaitable = child.switch(await awaitable)
        return awaitable

    def blocking(n):
        parent = greenlet.getcurrent().parent
        total = 0
        for value in range(n):
            variables.append(asyncio.current_task())
            total += parent.switch(impl.sleep(0, value))
        return total

    async def main():
        tasks = [impl.create_task(spawn(lambda: blocking(5))) for _ in range(3)]
        results = await impl.gather(*tasks)
        assert set(variables) == set(tasks)
        return results

    assert loop.run_until_complete(main()) == [10, 10, 10]


def test_loop_runs_in_a_greenlet(impl, loop):
    """gevent-like hubs: callbacks switch out of the loop's greenlet, and the loop goes on when it is switched back to."""
    greenlet = pytest.importorskip("greenlet", reason="greenlet is optional")
    main = greenlet.getcurrent()
    order = []

    def run():
        loop.call_soon(order.append, "before")
        loop.call_soon(lambda: main.switch("out"))
        loop.call_soon(order.append, "after")
        loop.call_soon(loop.stop)
        loop.run_forever()
        return "end"

    hub = greenlet.greenlet(run)
    assert hub.switch() == "out"
    assert order == ["before"] and loop.is_running()
    assert hub.switch() == "end"
    assert order == ["before", "after"] and not loop.is_running()


def test_loops_in_many_threads(impl):
    """Each thread's running loop, current task and all tasks are its own (Home Assistant, pytest plugins)."""
    failures = []

    async def main():
        me = asyncio.current_task()
        for _ in range(50):
            await impl.sleep(0)
            if asyncio.current_task() is not me or asyncio.all_tasks() != {me}:
                failures.append(me)

    threads = [threading.Thread(target=lambda: impl.run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# ---- A process that runs when the loop has ended ----

ENDS = {
    "run": "run(main())",
    "kept": "kept = run(main())",
    "loop left open": "loop = new_event_loop()\nkept = loop.run_until_complete(main())",
}
STARTS = {
    "process": "asyncio.create_subprocess_exec(",
    "transport": "asyncio.get_running_loop().subprocess_exec(asyncio.SubprocessProtocol, stderr=None, *",
}


def said_by_what_is_left(impl, start, end):
    """Have a program of `impl` start a process and end before it; return what the process says when it is told to."""
    command = '["sh", "-c", "read -r line; echo $line"], stdin=int(sys.argv[1]), stdout=int(sys.argv[2]))'
    names = {
        "asyncio": "import asyncio\nfrom asyncio import new_event_loop, run\n",
        "loop_only": "import asyncio\nfrom asyncio_c import new_event_loop, run\n",
        "native": "import asyncio, asyncio_c\nasyncio_c.patch()\nfrom asyncio import new_event_loop, run\n",
    }
    code = (
        f"{names[impl.name]}import gc, sys\n"
        f"async def main():\n    return await {STARTS[start]}{'*' if start == 'process' else ''}{command}\n"
        f"{ENDS[end]}\ngc.collect()\n"
    )
    told_by, tells = os.pipe()
    hears, said = os.pipe()
    with open(hears, "rb", 0) as hears, open(told_by), open(tells, "wb", 0) as tells:
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(told_by), str(said)],
            pass_fds=[told_by, said],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=subprocess.DEVNULL,
            check=True,
        )
        os.close(said)
        tells.write(b"alive\n")
        return hears.read()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("end", ENDS)
def test_process_that_is_left_running(ours, stock, start, end):
    """On Python 3.11 it lives on, for a thread has its transport, which kills it when it goes."""
    expected = said_by_what_is_left(stock, start, end)
    assert expected == (b"" if support.PY312 else b"alive\n")
    assert said_by_what_is_left(ours, start, end) == expected


@pytest.mark.skipif(support.PY312, reason="from 3.12 on it is killed, and Popen waits for it")
def test_process_that_outlives_its_loop_is_waited_for(impl, caplog):
    """By a thread, which says that there is nobody to tell."""

    async def main():
        return (await asyncio.create_subprocess_exec("cat", stdin=read_end))._transport._proc.pid

    read_end, write_end = os.pipe()
    pid = impl.run(main())
    os.close(read_end)
    os.close(write_end)
    for thread in threading.enumerate():
        if "waitpid-" in thread.name:
            thread.join()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    (message,) = [text for text in caplog.messages if text.startswith("Loop ")]
    assert message.endswith(f"that handles pid {pid} is closed")
    assert "closed=True" in message
