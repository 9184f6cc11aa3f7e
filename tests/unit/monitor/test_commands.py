"""python -m asyncio_c ps and top: what they print, and the one sentence where they cannot."""

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import threading

import pytest

from asyncio_c.monitor import client, commands, places, ps, top

from . import programs

BLOCKED = """
async def main():
    asyncio.current_task().set_name("the task")
    wait()

asyncio.run(main())
"""


def run(capsys, *arguments):
    """Run a command in this process; return (status, output, errors)."""
    status = commands.run(arguments[0], [str(argument) for argument in arguments[1:]])
    return (status, *capsys.readouterr())


# ---- What cannot be done ----


@contextlib.contextmanager
def answering(line):
    """Have this process's socket answer anything with this line."""
    with places.open_own_folder() as folder, folder.listen(os.getpid()) as listener:

        def answer():
            with listener.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(line)

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize("command", ["ps", "top"])
@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"version": 7, "loops": []}\n', "speaks version 7 of the monitor's protocol, and this asyncio_c version 1"),
        (b'{"version": 1, "error": "version 9 is another"}\n', "does not answer: version 9 is another"),
        (b'{"version": 1, "pid": 5, "loops": []}\n', "process 5 has no loop"),
        (b'{"version": 1, "pid": 5, "loops": [{"closed": true}]}\n', "process 5 has closed its loops"),
        (b"garbage\n", "broke off"),
        (b"", "broke off"),
    ],
)  # fmt: skip
def test_answers_that_show_nothing(capsys, command, line, why):
    with answering(line):
        status, out, err = run(capsys, command, os.getpid())
    assert (status, out) == (1, "")
    assert err.startswith(f"asyncio_c {command}: ") and why in err and err.count("\n") == 1


@pytest.mark.parametrize("command", ["ps", "top"])
def test_unknown_pid(command):
    result = programs.run_command(command, 2**22 + 1)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"asyncio_c {command}: there is no process {2**22 + 1}\n"


