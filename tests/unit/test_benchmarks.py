"""The benchmarks work and tell the truth: no time is asserted here, only results, files and arithmetic."""

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]

if str(ROOT) not in sys.path:  # the benchmarks belong to the repository, not to the installed package
    sys.path.append(str(ROOT))

from benchmarks import chart, core, document, measure, report, standings, targets, threads, worker  # noqa: F401 (core fills OPERATIONS)
from benchmarks.child import SampleFailed
from benchmarks.registry import GROWTH, LIFECYCLE, MEMORY, NATIVE, OBSERVED, OPERATIONS, OTHER
from benchmarks.targets import PEERS, TITLES, installed, load

SVG = "{http://www.w3.org/2000/svg}"


def benchmarks(*arguments):
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)


# ---- Operations ----


def test_groups_have_the_operations_that_the_targets_speak_of():
    groups = [operation.group for operation in OPERATIONS.values()]
    assert [groups.count(group) for group in (NATIVE, OTHER, LIFECYCLE, MEMORY, GROWTH, OBSERVED)] == [
        15,
        18,
        2,
        1,
        4,
        3,
    ]


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_gives_its_expected_result_on_asyncio(name):
    operation = OPERATIONS[name]
    assert operation.description.endswith((".", "each."))
    value = worker.sample(operation, 1, load("asyncio"))  # raises WrongResult
    assert operation.unit == "B" or value > 0


def test_wrong_result_is_an_error():
    operation = replace(OPERATIONS["gather_10"], expect=lambda n: list(range(11)))
    with pytest.raises(worker.WrongResult, match="returned .* expected"):
        worker.sample(operation, 1, load("asyncio"))


# ---- Measuring ----


def test_calibrate_approaches_the_wanted_length():
    asked = []

    def take(n):
        asked.append(n)
        return 1000 + 50 * n  # a fixed cost, and 50 ns each

    n = measure.calibrate(take, 1_000_000)
    assert 500_000 <= take(n) <= 1_500_000
    assert asked == sorted(asked)


def test_calibrate_never_asks_for_less_than_one():
    assert measure.calibrate(lambda n: 10**9, 1000) == 1


def test_unknown_target_says_so():
    with pytest.raises(measure.SampleFailed, match="unknown target 'nonsense'"):
        measure.Worker("nonsense")


def test_crashed_worker_is_reported_and_replaced():
    workers = measure.Workers()
    try:
        first = workers.get("asyncio")
        assert workers.get("asyncio") is first
        first.process.terminate()
        first.process.wait()
        with pytest.raises(measure.SampleFailed, match="ended with status -15"):
            first.sample(OPERATIONS["gather_10"], 1)
        assert workers.sample("asyncio", OPERATIONS["gather_10"], 1) > 0
    finally:
        workers.close()


def test_failed_target_does_not_stop_the_others():
    class Fake:
        def sample(self, target, operation, n):
            if target == "uvloop":
                raise measure.SampleFailed("TypeError: no")
            return n * 1000

    measured = measure.measure_operation(
        OPERATIONS["gather_10"], ["uvloop", "asyncio"], Fake(), 4, 1, lambda text: None
    )
    assert measured["uvloop"] == {"error": "TypeError: no"}
    assert measured["asyncio"]["median"] == 100  # per operation, of which an iteration holds ten
    assert len(measured["asyncio"]["samples"]) == 4


# ---- Other loops ----


class ForeignLoop(asyncio.SelectorEventLoop):
    __module__ = "rloop.loop"


def test_another_loop_is_a_target_where_it_is_installed(monkeypatch):
    there = types.SimpleNamespace(new_event_loop=ForeignLoop)
    monkeypatch.setitem(sys.modules, "rloop", there)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"version of {name}")
    target = load("rloop")
    assert target.version == "version of rloop"
    described = worker.describe(target)  # raises unless the loop is of that package
    assert described["loop"] == "rloop.loop.ForeignLoop"
    there.new_event_loop = asyncio.SelectorEventLoop
    with pytest.raises(RuntimeError, match="the loop of target rloop is of class asyncio"):
        worker.describe(load("rloop"))


def test_asyncio_is_only_its_own_loop():
    loop = ForeignLoop()
    loop.close()
    assert targets.belongs("rloop", loop) and not targets.belongs("asyncio", loop)


def test_of_other_loops_those_are_measured_that_are_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "zloop" or None)
    assert installed(TITLES) == [name for name in TITLES if name not in PEERS or name == "zloop"]


# ---- Report and chart ----


