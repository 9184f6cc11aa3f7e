"""CPython's own asyncio tests on every event loop that is installed: the same tests for all, and one table.

    python -m tests.conformance.peers                            asyncio, asyncio_c, and the other loops that are installed
    python -m tests.conformance.peers --loops asyncio,uvloop test_server test_ssl
    python -m tests.conformance.peers --json peers-3.13.json     the counts, of this Python
    python -m tests.conformance.peers --show peers-3.*.json --write      the table of several Pythons, in docs/compatibility.md

A test counts if it can say something about any loop: CPython's condition does not skip it, it makes a loop when it is run on
asyncio, its text does not reach for what is private to asyncio's own loop, server or transports and replaces nothing in asyncio, and
expected.toml does not say so of it either. Classes that do one of that in their set-up are in LEFT_OUT, with the reason. What
is a known difference of ours counts, and as a failure.

The loop under test is bound to asyncio's names as it is for the tests here (binding.py), and judged as CPython does, by unittest.
Each suite has a process of its own, and another one after each test that fails, for what that leaves behind (a loop that still counts
as running, say) must not fail the next. One that crashes, or hangs for `--hang` seconds in a test, costs that test: the next process
goes on behind it, up to DEATHS of them in a suite.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import importlib
import inspect
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from typing import Any

from benchmarks import document, standings
from benchmarks.child import SampleFailed
from benchmarks.measure import Worker
from benchmarks.targets import TITLES, installed

from . import expected, whole
from .__main__ import bound_modules
from .binding import IMPLEMENTATION, TYPES
from .loading import PLANS, suite_utils

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "compatibility.md"
NAME = "tests.conformance.peers"
LOOPS = tuple(name for name in TITLES if name not in ("aiofastnet", "floor"))
OURS = {"loop-only": "loop", "patched": "patch"}  # the bindings; that of all others is "loop"
DEATHS = 10
OUTCOMES = ("passed", "failed", "skipped", "crashed", "hung", "not reached")
LEFT_OUT = {
    "test_base_events": "asyncio's own base class, on a loop without descriptors",
    "test_events::HandleTests": "a Handle that is made by hand, with a mock for a loop",
    "test_events::TimerTests": "a TimerHandle that is made by hand, with a mock for a loop",
    "test_free_threading": "the registry of tasks, without a loop",
    "test_futures2": "the Future, whatever the loop",
    "test_graph": "who awaits whom, whatever the loop",
    "test_protocols": "the classes of protocols, without a loop",
    "test_sslproto::SslProtoHandshakeTests": "an SSLProtocol of asyncio's that is made by hand",
    "test_staggered": "a function of asyncio's, whatever the loop",
    "test_transports": "the classes of transports, without a loop",
    "test_unix_events::SelectorEventLoopSignalTests": "asyncio's own loop, with a mock for signals",
    "test_unix_events::SelectorEventLoopUnixSockSendfileTests": "the inner function of asyncio's own loop",
}
PRIVATE = re.compile(
    r"\b(loop|transport|trans|tr|server|srv|sock_transport)\._[a-z]|\bpatch\b|\bselectors?\."
)


# ---- Which tests count ----


def reason_to_leave_out(module: str, class_name: str, test: Any) -> str:
    """Return why a test says nothing about a loop that is not asyncio's, or ""."""
    for name in (module, f"{module}::{class_name}"):
        if name in LEFT_OUT:
            return LEFT_OUT[name]
    if found := PRIVATE.search(inspect.getsource(inspect.unwrap(test))):
        return f"its text has {found[0]!r}"
    for binding in OURS.values():
        entry = expected.find(f"{module}::{class_name}.{binding}::{test.__name__}")
        if entry is not None and entry.kind == "not applicable":
            return entry.reason
    return ""


def candidates(module: str) -> Iterator[str]:
    """Yield `Class::test` of what may count of a module: what is bound to our loop in both ways."""
    importlib.import_module(f".{module}", __package__)
    plan = PLANS[module]
    for label, case in plan.bound.items():
        class_name, _, binding = label.rpartition(".")
        if binding == "loop" and f"{class_name}.patch" in plan.bound:
            for name in unittest.defaultTestLoader.getTestCaseNames(case):
                if not reason_to_leave_out(module, class_name, getattr(case, name)):
                    yield f"{class_name}::{name}"


def selection(on_asyncio: Suite) -> list[str]:
    """Return the tests that count, by what became of the candidates on asyncio."""
    return [
        name
        for name, outcome in on_asyncio.outcomes.items()
        if outcome != "skipped" and name in on_asyncio.made
    ]


# ---- The process of one suite on one loop ----