@pytest.mark.parametrize("command", ["ps", "top"])
def test_process_without_a_monitor(capsys, command):
    status, out, err = run(capsys, command, os.getpid())
    assert (status, out) == (1, "")
    assert err == (
        f"asyncio_c {command}: process {os.getpid()} has no monitor: start it with ASYNCIO_C_MONITOR=1, or have it call "
        "asyncio_c.monitor.serve()\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("command", ["ps", "top"])
def test_process_of_another_user(served, command):
    code = f"""
import os, sys
from asyncio_c.monitor import commands, client, {command}
os.setuid(12345)
sys.exit(commands.run({command!r}, [{str(os.getpid())!r}]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=programs.environment()
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"asyncio_c {command}: process {os.getpid()} is another user's, and only that user and root may look at it\n"
    )


@pytest.mark.parametrize("command", ["ps", "top"])
def test_process_whose_loops_are_closed(tmp_path, capsys, command):
    with programs.running(tmp_path / "program.py", "loop = asyncio.new_event_loop()\nloop.close()\nwait()") as process:  # fmt: skip
        status, out, err = run(capsys, command, process.pid)
    assert (status, out) == (1, "")
    assert err == f"asyncio_c {command}: process {process.pid} has closed its loops\n"


@pytest.mark.parametrize("command", ["ps", "top"])
def test_stopped_process(capsys, command, served, monkeypatch):
    """Nobody takes what is asked."""
    monkeypatch.setattr(client, "PATIENCE", 0.1)
    served.close()
    with places.open_own_folder() as folder, folder.listen(os.getpid()):
        status, out, err = run(capsys, command, os.getpid())
    assert (status, out) == (1, "")
    assert err == f"asyncio_c {command}: process {os.getpid()} does not answer: it is stopped, or too busy\n"


@pytest.mark.parametrize("command", ["ps", "top"])
def test_wrong_arguments(command):
    for arguments in (["x"], ["-5"], ["1", "2"], ["--what"]):
        result = programs.run_command(command, *arguments)
        assert result.returncode == 2 and result.stderr.startswith("usage: python -m asyncio_c " + command)


# ---- ps ----


def test_a_script_of_that_name_is_the_program(tmp_path):
    (tmp_path / "ps").write_text("import sys; print('the script', sys.argv)")
    for arguments in (["ps", "7"], ["--", "ps", "7"]):
        result = subprocess.run(
            [sys.executable, "-m", "asyncio_c", *arguments],
            cwd=tmp_path,
            env=programs.environment(),
            capture_output=True,
            text=True,
        )
        assert (result.stdout, result.stderr) == ("the script ['ps', '7']\n", "")


def test_script_that_is_missing_is_told_where_options_or_dashes_say_that_it_is_one(tmp_path):
    for arguments in (["--", "ps"], ["--loop-only", "ps"]):
        result = programs.run_command(*arguments)
        assert result.returncode == 2 and "can't open file" in result.stderr


def test_processes_that_can_be_looked_at(tmp_path, capsys):
    with pytest.raises(AssertionError), programs.running(tmp_path / "dead.py", BLOCKED) as dead:
        dead.kill()
        dead.wait()
    with programs.running(tmp_path / "program.py", BLOCKED) as process:
        status, out, err = run(capsys, "ps")
        assert (status, err) == (0, "")
        (line,) = out.splitlines()
        assert line.startswith(f"{process.pid}  ") and "program.py" in line
        assert [answer["pid"] for answer in json.loads(run(capsys, "ps", "--json")[1])] == [process.pid]
        assert run(capsys, "top") == (0, out, "")
    status, out, err = run(capsys, "ps")
    assert (status, out) == (1, "") and "there is no process to look at" in err


def test_tasks_of_a_process_that_blocks(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with programs.running(tmp_path / "program.py", BLOCKED) as process:
        answer = json.loads(run(capsys, "ps", process.pid, "--json")[1])
        status, out, err = run(capsys, "ps", process.pid)
    assert (status, err) == (0, "")
    assert out.splitlines()[1:3] == ["", "loop 1, Loop, runs in MainThread, 1 task"]
    shown = out.splitlines()[4].split()
    age = shown.pop(3)
    assert (
        shown == ["the", "task", "running", f"program.py:{programs.BLOCKED_LINE}", "wait", "-"]
        and age[0].isdigit()
    )
    (task,) = answer["loops"][0]["tasks"]
    assert [entry["function"] for entry in task["stack"]] == ["main", "wait"]


def test_limit(capsys, ours, served):
    async def sleep():
        await ours.sleep(0)

    # Those of a closed loop, which are not shown, take no place.
    with contextlib.closing(ours.new_event_loop()) as closed:
        left = closed.create_task(sleep())
        left._log_destroy_pending = False
    with contextlib.closing(ours.new_event_loop()) as loop:
        for _ in range(5):
            loop.create_task(sleep())
        status, out, err = run(capsys, "ps", os.getpid(), "--limit", 2)
        loop.run_until_complete(ours.sleep(0))
    left.get_coro().close()
    assert "5 tasks" in out and "… and 3 tasks more; --limit shows more" in out
    assert out.count("ready") == 2


def task(number, name, *awaits, **more):
    at = {"file": "/work/program.py", "line": number, "function": f"function_{number}"}
    return {"id": number, "name": name, "state": "waiting", "age": None, "at": at, "waits_for": "sleep", "awaits": awaits} | more  # fmt: skip


def answer_of(*tasks):
    loop = {"number": 1, "class": "Loop", "thread": "MainThread", "closed": False, "task_count": len(tasks), "tasks": tasks}  # fmt: skip
    about = {"pid": 7, "command": "python program.py", "python": "3.11.1", "asyncio_c": "0.1.0"}
    return {**about, "loops": [loop]}


FAMILY = answer_of(
    task(1, "main", 2, 4),
    task(2, "child", 3),
    task(3, "grandchild", age=0.25),
    task(4, "other child", 3, age=75.2),
    task(5, "alone", age=3600 * 30.5, at=None, state="ready", waits_for=None),
    task(6, "a name of two lines\x1b[2J\n", age=12.34),
)


def test_wide_table():
    assert list(ps.report(FAMILY, None, "/work")) == [
        "7  python program.py  (Python 3.11.1, asyncio_c 0.1.0)",
        "",
        "loop 1, Loop, runs in MainThread, 6 tasks",
        "TASK                            STATE    AGE     AT                       WAITS FOR",
        "main                            waiting  -       program.py:1 function_1  sleep",
        "├─ child                        waiting  -       program.py:2 function_2  sleep",
        "│  └─ grandchild                waiting  250ms   program.py:3 function_3  sleep",
        "└─ other child                  waiting  1m15s   program.py:4 function_4  sleep",
        "   └─ grandchild (shown above)",
        "alone                           ready    30h30m  -                        -",
        "a name of two lines�[2J�        waiting  12.3s   program.py:6 function_6  sleep",
    ]


def test_narrow_table():
    assert list(ps.report(FAMILY, 40, "/work"))[3:9] == [
        "main  waiting",
        "  program.py:1 function_1, for sleep",
        "├─ child  waiting",
        "     program.py:2 function_2, for sleep",
        "│  └─ grandchild  waiting 250ms",
        "        program.py:3 function_3, for sl…",
    ]


@pytest.mark.parametrize("width", [10, 39, 40, 80, 99, 100, 120, 200])
def test_lines_fit(width):
    long = answer_of(*(task(n, "name" * 30, n + 1, waits_for="what" * 30) for n in range(1, 20)))
    assert max(len(line) for line in ps.report(long, width, "/")) <= width
    assert any("…" in line for line in ps.report(long, width, "/"))


def test_very_deep_trees_and_circles():
    tasks = [task(n, str(n), n + 1) for n in range(5000)] + [task(5000, "last", 0)]
    shown = list(ps.tree(tasks))
    assert [entry["id"] for _, entry, _ in shown] == [*range(5001), 0] and shown[-1][2]


# ---- top ----


def test_top_once(tmp_path, capsys, monkeypatch):
    """Whatever the time: it is in the same place in each sample."""
    monkeypatch.chdir(tmp_path)
    with programs.running(tmp_path / "program.py", BLOCKED) as process:
        status, out, err = run(capsys, "top", process.pid, "--once", "--interval", "0.1")
    assert (status, err) == (0, "")
    assert out.splitlines()[2] == "loop 1, Loop, runs in MainThread, 1 task"
    assert out.splitlines()[4:] == [
        "COROUTINE  TASKS  READY  BUSY  AT",
        f"main           1      -  100%  program.py:{programs.BLOCKED_LINE} wait",
    ]


def test_top_counts_tasks_by_coroutine(tmp_path, capsys):
    code = """
async def worker():
    await asyncio.Event().wait()

async def main():
    tasks = [asyncio.create_task(worker()) for _ in range(3)]
    await wait_without_blocking()

asyncio.run(main())
"""
    with programs.running(tmp_path / "program.py", code) as process:
        _, out, _ = run(capsys, "top", process.pid, "--once", "--interval", "0.1")
    assert {tuple(line.split()) for line in out.splitlines()[5:]} == {
        ("worker", "3", "-", "-", "-"),
        ("main", "1", "-", "-", "-"),
    }


def test_top_of_a_loop_that_measures(tmp_path, capsys):
    code = """
async def main():
    asyncio.get_running_loop().measure()
    await asyncio.sleep(0.001)
    await wait_without_blocking()

asyncio.run(main())
"""
    with programs.running(tmp_path / "program.py", code) as process:
        answer = client.ask(process.pid, "counters")
        (stats,) = (loop["stats"] for loop in answer["loops"])
    assert sum(count for _, _, count in stats["lag"]) == 1
    line = top.counters_line(stats, None, 1.0)
    assert "  lag p99 " in line and "  callback p99 " in line


def test_counters_are_per_second():
    before = {"turns": 10, "steps": 5, "callbacks": 0, "polls": 10, "bytes_in": 0, "bytes_out": 0, "seconds_waiting": 1.0, "seconds_working": 1.0, "timers": 1, "descriptors": 2}  # fmt: skip
    now = {"turns": 30, "steps": 20_005, "callbacks": 50, "polls": 10, "bytes_in": 6_000_000, "bytes_out": 3, "seconds_waiting": 1.5, "seconds_working": 2.5, "timers": 4, "descriptors": 5}  # fmt: skip
    assert top.counters_line(now, before, 2.0) == (
        "busy 75%  turns 10/s  steps 10.0k/s  callbacks 25/s  polls 0/s  in 3.0MB/s  out 2B/s  timers 4  descriptors 5"
    )
    assert "not a loop of asyncio_c" in top.counters_line(None, None, 1.0)


def test_percentiles_of_what_came_between_two_histograms():
    earlier = [[0.0, 0.1, 100], [0.1, 0.2, 5]]
    later = [[0.0, 0.1, 100], [0.1, 0.2, 95], [0.2, 0.3, 9], [0.3, 0.4, 1]]
    found = [top.percentile(later, earlier, part) for part in (0.5, 0.9, 0.99, 1.0)]
    assert found == [0.2, 0.2, 0.3, 0.4]
    assert top.percentile(earlier, earlier, 0.5) is None


def test_orders():
    rows = [top.Row("a", 5, 0, 0.1), top.Row("b", 7, 2, 0.0), top.Row("c", 1, 3, 0.9)]
    loop = top.Loop("", "", rows)
    found = {key: "".join(row.coroutine for row in loop.sorted(order)) for key, order in top.ORDERS.items()}
    assert found == {"b": "cab", "t": "bac", "r": "cba", "n": "abc"}


def read_until(terminal, text, seen=b""):
    """Return what a terminal shows until there is this text."""
    while text not in seen:
        assert select.select([terminal], [], [], 60)[0], seen
        seen += os.read(terminal, 65536)
    return seen


@pytest.mark.parametrize("rich", [True, False])
def test_top_in_a_terminal(tmp_path, rich):
    """It shows a picture, sorts by another column at a key, and ends at q with the terminal as it was."""
    if rich:
        pytest.importorskip("rich", reason="the extra `top` is not installed")
    else:
        (tmp_path / "rich.py").write_text("raise ImportError")
    with programs.running(tmp_path / "program.py", BLOCKED) as program:
        master, slave = pty.openpty()
        environment = programs.environment(TERM="xterm", COLUMNS="120", LINES="30")
        environment["PYTHONPATH"] += f":{tmp_path}" if rich else ""
        if not rich:
            environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
        command = [sys.executable, "-m", "asyncio_c", "top", str(program.pid), "--interval", "0.1"]
        with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
            try:
                seen = read_until(master, b"100%")
                os.write(master, b"t")
                seen = read_until(master, b"100%", b"")
                os.write(master, b"q")
                seen = read_until(master, b"\x1b[?1049l", seen)
                assert process.wait(60) == 0
            finally:
                process.kill()
        os.close(slave)
        os.close(master)
    assert b"main" in seen and b"quits" in seen


def test_top_ends_with_the_process(tmp_path):
    with programs.running(tmp_path / "program.py", BLOCKED) as program:
        command = [sys.executable, "-m", "asyncio_c", "top", str(program.pid), "--interval", "0.1"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=programs.environment(),
            text=True,
        )
        with process:
            while "100%" not in process.stdout.readline():
                pass
            program.stdin.close()
            out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.startswith("asyncio_c top: process") and err.count("\n") == 1


def test_reader_of_a_pipe_that_has_seen_enough(tmp_path):
    with programs.running(tmp_path / "program.py", BLOCKED) as program:
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "asyncio_c", "ps", str(program.pid)]
        result = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, env=programs.environment(), text=True
        )
        os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")