def made_up(**medians):
    """Return a result of which each target has the given medians, one per operation; all vary alike."""

    def measured(median):
        if median is None:
            return {"error": "WrongResult: returned 1, expected 2"}
        samples = [median * factor for factor in (0.95, 0.95, 1, 1, 1, 1.05, 1.05)]
        return measure.summarise(samples, iterations=1)

    operations = list(OPERATIONS.values())[: len(next(iter(medians.values())))]
    return {
        **measure.machine(),
        "rounds": 1,
        "sample_ms": 1,
        "gc": "enabled",
        "targets": {
            name: {"title": TITLES[name], "version": "1.0", "loop": "Loop", "task": "Task", "sleep": "sleep"}
            for name in (key.replace("_", "-") for key in medians)
        },
        "operations": [
            {
                "name": operation.name,
                "title": operation.title,
                "group": operation.group,
                "unit": operation.unit,
                "targets": {key.replace("_", "-"): measured(values[i]) for key, values in medians.items()},
            }
            for i, operation in enumerate(operations)
        ],
    }


def test_ratios_and_geometric_means():
    result = made_up(asyncio=[900.0, 900.0], uvloop=[400.0, 900.0], patched=[100.0, 100.0])
    assert report.ratio(result["operations"][0], "uvloop", "patched") == 4
    assert report.mean_ratio(result, "uvloop", "patched", (NATIVE,)) == (pytest.approx(6), 2)
    assert report.mean_ratio(result, "uvloop", "loop-only", (NATIVE,)) == (None, 0)
    native, core_operations = report.summary(result)
    assert (native["geometric_mean"], native["target"], native["met"]) == (6, 5, True)
    assert (core_operations["geometric_mean"], core_operations["target"], core_operations["met"]) == (
        6,
        3,
        True,
    )


def test_ratio_is_taken_round_by_round():
    result = made_up(uvloop=[400.0], patched=[100.0])
    for target, values in {"uvloop": [400, 4000, 500], "patched": [100, 1000, 100]}.items():
        result["operations"][0]["targets"][target]["samples"] = values
    assert report.ratio(result["operations"][0], "uvloop", "patched") == 4
    assert report.ratio(result["operations"][0], "uvloop", "asyncio") is None


def test_failed_operation_meets_no_target():
    result = made_up(uvloop=[900.0, 900.0], patched=[100.0, None])
    assert [(row["operations"], row["met"]) for row in report.summary(result)] == [(1, False), (1, False)]


def test_verdicts():
    result = made_up(asyncio=[900.0] * 4, uvloop=[400.0] * 4, patched=[200.0, 210.0, 300.0, None])
    result["operations"][1]["targets"]["patched"]["samples"][-2:] = [
        200.0,
        200.0,
    ]  # reached in two of seven rounds
    verdicts = [report.verdict(entry, "patched") for entry in result["operations"]]
    assert verdicts == ["met", "noise", "MISSED", "FAILED"]
    assert len(report.failures(result)) == 1
    text = report.table(result)
    assert "2.00x" in text and "MISSED" in text and "expected 2" in text


def test_chart_has_a_bar_for_each_ratio():
    result = made_up(asyncio=[900.0] * 3, uvloop=[400.0, 900.0, 1800.0], patched=[90.0, 100.0, None])
    root = ElementTree.fromstring(chart.draw(result))
    bars = [rect for rect in root.iter(SVG + "rect") if rect.get("height") == str(chart.BAR - 1)]
    assert len(bars) == 2 * 2 + 3 + 2  # two rows of geometric means, and the operations
    assert {text.text for text in root.iter(SVG + "text")} >= {
        "10",
        "2.2",
        "0.50",
        "uvloop",
        "sleep(0), one task",
    }
    assert all(float(bar.get("width")) > 0 for bar in bars)


def test_a_bar_that_is_far_longer_than_others_is_cut_off():
    result = made_up(asyncio=[900.0, 900.0 * 1000], patched=[90.0, 900.0])
    root = ElementTree.fromstring(chart.draw(result))
    bars = [rect for rect in root.iter(SVG + "rect") if rect.get("height") == str(chart.BAR - 1)]
    ten, thousand = (float(bar.get("width")) for bar in bars[-2:])
    assert thousand == pytest.approx(2 * ten, abs=1)  # on a logarithmic axis to a hundred
    assert "1000 »" in {text.text for text in root.iter(SVG + "text")}


def test_chart_of_asyncio_alone_says_that_it_is_empty():
    assert "Nothing to compare" in chart.draw(made_up(asyncio=[900.0]))


