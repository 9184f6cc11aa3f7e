"""All targets beside each other, of several results, as Markdown: what `python -m benchmarks standings` prints."""

from __future__ import annotations

from typing import Any

from . import report
from .registry import NATIVE, OTHER
from .targets import TITLES

RIVAL = "uvloop"


def standings(results: list[dict[str, Any]]) -> str:
    """Return the tables of these results, those of a suite together. Raises ValueError if there is nothing to compare."""
    tables = [
        core([result for result in results if result.get("suite", "core") == "core"]),
        *(net(result) for result in results if result.get("suite") == "net"),
        idle([result for result in results if result.get("suite") == "idle"]),
    ]
    found = [table for table in tables if table]
    if not found:
        raise ValueError("no result has a target to compare")
    return "\n".join(found)


def python(result: dict[str, Any]) -> str:
    return f"CPython {result['python']}"


def present(results: list[dict[str, Any]]) -> list[str]:
    """Return the targets that could be loaded for any of the results, in the order of TITLES."""
    return [name for name in TITLES if any(name in report.usable_targets(result) for result in results)]


def title(name: str, results: list[dict[str, Any]]) -> str:
    """Return the title of a target with its version, or its versions if the results have several."""
    about = [result["targets"][name] for result in results if name in report.usable_targets(result)]
    versions = sorted({one.get("version", "") for one in about})
    return " ".join([TITLES[name], ", ".join(filter(None, versions))]).strip()


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def core(results: list[dict[str, Any]]) -> str:
    """Return the geometric means over uvloop, of the tasks and of all, for each Python; "" without a result."""
    if not results:
        return ""
    means = (("tasks, timers, callbacks", (NATIVE,)), ("all of the core", (NATIVE, OTHER)))
    header = [f"geometric mean, times {RIVAL}"]
    header += [f"{python(result)}: {words}" for result in results for words, _ in means]
    rows = [
        [title(name, results)]
        + [mean_cell(result, name, groups) for result in results for _, groups in means]
        for name in present(results)
    ]
    return markdown(header, rows)


def mean_cell(result: dict[str, Any], name: str, groups: tuple[str, ...]) -> str:
    """Return a mean, and of how many operations it is where the target did not do all of them."""
    value, count = report.mean_ratio(result, RIVAL, name, groups)
    if value is None:
        return ""
    operations = sum(entry["group"] in groups for entry in result["operations"])
    return f"{value:.2f}" + (f" ({count} of {operations})" if count < operations else "")


def net(result: dict[str, Any]) -> str:
    """Return the requests per second of each case."""
    names = present([result])
    header = [f"requests per second, {python(result)}", *(TITLES[name] for name in names)]
    rows = [
        [entry["title"], *(rate_cell(entry["targets"].get(name)) for name in names)]
        for entry in result["operations"]
    ]
    return markdown(header, rows)


def rate_cell(measured: dict[str, Any] | None) -> str:
    if measured is None:
        return ""
    return "failed" if "error" in measured else f"{round(1e9 / measured['median'], -2):,.0f}"


def idle(results: list[dict[str, Any]]) -> str:
    """Return the bytes of an idle connection, for each Python and kind; "" without a result."""
    columns = [
        (result, kind)
        for result in results
        for kind in dict.fromkeys(kind for one in result["targets"].values() for kind in one.get("kinds", {}))
    ]
    if not columns:
        return ""
    words = {"protocol": "plain", "tls": "over TLS"}
    header = [
        "bytes of an idle connection",
        *(f"{python(result)}: {result['connections']:,} {words[kind]}" for result, kind in columns),
    ]
    rows = [
        [title(name, results)]
        + [idle_cell(result["targets"].get(name, {}).get("kinds", {}).get(kind)) for result, kind in columns]
        for name in present(results)
    ]
    return markdown(header, rows)


def idle_cell(measured: dict[str, Any] | None) -> str:
    if measured is None:
        return ""
    return "failed" if "error" in measured else f"{measured['median']:,.0f}"
