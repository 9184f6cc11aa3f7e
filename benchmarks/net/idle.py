"""What an idle connection costs: `python -m benchmarks.net.idle`, a table of bytes of the server's resident memory.

A server is asked how large it is, gets connections that each have had some echoes, and is looked at again while they are
silent. Each figure has a process of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
from pathlib import Path

from ..child import SampleFailed
from ..targets import NET_TARGETS, TITLES
from .cases import KIB, KINDS, Case
from .programs import Programs
from .run import Generator, Server

KIND_NAMES = ("protocol", "tls")
FILES_BESIDE = 100  # descriptors that are no connections


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def measure(target: str, kind_name: str, connections: int, programs: Programs) -> float:
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


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.net.idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=5000, metavar="N")
    parser.add_argument("--samples", type=int, default=3, metavar="N")
    parser.add_argument("--targets", default=",".join(NET_TARGETS), metavar="A,B")
    arguments = parser.parse_args(argv)
    wanted = arguments.connections + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    failed = False
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        programs = Programs(Path(directory))
        print(f"bytes of an idle connection, of {arguments.connections}: {', '.join(KIND_NAMES)}")
        for target in filter(None, arguments.targets.split(",")):
            cells = []
            for kind_name in KIND_NAMES:
                try:
                    if KINDS[kind_name].uses_tls and programs.no_tls:
                        raise SampleFailed(programs.no_tls)
                    samples = [
                        measure(target, kind_name, arguments.connections, programs)
                        for _ in range(arguments.samples)
                    ]
                    cells.append(f"{statistics.median(samples):9,.0f}")
                except SampleFailed as failure:
                    cells.append(f"FAILED: {failure}")
                    failed = True
            print(f"  {TITLES[target]:24}", *cells)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
