"""Measure cases on targets: a server process a target and kind, and a load generator beside each.

All servers of a kind stay alive, and so do the connections of a case on each of them; in every round each target in turn is
loaded for a short window, while the others sleep.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import measure
from ..child import Child, SampleFailed
from .cases import KINDS, Case, Kind
from .programs import Programs, certificate, command_output

WRK = "wrk"
WRK_LEAST_MS = 500  # shorter windows are for our own load generator: wrk knows whole seconds only

Sample = dict[str, float]  # what `sample_of` returns


def split_cpus() -> tuple[set[int], set[int]]:
    """Return the CPUs for servers and for the load: one each if there are several, so that no sample is a matter of where
    the scheduler put the two."""
    cpus = sorted(os.sched_getaffinity(0))
    return ({cpus[0]}, {cpus[-1]}) if len(cpus) > 1 else (set(cpus), set(cpus))


@contextlib.contextmanager
def on_cpus(cpus: set[int]) -> Iterator[None]:
    """Let what is started in this context run on `cpus` only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Server(Child):
    """A server process of `kind` on `target`, listening at `address`."""

    def __init__(self, target: str, kind: Kind, programs: Programs) -> None:
        if target == "floor":
            command = [str(programs.floor), kind.floor or ""]
            if kind.floor == "unix":
                command.append(str(programs.directory / "floor.sock"))
            if kind.floor == "tls":
                command += map(str, certificate(programs.directory, kind.certificate))
        else:
            module = "benchmarks.net.servers"
            command = [sys.executable, "-m", module, target, kind.name, str(programs.directory)]
        with on_cpus(split_cpus()[0]):
            super().__init__(command)
        self.address: str = self.hello()["address"]

    def cpu_times(self) -> tuple[int, int]:
        """Return the CPU time used so far, in user and in system mode, in nanoseconds."""
        used = self.ask("usage")
        return used["user_ns"], used["system_ns"]


class Generator(Child):
    """The load generator in C with the connections of one case; they have been checked and warmed up."""

    def __init__(self, case: Case, server: Server, programs: Programs) -> None:
        command = [programs.loadgen, case.kind.load, server.address, case.size, case.connections]
        with on_cpus(split_cpus()[1]):
            super().__init__([str(argument) for argument in command])
        self.hello()

    def window(self, window_ms: int) -> dict[str, float]:
        return self.ask(window_ms)


class Wrk:
    """wrk as the load. The generator in C looks at some responses first, for wrk does not look at bodies."""

    def __init__(self, case: Case, server: Server, programs: Programs) -> None:
        Generator(case, server, programs).close()
        self.case, self.server = case, server

    def window(self, window_ms: int) -> dict[str, float]:
        seconds = max(1, round(window_ms / 1000))
        options = [f"-c{self.case.connections}", "-t1", f"-d{seconds}s", "--latency"]
        with on_cpus(split_cpus()[1]):
            return parse_wrk(command_output(WRK, *options, f"http://127.0.0.1:{self.server.address}/"))

    def close(self) -> None:
        """Nothing is left between two windows."""