def run_suite(module: str, binding: str, names: list[str], hang: float) -> None:
    """Run these tests of a module, but for those that a process before this one has started."""
    importlib.import_module(f".{module}", __package__)
    if IMPLEMENTATION == "stock":
        whole.count_loops(TYPES.Loop)
    whole.Recorder.hang = hang
    suite_utils.TestCase.close_loop = staticmethod(close_loop)
    started = whole.started_before()
    for name in [name for name in names if name not in started]:
        class_name, _, test = name.partition("::")
        case: Any = PLANS[module].bound[f"{class_name}.{binding}"]
        with case.conformance.active(), case.conformance.foreign_objects() as made:
            runner = unittest.TextTestRunner(
                verbosity=0, warnings="default", resultclass=recorder(name, made)
            )
            result: Any = runner.run(unittest.TestSuite([case(test)]))
        if result.outcome == "failed":
            return  # another process goes on
    whole.record(finished=True)


def close_loop(loop: Any) -> None:
    """Stand in for TestCase.close_loop, which ends what the test has left in the executor of any loop that is asyncio's own."""
    try:
        if not loop.is_closed():
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def recorder(name: str, made: list[str]) -> Any:
    """Return what records the test of this name, as failed if `made` says that it ran on asyncio's own loop."""

    class Named(whole.Recorder):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, name=lambda test: name, **options)

        def settle(self, test_id: str) -> None:
            if made and self.outcome == "passed":
                self.outcome = "failed"
                self.stream.writeln(f"{test_id} ran on {made}")

    return Named


# ---- The processes ----


class Suite:
    """What became of the tests of a suite on one loop, by their names; those that made a loop of asyncio's; what was printed."""

    def __init__(self, names: list[str]) -> None:
        self.outcomes = dict.fromkeys(names, "not reached")
        self.made: set[str] = set()
        self.printed = ""

    @property
    def deaths(self) -> int:
        return sum(outcome in ("crashed", "hung") for outcome in self.outcomes.values())

    def read(self, lines: list[dict[str, Any]], end: str) -> bool:
        """Take in a whole record; what was started last, and is not done, came to this `end`. Return whether all is done."""
        pending = None
        for line in lines:
            if "start" in line:
                if self.outcomes[line["start"]] == "not reached":
                    self.outcomes[line["start"]] = end
                pending = line["start"]
            elif "done" in line:
                self.outcomes[line["done"]] = line["outcome"]
                pending = None
                if line["loops"]:
                    self.made.add(line["done"])
        return pending is None and bool(lines) and "finished" in lines[-1]


def run(loop: str, module: str, names: list[str], hang: float) -> Suite:
    """Run these tests of a module on a loop, in processes of their own."""
    suite = Suite(names)
    implementation = {"asyncio": "stock", "loop-only": "native", "patched": "native"}.get(loop, loop)
    environment = {**os.environ, "ASYNCIO_C_CONFORMANCE_BINDING": implementation}
    with tempfile.TemporaryDirectory() as folder:
        record = pathlib.Path(folder, "record")
        wanted = pathlib.Path(folder, "wanted")
        wanted.write_text(json.dumps(names))
        environment["ASYNCIO_C_CONFORMANCE_RECORD"] = str(record)
        command = [
            sys.executable,
            "-m",
            NAME,
            "--suite",
            module,
            OURS.get(loop, "loop"),
            str(wanted),
        ]
        while suite.deaths < DEATHS:
            record.touch()
            size = record.stat().st_size
            end, printed = ended([*command, f"--hang={hang}"], environment, 5 * hang, record)
            suite.printed += printed
            lines = [json.loads(line) for line in record.read_text().splitlines()]
            if suite.read(lines, end) or record.stat().st_size == size:
                break
    return suite


