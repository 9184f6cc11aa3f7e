"""Run other people's test suites on asyncio's loop and on ours, and compare: python -m tests.upstream --help.

A test that passes on asyncio's loop and fails on ours is run once more on each, and if it fails again only on ours, and is
not listed with a reason in suites.toml, the run ends with status 1. So it does if a run of ours made no loop of ours.
Everything is kept in build/upstream: sources, environments, the logs and records of the runs, and the table.
"""

import argparse
import fnmatch
import platform
import signal
import sys
from pathlib import Path

from .suites import BAD, MODES, ROOT, Installed, Result, Suite, build_wheel, load_suites

OUR_LOOP = "asyncio_c.loop.Loop"
HEADER = "| suite | Python | run on | passed | failed | skipped | loops of ours / of asyncio | differs |"


def differing(stock: Result, ours: Result) -> list[str]:
    """Return the tests that fail on ours and do not fail on stock."""
    return sorted(
        test
        for test, outcome in ours.outcomes.items()
        if outcome in BAD and stock.outcomes.get(test) not in BAD
    )


def missing(stock: Result, ours: Result) -> list[str]:
    """Return the tests that passed on stock and did not even begin on ours."""
    return sorted(set(t for t, outcome in stock.outcomes.items() if outcome == "passed") - set(ours.outcomes))


def confirmed(installed: Installed, mode: str, tests: list[str]) -> list[str]:
    """Return those of the tests that fail on ours, and on ours only, when run once more."""
    if not tests:
        return []
    ours, stock = installed.run(mode, tests), installed.run("stock", tests)
    return [t for t in tests if ours.outcomes.get(t) != "passed" and stock.outcomes.get(t) not in BAD]


def is_known(suite: Suite, test: str) -> bool:
    return any(fnmatch.fnmatchcase(test, known["test"]) for known in suite.known)


def row(suite: Suite, mode: str, result: Result, differs: str) -> str:
    ours = result.loops.get(OUR_LOOP, 0)
    cells = (
        f"{suite.name} {suite.version}",
        platform.python_version(),
        mode,
        result.count("passed", "xpassed"),
        result.count(*BAD),
        result.count("skipped", "xfailed"),
        f"{ours} / {sum(result.loops.values()) - ours}",
        differs,
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def compare(suite: Suite, installed: Installed, modes: list[str]) -> tuple[list[str], bool]:
    """Run one suite; return the rows of the table, and whether nothing is wrong."""
    stock = installed.run("stock")
    rows = [row(suite, "asyncio", stock, "")]
    good = stock.finished and stock.count("passed") > 0
    for mode in modes:
        ours = installed.run(mode)
        first = differing(stock, ours)
        failing = confirmed(installed, mode, first) + missing(stock, ours)
        new = [test for test in failing if not is_known(suite, test)]
        mended = [
            test for test, outcome in ours.outcomes.items() if outcome == "passed" and is_known(suite, test)
        ]
        if mended:
            print(f"{suite.name}, {mode}: passed, though known to fail:", *mended, sep="\n  ")
        if any(test not in failing for test in first):
            print(
                f"{suite.name}, {mode}: failed once only:",
                *(t for t in first if t not in failing),
                sep="\n  ",
            )
        for test in failing:
            print(f"{suite.name}, {mode}: {test}\n{ours.texts.get(test, '')}\n")
        rows.append(row(suite, f"asyncio_c, {mode}", ours, ", ".join(failing) or "nothing"))
        good = good and not new and not mended and ours.finished and ours.loops.get(OUR_LOOP, 0) > 0
    return rows, good


def main() -> int:
    suites = {suite.name: suite for suite in load_suites()}
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(suites)}; all by default")
    parser.add_argument(
        "--mode",
        action="append",
        choices=[mode for mode in MODES if mode != "stock"],
        help="loop: asyncio_c.install(), the default; object: the same with TLS by the engine that works on every Python,"
        " by default, too, where a suite uses TLS; patch: asyncio_c.patch()",
    )
    options = parser.parse_args()
    for name in options.suites:
        if name not in suites:
            parser.error(f"no suite {name!r}")
    # As an exception it ends the run in progress, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    folder = ROOT / "build" / "upstream" / f"{sys.version_info.major}.{sys.version_info.minor}"
    folder.mkdir(parents=True, exist_ok=True)
    # Where pytest's search for a configuration ends if a suite has none; ours, further up, is not for it.
    (folder / "pytest.ini").touch()
    wheel = build_wheel(folder)
    table, all_good = [HEADER, "|---" * (HEADER.count("|") - 1) + "|"], True
    for name in options.suites or suites:
        modes = options.mode or (["loop", "object"] if suites[name].tls else ["loop"])
        rows, good = compare(suites[name], Installed(suites[name], folder, wheel), modes)
        print(*rows, sep="\n", flush=True)
        table += rows
        all_good = all_good and good
    Path(folder / "table.md").write_text("\n".join(table) + "\n")
    print("", *table, sep="\n")
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main())