def parse_wrk(text: str) -> dict[str, float]:
    """Return what the report of wrk says, in the words of the load generator. Raises SampleFailed if not all went well."""
    for complaint in ("Non-2xx or 3xx responses", "Socket errors"):
        if complaint in text:
            line = next(line for line in text.splitlines() if complaint in line)
            raise SampleFailed(f"wrk: {line.strip()}")
    done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)\b", text)
    p50, p99 = (re.search(rf"^\s*{share}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.M) for share in (50, 99))
    if not done or not p50 or not p99:
        raise SampleFailed("wrk: its report was not understood")
    unit_ns = {"us": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9}
    requests = int(done[1])
    return {
        "requests": requests,
        "completed": requests,
        "window_ns": float(done[2]) * unit_ns[done[3]],
        "p50_ns": float(p50[1]) * unit_ns[p50[2]],
        "p99_ns": float(p99[1]) * unit_ns[p99[2]],
    }


def sample_of(load: dict[str, float], before: tuple[int, int], after: tuple[int, int]) -> Sample:
    """Return one sample in ns per request, from what the load saw and the CPU times of the server around it."""
    if not load["requests"]:
        raise SampleFailed("no request was answered within the window")
    user, system = ((late - early) / load["completed"] for early, late in zip(before, after, strict=True))
    return {
        "requests": load["requests"],
        "ns": load["window_ns"] / load["requests"],
        "p50_ns": load["p50_ns"],
        "p99_ns": load["p99_ns"],
        "user_ns": user,
        "system_ns": system,
    }


def summarise(samples: list[Sample]) -> dict[str, Any]:
    """Return what the JSON file says of a target: as in the other suites, and medians of what else was measured."""
    requests = round(statistics.median(sample["requests"] for sample in samples))
    summary = measure.summarise([sample["ns"] for sample in samples], requests)
    for key in ("p50_ns", "p99_ns", "user_ns", "system_ns"):
        summary[key] = round(statistics.median(sample[key] for sample in samples), 1)
    summary["cpu_samples"] = [round(sample["user_ns"] + sample["system_ns"], 1) for sample in samples]
    return summary


def process_names(target: str, processes: int) -> list[str]:
    """Return names for several servers of one target, which is what comes before the "#"."""
    return [target] if processes == 1 else [f"{target}#{number}" for number in range(1, processes + 1)]


def best_process(
    samples: dict[str, list[Sample]], errors: dict[str, str], names: list[str]
) -> dict[str, Any]:
    """Return the summary of the fastest of a target's processes, with the medians of all."""
    if failed := [errors[name] for name in names if name in errors]:
        return {"error": failed[0]}
    summaries = sorted((summarise(samples[name]) for name in names), key=lambda one: one["median"])
    return {**summaries[0], "processes": [one["median"] for one in summaries]}


class Bench:
    """The running servers, all of one kind, and the loads of one case, by the names of `process_names`."""

    def __init__(self, programs: Programs, use_wrk: bool) -> None:
        self.programs = programs
        self.use_wrk = use_wrk
        self.kind: Kind | None = None
        self.servers: dict[str, Server] = {}
        self.loads: dict[str, Generator | Wrk] = {}

    def prepare(self, case: Case, target: str) -> None:
        """Start the server, if it does not run, and the load. Raises SampleFailed."""
        if case.kind is not self.kind:
            self.close()
            self.kind = case.kind
        if target not in self.servers:
            self.servers[target] = Server(target.partition("#")[0], case.kind, self.programs)
        load = Wrk if self.use_wrk and case.kind.load == "http" else Generator
        try:
            self.loads[target] = load(case, self.servers[target], self.programs)
        except SampleFailed:
            self.drop(target)
            raise

    def sample(self, target: str, window_ms: int) -> Sample:
        """Load the server for a while. Raises SampleFailed, and then the server is gone."""
        server, load = self.servers[target], self.loads[target]
        try:
            before = server.cpu_times()
            seen = load.window(window_ms)
            return sample_of(seen, before, server.cpu_times())
        except SampleFailed:
            self.drop(target)
            raise

    def drop(self, target: str) -> None:
        """End the server of `target` and its load."""
        for children in (self.loads, self.servers):
            if child := children.pop(target, None):
                child.close()

    def end_case(self) -> None:
        """Close the connections of a case."""
        for target in list(self.loads):
            self.loads.pop(target).close()

    def close(self) -> None:
        self.end_case()
        for target in list(self.servers):
            self.drop(target)


def reason_to_leave_out(case: Case, programs: Programs) -> str:
    """Return why this machine cannot run a case, or ""."""
    missing = [module for module in case.kind.needs if importlib.util.find_spec(module) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return programs.no_tls if case.kind.uses_tls else ""


def measure_case(
    case: Case,
    targets: list[str],
    bench: Bench,
    rounds: int,
    window_ms: int,
    tick: Callable[[str], None],
    processes: int = 1,
) -> dict[str, Any]:
    """Measure one case on all targets, in so many processes each; return it as the JSON file has it."""
    chosen = {
        target: process_names(target, 1 if target == "floor" else processes)
        for target in targets
        if case.runs_on(target)
    }
    try:
        samples, errors = measure.interleave(
            [name for names in chosen.values() for name in names],
            lambda target: bench.prepare(case, target),
            lambda target: bench.sample(target, window_ms),
            rounds,
            tick,
        )
    finally:
        bench.end_case()
    return {
        "name": case.name,
        "title": case.title,
        "label": case.label,
        "description": case.description,
        "group": case.kind.name,
        "unit": "ns",
        "size": case.size,
        "connections": case.connections,
        "targets": {target: best_process(samples, errors, names) for target, names in chosen.items()},
    }


def about_target(target: str, programs: Programs) -> dict[str, Any]:
    """Return what a result says of a target; it is loaded in a process that does nothing else."""
    if target == "floor":
        return {"version": "", "loop": f"{programs.floor.name}.c"}
    worker = measure.Worker(target)
    worker.close()
    return worker.about


def run(
    cases: list[Case],
    targets: list[str],
    *,
    rounds: int,
    sample_ms: int,
    progress: Callable[[str], None],
    done: Callable[[dict[str, Any]], None],
    processes: int = 1,
) -> dict[str, Any]:
    """Measure all `cases` on all `targets` that can be loaded, and return the result as the JSON file has it.

    `rounds` is the number of windows of each, `sample_ms` their length in milliseconds; `progress` and `done` are as in
    `measure.run`. Of several `processes` of a target the fastest counts. Raises SampleFailed if there is no C compiler.
    """
    wrk = sample_ms >= WRK_LEAST_MS and shutil.which(WRK) is not None
    result: dict[str, Any] = {
        "suite": "net",
        **measure.machine(),
        "rounds": rounds,
        "sample_ms": sample_ms,
        "processes": processes,
        "http_load": WRK if wrk else "the load generator",
        "cpus": [sorted(cpus) for cpus in split_cpus()],
        "groups": {kind.name: kind.title for kind in KINDS.values()},
        "targets": {},
        "left_out": [],
        "operations": [],
    }
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        progress("compiling")
        programs = Programs(Path(directory))
        for target in targets:
            progress(f"loading {target}")
            result["targets"][target] = measure.about(
                target, lambda target=target: about_target(target, programs)
            )
        usable = [target for target in targets if "error" not in result["targets"][target]]
        with contextlib.closing(Bench(programs, wrk)) as bench:
            for number, case in enumerate(cases, 1):
                label = f"[{number:2}/{len(cases)}] {case.title}"
                if reason := reason_to_leave_out(case, programs):
                    result["left_out"].append({"title": case.title, "reason": reason})
                elif any(case.runs_on(target) for target in usable):
                    entry = measure_case(
                        case,
                        usable,
                        bench,
                        rounds,
                        sample_ms,
                        lambda text, label=label: progress(f"{label}: {text}"),
                        processes,
                    )
                    result["operations"].append(entry)
                    done(entry)
    return result
