"""Measure operations on targets: one worker process a target, samples of the targets interleaved.

For each operation, each round takes one sample of every target in turn, so that a slow minute of the machine falls on all
of them alike. The first samples of an operation find out how many iterations make a sample of the wanted length.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .registry import Operation
from .targets import TITLES

TIME_LIMIT = 120.0  # seconds for one sample; a target that hangs is ended, and the rest goes on
MEMORY_ROUNDS = 3  # a memory sample is a process of its own, and hardly varies
ROOT = Path(__file__).resolve().parent.parent

# Settings that would change a target without being seen in the result.
UNWANTED_ENVIRONMENT = ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "ASYNCIO_C")


class SampleFailed(Exception):
    """A target raised, returned a wrong result, crashed or hung. The text says which."""


class Worker:
    """A process that runs samples of one target. `about` is what the target says of itself.

    Raises SampleFailed if the target cannot be loaded.
    """

    def __init__(self, target: str) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in UNWANTED_ENVIRONMENT}
        self.target = target
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        try:
            self.about: dict[str, str] = self.read()
        except SampleFailed:
            self.close()
            raise

    def read(self) -> dict[str, Any]:
        timed_out = threading.Event()

        def end() -> None:
            timed_out.set()
            self.process.kill()

        timer = threading.Timer(TIME_LIMIT, end)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            code = self.process.wait()
            if timed_out.is_set():
                raise SampleFailed(f"took longer than {TIME_LIMIT:.0f} s")
            raise SampleFailed(f"the process ended with status {code}")
        answer = json.loads(line)
        if "error" in answer:
            raise SampleFailed(answer["error"])
        return answer

    def sample(self, operation: Operation, iterations: int) -> int:
        """Return the total of `iterations` iterations, in the operation's unit. Raises SampleFailed."""
        request = {"operation": operation.name, "iterations": iterations}
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the process is gone, and read() says how it went
        return self.read()["value"]

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Workers:
    """The workers of a run: kept alive, and started again after a crash."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}

    def get(self, target: str) -> Worker:
        worker = self.workers.get(target)
        if worker is None or not worker.alive:
            self.drop(target)
            worker = self.workers[target] = Worker(target)
        return worker

    def drop(self, target: str) -> None:
        worker = self.workers.pop(target, None)
        if worker is not None:
            worker.close()

    def sample(self, target: str, operation: Operation, iterations: int) -> int:
        """Take one sample. A memory sample gets a process that has done nothing before. Raises SampleFailed."""
        if operation.unit != "B":
            return self.get(target).sample(operation, iterations)
        worker = Worker(target)
        try:
            return worker.sample(operation, iterations)
        finally:
            worker.close()

    def close(self) -> None:
        for target in list(self.workers):
            self.drop(target)


def calibrate(take: Callable[[int], int], wanted_ns: float) -> int:
    """Return how many iterations take about `wanted_ns`, where `take(n)` measures `n` of them in ns."""
    n = 1
    while True:
        elapsed = max(take(n), 1)
        if elapsed >= wanted_ns / 2:
            return max(1, round(n * wanted_ns / elapsed))
        # Short samples are dominated by fixed costs: approach in steps of at most ten.
        n = max(n + 1, round(n * min(10.0, wanted_ns / elapsed)))


def summarise(samples: list[float], iterations: int) -> dict[str, Any]:
    """Return median, quartiles and samples (per operation) as they are written to the JSON file."""
    q1, _, q3 = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    return {
        "iterations": iterations,
        "median": statistics.median(samples),
        "q1": q1,
        "q3": q3,
        "samples": [round(value, 2) for value in samples],
    }


def measure_operation(
    operation: Operation, targets: list[str], workers: Workers, rounds: int, sample_ms: float, tick: Callable
) -> dict[str, Any]:
    """Measure one operation on all targets; return a result (or an error) for each target name."""
    memory = operation.unit == "B"
    iterations: dict[str, int] = {}
    samples: dict[str, list[float]] = {}
    errors: dict[str, str] = {}

    def attempt(target: str, work: Callable[[], None]) -> None:
        if target not in errors:
            try:
                work()
            except SampleFailed as failure:
                errors[target] = str(failure)

    def prepare(target: str) -> None:
        if memory:
            iterations[target] = 1
        else:
            iterations[target] = calibrate(lambda n: workers.sample(target, operation, n), sample_ms * 1e6)

    def take(target: str) -> None:
        n = iterations[target]
        total = workers.sample(target, operation, n)
        samples.setdefault(target, []).append(total / (n * operation.per))

    for target in targets:
        tick(f"calibrating {target}")
        attempt(target, lambda target=target: prepare(target))
    rounds = min(rounds, MEMORY_ROUNDS) if memory else rounds
    for number in range(rounds):
        tick(f"round {number + 1}/{rounds}")
        # Each round starts with another target, so that none is always the first after a pause.
        shift = number % len(targets)
        for target in targets[shift:] + targets[:shift]:
            attempt(target, lambda target=target: take(target))
    return {
        target: {"error": errors[target]}
        if target in errors
        else summarise(samples[target], iterations[target])
        for target in targets
    }


def machine() -> dict[str, Any]:
    """Return what a reader must know of the machine and the interpreter to reproduce a result."""
    model = platform.processor()
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            model = next(line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "compiler": platform.python_compiler(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "cpu_model": model,
        "cpu_count": os.cpu_count(),
    }


def run(
    operations: list[Operation],
    targets: list[str],
    *,
    rounds: int,
    sample_ms: float,
    progress: Callable[[str], None],
    done: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Measure all `operations` on all `targets` that can be loaded, and return the result as the JSON file has it.

    `rounds` is the number of samples of each, `sample_ms` their wanted length in milliseconds. `progress` is told in a few
    words what is going on, `done` gets the result of each operation when it is there.
    """
    workers = Workers()
    result = {
        "suite": "core",
        **machine(),
        "rounds": rounds,
        "sample_ms": sample_ms,
        "gc": "enabled, collected before each sample",
        "targets": {},
        "operations": [],
    }
    try:
        for target in targets:
            progress(f"loading {target}")
            try:
                about = workers.get(target).about
            except SampleFailed as failure:
                about = {"error": str(failure)}
            result["targets"][target] = {"title": TITLES[target], **about}
        usable = [target for target in targets if "error" not in result["targets"][target]]
        for number, operation in enumerate(operations, 1):
            if not usable:
                break
            label = f"[{number:2}/{len(operations)}] {operation.title}"
            measured = measure_operation(
                operation,
                usable,
                workers,
                rounds,
                sample_ms,
                lambda text, label=label: progress(f"{label}: {text}"),
            )
            entry = {
                "name": operation.name,
                "title": operation.title,
                "description": operation.description,
                "group": operation.group,
                "unit": operation.unit,
                "per": operation.per,
                "targets": measured,
            }
            result["operations"].append(entry)
            done(entry)
    finally:
        workers.close()
    return result