def test_summary_has_a_row_for_each_mean_and_python(tmp_path):
    result = made_up(asyncio=[900.0] * 3, uvloop=[400.0, 900.0, 1800.0], patched=[90.0, 100.0, None])
    paths = [tmp_path / f"{version}.json" for version in ("3.11", "3.14")]
    for path in paths:
        path.write_text(json.dumps({**result, "python": f"{path.stem}.1"}))
    done = benchmarks("summary", *paths, "--svg", tmp_path / "summary.svg")
    assert (done.returncode, done.stderr) == (0, "")
    root = ElementTree.parse(tmp_path / "summary.svg")
    bars = [rect for rect in root.iter(SVG + "rect") if rect.get("height") == str(chart.BAR - 1)]
    # The three operations are among the tasks and among all; of uvloop and of us, on two Pythons.
    assert len(bars) == 2 * 2 * 2
    words = {text.text for text in root.iter(SVG + "text")}
    assert words >= {
        "tasks, timers, callbacks, 3.11",
        "tasks, timers, callbacks, 3.14",
        "all of the core, 3.14",
        "9.5",
    }
    assert "timeout, wait_for, shield, 3.14" not in words


def test_summary_of_all_targets_has_those_of_any_result(tmp_path):
    results = [made_up(asyncio=[900.0], uvloop=[300.0], patched=[100.0])]
    results.append(made_up(asyncio=[900.0], rsloop=[450.0], patched=[100.0]))
    words = [
        {text.text for text in ElementTree.fromstring(chart.draw_summary(results, chosen)).iter(SVG + "text")}
        for chosen in (None, ("rsloop", "patched"))
    ]
    assert words[0] >= {"uvloop", "rsloop", "asyncio_c, patched", "2.0", "3.0"}
    assert words[1] >= {"rsloop", "2.0"} and not words[1] & {"uvloop", "3.0"}


def test_legend_of_many_targets_stays_on_the_chart():
    names = [name.replace("-", "_") for name in chart.COLOURS if name != "floor"]
    result = made_up(asyncio=[900.0], **dict.fromkeys(names, [300.0]))
    root = ElementTree.fromstring(chart.draw_summary([result], None))
    squares = [rect for rect in root.iter(SVG + "rect") if rect.get("width") == rect.get("height") == "12"]
    assert len(squares) == len(names)
    assert all(float(square.get("x")) < chart.WIDTH - 60 for square in squares)
    assert len({square.get("y") for square in squares}) == 2
    bars = [rect for rect in root.iter(SVG + "rect") if rect.get("height") == str(chart.BAR - 1)]
    assert max(float(square.get("y")) for square in squares) + 12 < min(float(bar.get("y")) for bar in bars)


def test_standings_have_a_column_for_each_python_and_mean():
    old = made_up(asyncio=[900.0, 900.0], uvloop=[300.0, 300.0], rloop=[100.0, None])
    new = {
        **made_up(asyncio=[900.0, 900.0], uvloop=[300.0, 300.0], patched=[100.0, 50.0]),
        "python": "3.15.1",
    }
    python = f"CPython {old['python']}"
    words = ("tasks, timers, callbacks", "all of the core")
    header = [f"{python}: {words[0]}", f"{python}: {words[1]}"]
    header += [f"CPython 3.15.1: {words[0]}", f"CPython 3.15.1: {words[1]}"]
    assert standings.standings([old, new]).splitlines() == [
        f"| geometric mean, times uvloop | {' | '.join(header)} |",
        "| --- | --- | --- | --- | --- |",
        "| asyncio 1.0 | 0.33 | 0.33 | 0.33 | 0.33 |",
        "| uvloop 1.0 | 1.00 | 1.00 | 1.00 | 1.00 |",
        "| rloop 1.0 | 3.00 (1 of 2) | 3.00 (1 of 2) |  |  |",
        "| asyncio_c, patched 1.0 |  |  | 4.24 | 4.24 |",
    ]


def test_standings_of_servers_and_memory():
    target = {"title": "uvloop", "version": "1.0", "loop": "Loop"}
    entry = {"title": "Protocol", "targets": {"uvloop": {"median": 1e4}, "zloop": {"error": "it hangs"}}}
    net = {
        "suite": "net",
        "python": "3.13.0",
        "targets": {"uvloop": target, "zloop": target},
        "operations": [entry],
    }
    idle = {"suite": "idle", "python": "3.13.0", "connections": 10000, "targets": {"uvloop": dict(target)}}
    idle["targets"]["uvloop"]["kinds"] = {"protocol": {"median": 1234.5, "samples": []}}
    assert standings.standings([net, idle]).splitlines() == [
        "| requests per second, CPython 3.13.0 | uvloop | zloop |",
        "| --- | --- | --- |",
        "| Protocol | 100,000 | failed |",
        "",
        "| bytes of an idle connection | CPython 3.13.0: 10,000 plain |",
        "| --- | --- |",
        "| uvloop 1.0 | 1,234 |",
    ]


