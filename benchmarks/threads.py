"""A loop in each of several threads: `python -m benchmarks threads`. On a free-threaded Python they run at the same time.

    python -m benchmarks threads [--threads 1,2,4] [--targets asyncio,patched] [--only PATTERN] [--rounds N] [--json PATH]

Each target has a process. In every round each target in turn runs each workload with each number of threads for a short window;
reported are the medians. A workload counts what all threads have done, and the processor time that they took for it:

    sleep0        one task a loop, `await asyncio.sleep(0)` again and again
    create_task   tasks of an empty coroutine, a hundred at a time, awaited
    queue         two tasks a loop that pass an item to and fro by two queues
    echo          a server of a Protocol a loop, 1 KiB on 20 connections each, the load by as many processes in C
    threadsafe    so many threads that call call_soon_threadsafe() of a single loop in a thread of its own

Where the threads and the load share the processors, the processor time of one request is what can be compared, and not the requests.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import json
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from . import measure
from .child import Child, SampleFailed
from .net.programs import Programs
from .targets import Target, load
from .worker import error_text, open_answers

TARGETS = ("asyncio", "loop-only", "patched")
CONNECTIONS, SIZE = 20, 1024
BATCH = 100  # operations between two looks at the clock
WAITING = 20000  # callbacks of other threads that may be queued: no more are called than run

Counts = dict[str, int]  # what one thread has done: {"operations": ..., "cpu_ns": ...}


# ---- In the process of a target ----

# Each does one batch at least: where the machine is busy the window may be over before a thread has come to its first.


async def sleep0(ends: float) -> int:
    count = 0
    while not count or time.monotonic() < ends:
        for _ in range(BATCH):
            await asyncio.sleep(0)
        count += BATCH
    return count


async def nothing() -> None:
    pass


async def create_task(ends: float) -> int:
    count = 0
    while not count or time.monotonic() < ends:
        for task in [asyncio.create_task(nothing()) for _ in range(BATCH)]:
            await task
        count += BATCH
    return count


async def queue(ends: float) -> int:
    there: asyncio.Queue[bool] = asyncio.Queue()
    back: asyncio.Queue[bool] = asyncio.Queue()

    async def answer() -> None:
        while await there.get():
            back.put_nowait(True)

    async with asyncio.TaskGroup() as group:
        group.create_task(answer())
        count = 0
        while not count or time.monotonic() < ends:
            for _ in range(BATCH):
                there.put_nowait(True)
                await back.get()
            count += BATCH
        there.put_nowait(False)
    return count


WORKLOADS: dict[str, Callable[[float], Awaitable[int]]] = {
    "sleep0": sleep0,
    "create_task": create_task,
    "queue": queue,
}
NAMES = (*WORKLOADS, "echo", "threadsafe")


def at_the_same_time(count: int, function: Callable[[int, threading.Barrier], Any]) -> list[Any]:
    """Return what `function(number, barrier)` returns in each of so many threads. Raises what one of them raises."""
    barrier = threading.Barrier(count)

    def call(number: int) -> Any:
        try:
            return function(number, barrier)
        except BaseException:
            barrier.abort()
            raise

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def run_workload(target: Target, name: str, threads: int, window: float) -> list[Counts]:
    """Run a workload in so many loops for `window` seconds; return what each has done."""

    def run(_number: int, barrier: threading.Barrier) -> Counts:
        with asyncio.Runner(loop_factory=target.new_loop) as runner:
            runner.run(WORKLOADS[name](0.0))  # the loop is made, and what is made once
            barrier.wait()
            before = time.thread_time_ns()
            operations = runner.run(WORKLOADS[name](time.monotonic() + window))
            return {"operations": operations, "cpu_ns": time.thread_time_ns() - before}

    return at_the_same_time(threads, run)


def run_threadsafe(target: Target, threads: int, window: float) -> list[Counts]:
    """Have so many threads call into one loop for `window` seconds; return what each has called, all of which ran."""
    ran = 0
    called = [0] * threads
    started = concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    def callback() -> None:
        nonlocal ran
        ran += 1

    async def serve() -> None:
        over = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), over))
        await over.wait()

    def call(number: int, barrier: threading.Barrier) -> Counts:
        barrier.wait()
        before, ends = time.thread_time_ns(), time.monotonic() + window
        while not called[number] or time.monotonic() < ends:
            for _ in range(BATCH):
                loop.call_soon_threadsafe(callback)
            called[number] += BATCH
            while sum(called) - ran > WAITING:
                time.sleep(0.0001)
        return {"operations": called[number], "cpu_ns": time.thread_time_ns() - before}

    def run() -> None:
        with asyncio.Runner(loop_factory=target.new_loop) as runner:
            runner.run(serve())

    server = threading.Thread(target=run)
    server.start()
    loop, over = started.result()
    counts = at_the_same_time(threads, call)
    loop.call_soon_threadsafe(over.set)
    server.join()
    if ran != sum(called):
        raise RuntimeError(f"{sum(called)} callbacks were queued, and {ran} ran")
    return counts


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoServers:
    """A server in each of several threads, with a loop each."""

    def __init__(self, target: Target, threads: int) -> None:
        self.loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = []
        self.threads = []
        for _ in range(threads):
            started = concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]]()
            thread = threading.Thread(target=self.run, args=(target, started))
            thread.start()
            self.threads.append(thread)
            self.loops.append(started.result())

    @staticmethod
    def run(target: Target, started: Any) -> None:
        async def serve() -> None:
            loop, over = asyncio.get_running_loop(), asyncio.Event()
            server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=1024)
            started.set_result((loop, over, server.sockets[0].getsockname()[1]))
            await over.wait()
            server.close()

        with asyncio.Runner(loop_factory=target.new_loop) as runner:
            runner.run(serve())

    def ports(self) -> list[int]:
        return [port for _, _, port in self.loops]

    def cpu_ns(self) -> list[int]:
        async def used() -> int:
            return time.thread_time_ns()

        return [asyncio.run_coroutine_threadsafe(used(), loop).result() for loop, _, _ in self.loops]

    def close(self) -> None:
        for loop, over, _ in self.loops:
            loop.call_soon_threadsafe(over.set)
        for thread in self.threads:
            thread.join()


def work(name: str) -> int:
    """Answer requests on stdin, a line of JSON each, until it ends."""
    answer = open_answers()
    try:
        target = load(name)
    except ImportError as error:
        answer({"error": error_text(error)})
        return 1
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    answer({"version": target.version, "gil": gil})
    servers: EchoServers | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            match request["do"]:
                case "serve":
                    servers = EchoServers(target, request["threads"])
                    answer({"ports": servers.ports()})
                case "usage":
                    answer({"cpu_ns": servers.cpu_ns()})
                case "end":
                    servers.close()
                    answer({})
                case "threadsafe":
                    answer({"threads": run_threadsafe(target, request["threads"], request["window"])})
                case workload:
                    answer({"threads": run_workload(target, workload, request["threads"], request["window"])})
        except Exception as error:
            answer({"error": error_text(error)})
    return 0


# ---- The process that measures ----


class Worker(Child):
    def __init__(self, target: str) -> None:
        super().__init__([sys.executable, "-m", "benchmarks.threads", "--work", target])
        self.about = self.hello()


def sample_echo(worker: Worker, threads: int, window: float, programs: Programs) -> Counts:
    """Load as many servers as threads, all at the same time."""
    ports = worker.ask({"do": "serve", "threads": threads})["ports"]
    with contextlib.ExitStack() as stack:
        stack.callback(worker.ask, {"do": "end"})
        loads = []
        for port in ports:
            command = [programs.loadgen, "echo", port, SIZE, CONNECTIONS]
            loads.append(stack.enter_context(contextlib.closing(Child([str(word) for word in command]))))
        for one in loads:
            one.hello()
        before = worker.ask({"do": "usage"})["cpu_ns"]
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            seen = list(pool.map(lambda one: one.ask(round(window * 1000)), loads))
        after = worker.ask({"do": "usage"})["cpu_ns"]
    return {"operations": sum(one["completed"] for one in seen), "cpu_ns": sum(after) - sum(before)}


def sample(worker: Worker, name: str, threads: int, window: float, programs: Programs) -> dict[str, float]:
    """Return operations a second, of all threads, and nanoseconds of their processor time for one."""
    if name == "echo":
        total = sample_echo(worker, threads, window, programs)
    else:
        each = worker.ask({"do": name, "threads": threads, "window": window})["threads"]
        total = {key: sum(one[key] for one in each) for key in ("operations", "cpu_ns")}
    if not total["operations"]:
        raise SampleFailed("nothing was done within the window")
    return {"rate": total["operations"] / window, "cpu_ns": total["cpu_ns"] / total["operations"]}


def run(
    names: list[str], targets: list[str], threads: list[int], rounds: int, window: float
) -> dict[str, Any]:
    """Measure, and return the result as the JSON file has it. Raises SampleFailed."""
    result: dict[str, Any] = {"suite": "threads", **measure.machine(), "rounds": rounds, "window": window}
    result |= {"threads": threads, "targets": {}, "workloads": []}
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory, contextlib.ExitStack() as stack:
        programs = Programs(Path(directory))
        workers = {name: stack.enter_context(contextlib.closing(Worker(name))) for name in targets}
        result["targets"] = {name: worker.about for name, worker in workers.items()}
        for name in names:
            samples: dict[str, dict[str, list[Any]]] = {t: {str(n): [] for n in threads} for t in targets}
            for _ in range(rounds):
                for target, worker in workers.items():
                    for count in threads:
                        samples[target][str(count)].append(sample(worker, name, count, window, programs))
            medians = {
                target: {
                    count: {key: statistics.median(one[key] for one in some) for key in ("rate", "cpu_ns")}
                    for count, some in by_count.items()
                }
                for target, by_count in samples.items()
            }
            result["workloads"].append({"name": name, "targets": medians, "samples": samples})
    return result


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown: of each workload and target, what N threads do, as multiples of one thread's."""
    about = result["targets"].values()
    gil = "with a GIL" if any(one["gil"] for one in about) else "without a GIL"
    lines = [
        f"Python {result['python']}, {gil}; medians of {result['rounds']} windows of {result['window']} s",
        "",
    ]
    heads = [f"{n} thread{'s' if n > 1 else ''}" for n in result["threads"]]
    lines += [
        "| workload | target | " + " | ".join(f"{head}, a second | CPU ns each" for head in heads) + " |",
        "|---|---|" + "---:|---:|" * len(heads),
    ]
    for workload in result["workloads"]:
        for target, counts in workload["targets"].items():
            first = next(iter(counts.values()))
            cells = []
            for one in counts.values():
                ratio = "" if one is first else f" ({one['rate'] / first['rate']:.2f}x)"
                cells.append(f"{one['rate']:,.0f}{ratio} | {one['cpu_ns']:,.0f}")
            lines.append(f"| {workload['name']} | {target} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv`; return 0, or 1 where a workload failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks threads",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=numbers, default=[1, 2], metavar="N,M", help="default: 1,2")
    parser.add_argument("--targets", default=",".join(TARGETS), metavar="A,B", help=f"of {','.join(TARGETS)}")
    parser.add_argument("--only", default="", metavar="PATTERN", help=f"which of {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="windows of each (default 5)")
    parser.add_argument(
        "--window", type=float, default=0.5, metavar="SECONDS", help="of one window (default 0.5)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the result with all samples")
    parser.add_argument("--work", metavar="TARGET", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.work:
        return work(arguments.work)
    names = [name for name in NAMES if re.search(arguments.only, name)]
    targets = arguments.targets.split(",")
    if not names or not set(targets) <= set(TARGETS) or min(arguments.threads) < 1 or arguments.rounds < 1:
        parser.error("there is no such workload or target, or a number is too small")
    try:
        result = run(names, targets, arguments.threads, arguments.rounds, arguments.window)
    except SampleFailed as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
