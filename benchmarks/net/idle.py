"""What an idle connection costs: `python -m benchmarks.net.idle`, a table of bytes of the server's resident memory.

A server is asked how large it is, gets connections that each have had some echoes, and is looked at again while they are
silent. Each figure has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from .. import measure
from ..child import SampleFailed
from ..targets import NET_TARGETS, TITLES, installed
from .cases import KIB, KINDS, Case
from .programs import Programs
from .run import Generator, Server, about_target

KIND_NAMES = ("protocol", "tls")
FILES_BESIDE = 100  # descriptors that are no connections
# Where thousands of connections come at once and faster than they are accepted, the kernel resets one now and then.
ATTEMPTS = 3


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def sample(target: str, kind_name: str, connections: int, programs: Programs) -> float:
    """Return bytes for each of the connections. Raises SampleFailed."""
    case = Case(KINDS[kind_name], KIB, connections)
    warm = Case(KINDS[kind_name], KIB, 10)
    server = Server(target, case.kind, programs)
    try:
        Generator(warm, server, programs).close()  # what the first connection costs is not counted
        server.cpu_times()
        before = resident_bytes(server.process.pid)
        generator = Generator(case, server, programs)
        try:
            server.cpu_times()
            return (resident_bytes(server.process.pid) - before) / connections
        finally:
            generator.close()
    finally:
        server.close()


def sample_patiently(target: str, kind_name: str, connections: int, programs: Programs) -> float:
    """Return what sample() does, which may fail but for the last of ATTEMPTS. Raises SampleFailed."""
    for _ in range(ATTEMPTS - 1):
        try:
            return sample(target, kind_name, connections, programs)
        except SampleFailed:
            pass
    return sample(target, kind_name, connections, programs)


def measure_target(
    target: str, kind_names: list[str], connections: int, samples: int, programs: Programs
) -> dict[str, Any]:
    """Return for each kind the median and the samples, in bytes, or the text of an error."""
    measured: dict[str, Any] = {}
    for kind_name in kind_names:
        try:
            if KINDS[kind_name].uses_tls and programs.no_tls:
                raise SampleFailed(programs.no_tls)
            bytes_each = [sample_patiently(target, kind_name, connections, programs) for _ in range(samples)]
            measured[kind_name] = {"median": statistics.median(bytes_each), "samples": bytes_each}
        except SampleFailed as failure:
            measured[kind_name] = {"error": str(failure)}
    return measured


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.net.idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=5000, metavar="N")
    parser.add_argument("--samples", type=int, default=3, metavar="N")
    parser.add_argument("--targets", default=",".join(installed(NET_TARGETS)), metavar="A,B")
    parser.add_argument(
        "--kinds", default=",".join(KIND_NAMES), metavar="A,B", help=f"of {', '.join(KIND_NAMES)}"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the result with all samples")
    arguments = parser.parse_args(argv)
    targets = [name for name in arguments.targets.split(",") if name]
    kind_names = [name for name in arguments.kinds.split(",") if name]
    for given, known in ((targets, NET_TARGETS), (kind_names, KIND_NAMES)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    wanted = arguments.connections + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        except (OSError, ValueError):
            parser.error(
                f"{arguments.connections} connections need {wanted} descriptors, and {hard} are allowed; see ulimit -Hn"
            )
    result: dict[str, Any] = {"suite": "idle", **measure.machine(), "connections": arguments.connections}
    result["targets"] = {}
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        programs = Programs(Path(directory))
        print(f"bytes of an idle connection, of {arguments.connections}: {', '.join(kind_names)}")
        for target in targets:
            about = measure.about(target, lambda target=target: about_target(target, programs))
            if "error" in about:
                print(f"  {TITLES[target]}: left out, {about['error']}")
            else:
                about["kinds"] = measure_target(
                    target, kind_names, arguments.connections, arguments.samples, programs
                )
                print(f"  {TITLES[target]:24}", *map(cell, about["kinds"].values()), flush=True)
            result["targets"][target] = about
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    kinds = [about.get("kinds", {"": {"error": ""}}) for about in result["targets"].values()]
    return 1 if any("error" in measured for kind in kinds for measured in kind.values()) else 0


def cell(measured: dict[str, Any]) -> str:
    return f"FAILED: {measured['error']}" if "error" in measured else f"{measured['median']:9,.0f}"


if __name__ == "__main__":
    sys.exit(main())
