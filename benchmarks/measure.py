"""Measure operations on targets: one worker process a target, samples of the targets interleaved.

For each operation, each round takes one sample of every target in turn, so that a slow minute of the machine falls on all
of them alike. The first samples of an operation find out how many iterations make a sample of the wanted length.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from .child import Child, SampleFailed
from .registry import Operation
from .targets import TITLES

Sample = TypeVar("Sample")

ALONE_ROUNDS = 3  # such a sample is a process of its own, and hardly varies


class Worker(Child):
    """A process that runs samples of one target. `about` is what the target says of itself.

    Raises SampleFailed if the target cannot be loaded.
    """

    def __init__(self, target: str) -> None:
        super().__init__([sys.executable, "-m", "benchmarks.worker", target])
        self.target = target
        self.about: dict[str, str] = self.hello()

    def sample(self, operation: Operation, iterations: int) -> int:
        """Return the total of `iterations` iterations, in the operation's unit. Raises SampleFailed."""
        return self.ask({"operation": operation.name, "iterations": iterations})["value"]


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
        """Take one sample. An operation that is alone gets a process that has done nothing before. Raises SampleFailed."""
        if not operation.alone:
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


def interleave(
    targets: list[str],
    prepare: Callable[[str], None],
    take: Callable[[str], Sample],
    rounds: int,
    tick: Callable[[str], None],
) -> tuple[dict[str, list[Sample]], dict[str, str]]:
    """Call `prepare(target)` for each target, then `take(target)` for each in every round.

    Return the samples of the targets, and the error texts of those that raised SampleFailed and were not asked again.
    """
    samples: dict[str, list[Sample]] = {target: [] for target in targets}
    errors: dict[str, str] = {}

    def attempt(target: str, work: Callable[[], None]) -> None:
        if target not in errors:
            try:
                work()
            except SampleFailed as failure:
                errors[target] = str(failure)

    for target in targets:
        tick(f"preparing {target}")
        attempt(target, lambda target=target: prepare(target))
    for number in range(rounds):
        tick(f"round {number + 1}/{rounds}")
        # Each round starts with another target, so that none is always the first after a pause.
        shift = number % len(targets)
        for target in targets[shift:] + targets[:shift]:
            attempt(target, lambda target=target: samples[target].append(take(target)))
    return samples, errors


def measure_operation(
    operation: Operation, targets: list[str], workers: Workers, rounds: int, sample_ms: float, tick: Callable
) -> dict[str, Any]:
    """Measure one operation on all targets; return a result (or an error) for each target name."""
    iterations: dict[str, int] = {}

    def prepare(target: str) -> None:
        if operation.alone:
            iterations[target] = 1
        else:
            iterations[target] = calibrate(lambda n: workers.sample(target, operation, n), sample_ms * 1e6)

    def take(target: str) -> float:
        n = iterations[target]
        return workers.sample(target, operation, n) / (n * operation.per)

    samples, errors = interleave(
        targets, prepare, take, min(rounds, ALONE_ROUNDS) if operation.alone else rounds, tick
    )
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
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "cpu_model": model,
        "cpu_count": os.cpu_count(),
    }


def about(target: str, load: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a result says of a target: its title, and what `load()` knows of it or why it failed."""
    try:
        return {"title": TITLES[target], **load()}
    except SampleFailed as failure:
        return {"title": TITLES[target], "error": str(failure)}


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
            result["targets"][target] = about(target, lambda target=target: workers.get(target).about)
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