def ended(
    command: list[str], environment: dict[str, str], limit: float, record: pathlib.Path | None = None
) -> tuple[str, str]:
    """Run a process; return how it ended, if that was not at the end of its tests, and what it printed.

    It has a watchdog of its own in each test. What hangs elsewhere is ended when the record has not grown for `limit` seconds.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status, size = None, -1
        while status is None:
            grown = record.stat().st_size if record else 0
            if grown == size:
                break
            size = grown
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(limit)
        # What a test has left running, and a process that hangs where no watchdog is.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.seek(0)
        printed = output.read()
    hung = status is None or "Timeout (" in printed[-20_000:]
    return "hung" if hung else "crashed", printed


# ---- The table ----


def counts_of(suite: Suite, names: list[str]) -> dict[str, int]:
    return dict(collections.Counter(suite.outcomes[name] for name in names))


def table(results: list[dict[str, Any]]) -> str:
    """Return the table of the results of several Pythons, in Markdown, and how many tests of each suite each loop passes."""
    lines = []
    for result in results:
        lines.append(
            f"| CPython {result['python']} | passed | of | other than that |\n| --- | --- | --- | --- |\n"
        )
        for loop, about in result["loops"].items():
            counts = sum(
                (collections.Counter(one) for one in about["suites"].values()), collections.Counter()
            )
            name = f"{TITLES[loop]} {about['version']}".strip()
            lines.append(
                f"| {name} | {counts['passed']:,} | {counts.total():,} | {words(about['suites'])} |\n"
            )
        lines += [f"| {TITLES[loop]} | not installed | | |\n" for loop in result["missing"]]
        lines.append("\n")
    lines.append(f"By suite, passed, on CPython {results[-1]['python']}.\n\n")
    loops = results[-1]["loops"]
    header = ["suite", "tests", *(TITLES[loop] for loop in loops)]
    rows = []
    for module in next(iter(loops.values()))["suites"]:
        suites = [about["suites"][module] for about in loops.values()]
        rows.append([module, str(sum(suites[0].values())), *(str(one.get("passed", 0)) for one in suites)])
    return "".join(lines) + standings.markdown(header, rows)


def words(suites: dict[str, dict[str, int]]) -> str:
    """Return what became of the tests that did not pass."""
    parts = []
    for outcome in OUTCOMES[1:]:
        count = sum(one.get(outcome, 0) for one in suites.values())
        within = sum(outcome in one for one in suites.values())
        if count and outcome in ("crashed", "hung"):
            plural = ["s" if number > 1 else "" for number in (within, count)]
            parts.append(f"{outcome} in {within} suite{plural[0]} ({count} test{plural[1]})")
        elif count:
            parts.append(f"{count} {outcome}")
    return ", ".join(parts)


def about(results: list[dict[str, Any]]) -> str:
    dates = sorted({result["date"] for result in results})
    pythons = " and ".join(result["python"] for result in results)
    system = results[-1]["system"]
    return f"By `python -m tests.conformance.peers` on CPython {pythons}, {system}, {', '.join(dates)}.\n\n"


# ---- The command line ----


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("modules", nargs="*", metavar="SUITE", help="such as test_server; default: all")
    parser.add_argument(
        "--loops", metavar="A,B", help=f"of {','.join(LOOPS)}; default: those that are installed"
    )
    parser.add_argument("--hang", type=float, default=20, help="seconds that a test may take (default 20)")
    parser.add_argument("--failed", action="store_true", help="name what fails on asyncio and on asyncio_c")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the counts")
    parser.add_argument(
        "--show", type=pathlib.Path, nargs="+", metavar="FILE", help="run nothing; of these counts"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/compatibility.md")
    parser.add_argument("--suite", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.loops = options.loops.split(",") if options.loops else installed(LOOPS)
    if unknown := [name for name in options.loops if name not in LOOPS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(LOOPS)}")
    if unknown := [name for name in options.modules if name not in bound_modules()]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(bound_modules())}")
    return options


def version_of(loop: str) -> str:
    """Return the version that the loop has. Raises SampleFailed where it is not to be had."""
    worker = Worker(loop)
    worker.close()
    return worker.about["version"]


def measure(loops: list[str], modules: list[str], hang: float, failed: bool) -> dict[str, Any]:
    """Run the suites on the loops; return the counts as the JSON file has them."""
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}, {' '.join(platform.libc_ver())}",
        "date": f"{datetime.date.today():%-d %B %Y}",
        "loops": {},
        "missing": [],
    }
    for loop in loops:
        try:
            result["loops"][loop] = {"version": version_of(loop), "suites": {}}
        except SampleFailed as failure:
            print(f"{loop}: {failure}", file=sys.stderr)
            result["missing"].append(loop)
    result["missing"] += [loop for loop in LOOPS if loop not in loops and loop not in installed([loop])]
    for module in modules:
        on_asyncio = run("asyncio", module, list(candidates(module)), hang)
        names = selection(on_asyncio)
        if not names:
            continue
        for loop, about in result["loops"].items():
            suite = on_asyncio if loop == "asyncio" else run(loop, module, names, hang)
            about["suites"][module] = counts_of(suite, names)
            print(f"{module:24} {loop:10} {about['suites'][module]}", file=sys.stderr, flush=True)
            if failed and loop in ("asyncio", *OURS):
                bad = [name for name in names if suite.outcomes[name] != "passed"]
                print(
                    *(f"  {name}: {suite.outcomes[name]}" for name in bad), sep="\n", end="\n" if bad else ""
                )
    return result


def main(argv: list[str] | None = None) -> int:
    """Print the table; return 1 if no test was selected."""
    options = arguments(argv)
    if options.suite:
        module, binding, wanted = options.suite
        run_suite(module, binding, json.loads(pathlib.Path(wanted).read_text()), options.hang)
        sys.stdout.flush()
        os._exit(0)  # what a loop leaves behind must not delay the end, or crash in it
    if options.show:
        results = [json.loads(path.read_text()) for path in options.show]
    else:
        results = [measure(options.loops, options.modules or bound_modules(), options.hang, options.failed)]
        if options.json:
            options.json.write_text(json.dumps(results[0], indent=1) + "\n")
    if not any(about["suites"] for result in results for about in result["loops"].values()):
        print("no test was selected")
        return 1
    text = about(results) + table(results)
    print(text, end="")
    if options.write:
        document.replace(DOCUMENT, "peers", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