def test_standings_are_written_between_their_marks(tmp_path):
    result, page = tmp_path / "result.json", tmp_path / "page.md"
    result.write_text(json.dumps(made_up(uvloop=[300.0], patched=[100.0])))
    page.write_text("before\n<!-- standings: begin -->\nold\n<!-- standings: end -->\nafter\n")
    done = benchmarks("standings", result, "--write", page)
    assert (done.returncode, done.stderr) == (0, "")
    assert page.read_text() == (
        f"before\n<!-- standings: begin -->\n{done.stdout}<!-- standings: end -->\nafter\n"
    )
    with pytest.raises(ValueError, match="no place for conformance"):
        document.replace(page, "conformance", "")


# ---- Command line ----


def test_list_names_every_operation():
    done = benchmarks("core", "--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(OPERATIONS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "no such thing"], "no operation matches"),
        (["--only", "("], "not a regular expression"),
        (["--targets", "trio"], "unknown target 'trio'"),
        (["--rounds", "0"], "at least 1"),
    ],
)
def test_wrong_arguments(arguments, words):
    done = benchmarks("core", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_run_writes_json_and_svg_and_show_prints_it_again(tmp_path):
    json_path, svg_path = tmp_path / "result.json", tmp_path / "chart.svg"
    options = ["--quick", "--only", "^gather_10$|^loop_open", "--targets", "asyncio"]
    done = benchmarks("core", *options, "--json", json_path, "--svg", svg_path)
    assert done.returncode == 0, done.stderr
    assert "gather of 10 (ns): asyncio" in done.stderr

    result = json.loads(json_path.read_text())
    assert (
        result["python"] == ".".join(map(str, sys.version_info[:3]))
        or sys.version_info.releaselevel != "final"
    )
    assert result["cpu_count"] and result["date"] and result["rounds"] == 3
    assert result["targets"]["asyncio"]["loop"].startswith("asyncio.")
    assert result["targets"]["asyncio"]["task"] == "_asyncio.Task"
    assert [entry["name"] for entry in result["operations"]] == ["gather_10", "loop_open_close"]
    for entry in result["operations"]:
        measured = entry["targets"]["asyncio"]
        assert len(measured["samples"]) == 3
        assert measured["q1"] <= measured["median"] <= measured["q3"]
        assert measured["iterations"] >= 1
    ElementTree.fromstring(svg_path.read_text())

    shown = benchmarks("show", json_path)
    assert shown.returncode == 0
    assert shown.stdout == done.stdout
    assert "gather of 10" in shown.stdout
    one = benchmarks("show", json_path, "--targets", "asyncio")
    assert one.returncode == 0 and "gather of 10" in one.stdout and "patched" not in one.stdout
    none = benchmarks("show", json_path, "--targets", "asyncio,zloop")
    assert none.returncode == 2 and "no result of zloop" in none.stderr


@pytest.mark.parametrize("workload", ["sleep0", "create_task", "queue", "threadsafe"])
def test_each_of_two_threads_does_its_part(workload):
    with contextlib.closing(threads.Worker("patched")) as worker:
        answer = worker.ask({"do": workload, "threads": 2, "window": 0.01})["threads"]
    assert len(answer) == 2
    assert all(one["operations"] > 0 and one["cpu_ns"] > 0 for one in answer)


def test_what_a_worker_for_threads_cannot_do_it_says():
    with contextlib.closing(threads.Worker("asyncio")) as worker:
        with pytest.raises(SampleFailed, match="KeyError: 'no such workload'"):
            worker.ask({"do": "no such workload", "threads": 1, "window": 0.01})
        assert worker.ask({"do": "sleep0", "threads": 1, "window": 0.01})["threads"]


def test_table_of_threads_compares_with_one_thread():
    one, two = {"rate": 1000.0, "cpu_ns": 900.0}, {"rate": 1900.0, "cpu_ns": 950.0}
    result = {
        "python": "3.14.0",
        "rounds": 5,
        "window": 0.5,
        "threads": [1, 2],
        "targets": {"patched": {"gil": False}},
        "workloads": [{"name": "queue", "targets": {"patched": {"1": one, "2": two}}}],
    }
    text = threads.table(result)
    assert "| queue | patched | 1,000 | 900 | 1,900 (1.90x) | 950 |" in text
    assert "Python 3.14.0, without a GIL" in text
