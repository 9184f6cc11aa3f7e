"""The network benchmarks work and tell the truth: no time is asserted here, only bytes, counts, files and arithmetic."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]

if str(ROOT) not in sys.path:  # the benchmarks belong to the repository, not to the installed package
    sys.path.append(str(ROOT))

from benchmarks import chart, measure
from benchmarks.child import SampleFailed
from benchmarks.net import idle, programs, report, run, servers
from benchmarks.net.cases import CASES, KINDS
from benchmarks.targets import NET_TARGETS, TITLES

SVG = "{http://www.w3.org/2000/svg}"
LIMIT = 120  # seconds; nothing here takes as many, and nothing may hang

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CC", "cc")) is None, reason="the load generator is compiled on demand"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The compiled programs."""
    return programs.Programs(tmp_path_factory.mktemp("net"))


# ---- Cases ----


def test_each_kind_has_a_program_that_is_described():
    assert set(servers.PROGRAMS) == set(KINDS)
    assert all(case.description.endswith(".") for case in CASES.values())


def test_names_and_titles_say_what_is_measured():
    case = CASES["protocol-16k-100"]
    assert (case.kind.name, case.size, case.connections) == ("protocol", 16384, 100)
    assert case.title == "Protocol, 16 KiB, 100 connections"
    assert CASES["connect-1"].title == "connect, echo, close, 1 connection"


def test_cases_run_where_they_make_a_difference():
    assert [target for target in NET_TARGETS if not CASES["protocol-1k-1"].runs_on(target)] == ["patched"]
    assert [target for target in NET_TARGETS if not CASES["tls-1k-1"].runs_on(target)] == ["patched"]
    assert all(CASES["streams-1k-1"].runs_on(target) for target in NET_TARGETS)


def test_the_floor_answers_what_the_http_servers_do():
    text = (programs.HERE / "floor.c").read_text()
    assert f"content-length: {len(servers.HTTP_BODY)}" in text and servers.HTTP_BODY.decode() in text


# ---- Samples ----

WRK_REPORT = """Running 1s test @ http://127.0.0.1:1/
  1 threads and 10 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   101.24us  340.42us   9.46ms   98.75%
    Req/Sec   141.62k    13.25k  158.82k    81.82%
  Latency Distribution
     50%   61.00us
     75%   82.00us
     90%  107.00us
     99%    1.34ms
  154899 requests in 1.10s, 16.10MB read
Requests/sec: 140845.36
Transfer/sec:     14.64MB
"""


def test_wrk_report():
    assert run.parse_wrk(WRK_REPORT) == {
        "requests": 154899,
        "completed": 154899,
        "window_ns": pytest.approx(1.1e9),
        "p50_ns": pytest.approx(61e3),
        "p99_ns": pytest.approx(1.34e6),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (WRK_REPORT + "  Non-2xx or 3xx responses: 3\n", "responses: 3"),
        (WRK_REPORT + "  Socket errors: connect 0, read 7, write 0, timeout 0\n", "read 7"),
        (WRK_REPORT.replace("99%", "98%"), "not understood"),
        ("", "not understood"),
    ],
)
def test_wrk_report_that_is_no_measurement(text, words):
    with pytest.raises(SampleFailed, match=words):
        run.parse_wrk(text)


def load(**changes):
    return {
        "requests": 1000,
        "completed": 1250,
        "window_ns": 10**9,
        "p50_ns": 5000,
        "p99_ns": 9000,
        **changes,
    }


def test_sample_is_per_request():
    sample = run.sample_of(load(), (1_000_000, 2_000_000), (6_000_000, 4_500_000))
    # What was begun within the window and answered after it cost CPU time too, but is not part of the rate.
    assert (sample["ns"], sample["user_ns"], sample["system_ns"]) == (10**6, 4000, 2000)


def test_window_without_an_answer_is_an_error():
    with pytest.raises(SampleFailed, match="no request"):
        run.sample_of(load(requests=0), (0, 0), (1, 1))


def test_summary_has_medians():
    samples = [run.sample_of(load(requests=n, completed=n), (0, 0), (n, n)) for n in (1000, 4000, 2000)]
    summary = run.summarise(samples)
    assert (summary["median"], summary["iterations"], summary["p99_ns"]) == (500_000, 2000, 9000)
    assert summary["cpu_samples"] == [2, 2, 2]


# ---- Report ----


def measured(ns, cpu_ns):
    samples = [ns * factor for factor in (0.9, 1, 1, 1, 1.1)]
    summary = measure.summarise(samples, 1)
    latencies = {"p50_ns": ns, "p99_ns": 2 * ns, "user_ns": cpu_ns / 4, "system_ns": cpu_ns * 3 / 4}
    return {**summary, **latencies, "cpu_samples": [cpu_ns] * 5}


def made_up(**targets):
    """Return a result with cases by name, where `targets` is {target: {case: measured or an error text}}."""
    names = list(dict.fromkeys(name for cases in targets.values() for name in cases))
    return {
        "suite": "net",
        **measure.machine(),
        "rounds": 5,
        "sample_ms": 500,
        "http_load": "wrk",
        "cpus": [[0], [1]],
        "groups": {kind.name: kind.title for kind in KINDS.values()},
        "left_out": [{"title": "HTTP by uvicorn, 1 connection", "reason": "not installed: uvicorn"}],
        "targets": {
            key.replace("_", "-"): {"title": TITLES[key.replace("_", "-")], "version": "1.0", "loop": "Loop"}
            for key in targets
        },
        "operations": [
            {
                "name": name,
                "title": CASES[name].title,
                "label": CASES[name].label,
                "group": CASES[name].kind.name,
                "size": CASES[name].size,
                "connections": CASES[name].connections,
                "targets": {
                    key.replace("_", "-"): cases[name] for key, cases in targets.items() if name in cases
                },
            }
            for name in names
        ],
    }


def test_targets_of_the_project_are_judged():
    result = made_up(
        uvloop={"protocol-1k-10": measured(8000, 7000), "sock-1k-100": measured(40_000, 1000)},
        loop_only={"protocol-1k-10": measured(8000, 8000), "sock-1k-100": measured(10_500, 1000)},
        patched={"sock-1k-100": {"error": "it hung"}},
        floor={"protocol-1k-10": measured(5000, 5000), "sock-1k-100": measured(5000, 5000)},
    )
    rows = report.summary(result)
    assert [(row["mode"], row["what"], row["rival"], row["ratio"], row["verdict"]) for row in rows] == [
        ("loop-only", "requests", "uvloop", 1.0, "met"),
        ("loop-only", "requests", "floor", 0.625, "MISSED"),
        ("loop-only", "1 / CPU per request", "uvloop", 0.875, "MISSED"),
        ("patched", "requests", "uvloop", None, "FAILED"),
        ("loop-only", "requests", "uvloop", 3.81, "MISSED"),
    ]
    text = report.table(result)
    assert "FAILED: sock_recv, sock_sendall, 1 KiB, 100 connections on patched: it hung" in text
    assert "left out: HTTP by uvicorn, 1 connection: not installed: uvicorn" in text
    assert "125,000 ±0%" in text and "8.0 / 16.0" in text and "2.0 + 6.0" in text and "0.62x" in text


def test_target_that_some_rounds_reach_is_noise():
    ours = measured(8800, 1)
    ours["samples"] = [8800, 8800, 8800, 7000, 7000]
    theirs = measured(8000, 1)
    theirs["samples"] = [8000] * 5
    result = made_up(uvloop={"protocol-1k-10": theirs}, loop_only={"protocol-1k-10": ours})
    assert [row["verdict"] for row in report.summary(result)] == ["noise", "met"]


def test_other_sizes_and_counts_are_not_judged():
    cases = {"protocol-16k-10": measured(1, 1), "protocol-1k-1": measured(1, 1)}
    result = made_up(asyncio=cases, uvloop=cases, loop_only=cases)
    assert report.summary(result) == []
    assert "No target of the project is judged" in report.table(result)


def test_chart_has_a_bar_for_each_target_that_was_measured():
    cases = {"streams-1k-1": measured(8000, 1)}
    result = made_up(asyncio=cases, uvloop=cases, patched={"streams-1k-1": measured(800, 1)}, floor=cases)
    root = ElementTree.fromstring(chart.draw(result))
    bars = [rect for rect in root.iter(SVG + "rect") if rect.get("height") == str(chart.BAR - 1)]
    assert len(bars) == 3
    assert {text.text for text in root.iter(SVG + "text")} >= {"10", "1 KiB, 1 connection", "streams"}


# ---- Programs ----


@needs_compiler
def test_no_compiler_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    with pytest.raises(SampleFailed, match="no-such-compiler"):
        programs.Programs(tmp_path)


@needs_compiler
@pytest.mark.parametrize("target", ["asyncio", "floor"])
def test_server_ends_with_its_parent(built, target):
    server = run.Server(target, KINDS["protocol"], built)
    try:
        assert min(server.cpu_times()) >= 0
        server.process.stdin.close()  # as the kernel does when the parent dies
        assert server.process.wait(LIMIT) == 0
    finally:
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()


class FakeServer:
    """A server in a thread that answers the first bytes of its only client with `answer(bytes)`, until it has left."""

    def __init__(self, answer):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LIMIT)
        self.address = str(self.listener.getsockname()[1])
        self.answer = answer
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        with self.listener.accept()[0] as client:
            client.settimeout(LIMIT)
            client.sendall(self.answer(client.recv(1 << 20)))
            client.shutdown(socket.SHUT_WR)
            try:
                while client.recv(1 << 20):
                    pass
            except ConnectionResetError:
                pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.thread.join()
        self.listener.close()


@needs_compiler
@pytest.mark.parametrize(
    ("case", "answer", "words"),
    [
        ("protocol-1k-1", lambda data: data[:-2] + b"?\n", "not the bytes sent"),
        ("protocol-1k-1", lambda data: data[:-1], "end of stream after 1023 bytes"),
        ("uvicorn-1", lambda data: b"HTTP/1.1 404 Not Found\r\ncontent-length: 13\r\n\r\n", "404 Not Found"),
        ("uvicorn-1", lambda data: b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n", "Content-Length of 13"),
        (
            "uvicorn-1",
            lambda data: b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, world!!",
            "1 bytes more",
        ),
    ],
)
def test_load_generator_notices_a_wrong_answer(built, case, answer, words):
    with FakeServer(answer) as server, pytest.raises(SampleFailed, match=words):
        run.Generator(CASES[case], server, built)


@needs_compiler
def test_load_generator_says_that_nobody_listens(built):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = str(listener.getsockname()[1])
    server = type("Gone", (), {"address": address})
    with pytest.raises(SampleFailed, match="refused|Connection reset"):
        run.Generator(CASES["protocol-1k-1"], server, built)


FLOOR_CASES = ["protocol-1k-1", "unix-100k-10", "connect-10", "udp-1k-10", "uvicorn-10"]
FLOOR_CASES += ["tls-1k-1", "tls-100k-10", "handshake-10", "handshake_rsa-1", "resumption-10"]


@contextlib.contextmanager
def loaded(target, case, built):
    """A server of a case and the load generator, which has compared thousands of its answers: `(server, generator)`."""
    if target == "floor":  # in C: it needs no module
        reason = built.no_tls if case.kind.uses_tls else ""
    else:
        reason = run.reason_to_leave_out(case, built)
    if reason:
        pytest.skip(reason)
    with contextlib.closing(run.Server(target, case.kind, built)) as server:
        with contextlib.closing(run.Generator(case, server, built)) as generator:
            yield server, generator


@needs_compiler
@pytest.mark.parametrize("name", FLOOR_CASES)
def test_windows_on_the_floor_count_and_measure(built, name):
    case = CASES[name]
    with loaded("floor", case, built) as (server, generator):
        for _ in range(2):
            seen = generator.window(20)
            assert 0 < seen["requests"] <= seen["completed"] <= seen["requests"] + case.connections
            # The latencies of a connection add up to at most the window, and half of them are not below the
            # median: so this holds on any machine, but for the width of a bucket.
            mean_ns = case.connections * seen["window_ns"] / seen["requests"]
            assert 0 < seen["p50_ns"] <= 2.02 * mean_ns
            assert seen["p50_ns"] <= seen["p99_ns"] <= 101 * mean_ns
        assert sum(server.cpu_times()) > 0


@needs_compiler
@pytest.mark.parametrize(
    "kind",
    ["protocol", "buffered", "streams", "readline", "sock", "unix", "tls", "tls_streams", "two_writes"],
)
def test_programs_echo_messages_that_do_not_fit_into_one_read(built, kind):
    case = next(case for case in reversed(CASES.values()) if case.kind.name == kind)
    with loaded("asyncio", case, built):
        pass  # a wrong answer raises


@needs_compiler
@pytest.mark.parametrize("kind", ["handshake", "resumption"])
def test_connections_with_a_handshake_each(built, kind):
    """The generator fails where a session is not resumed that could be."""
    with loaded("asyncio", CASES[f"{kind}-10"], built) as (_, generator):
        assert generator.window(20)["requests"] > 0


@needs_compiler
@pytest.mark.parametrize("kind", ["uvicorn", "aiohttp", "uvicorn_tls", "aiohttp_tls"])
def test_http_servers_are_loaded(built, kind):
    with loaded("asyncio", CASES[f"{kind}-1"], built) as (_, generator):
        assert generator.window(20)["requests"] > 0


# ---- Command line ----


def benchmarks(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, **environment},
    )


def test_list_names_every_case():
    done = benchmarks("net", "--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(CASES)


@needs_compiler
def test_run_writes_json_and_svg_and_show_prints_it_again(tmp_path):
    json_path, svg_path, temporary = tmp_path / "result.json", tmp_path / "chart.svg", tmp_path / "temporary"
    temporary.mkdir()
    options = ["--quick", "--rounds", "2", "--only", "^(protocol|udp)-1k-1$|^connect-1$"]
    options += ["--targets", "asyncio,loop-only,floor", "--json", json_path, "--svg", svg_path]
    done = benchmarks("net", *options, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Protocol, 1 KiB, 1 connection (requests/s): asyncio" in done.stderr
    assert not list(temporary.iterdir())

    result = json.loads(json_path.read_text())
    assert result["suite"] == "net" and result["rounds"] == 2 and result["http_load"] != "wrk"
    assert result["targets"]["loop-only"]["loop"].startswith("asyncio_c.")
    assert [entry["name"] for entry in result["operations"]] == ["protocol-1k-1", "connect-1", "udp-1k-1"]
    for entry in result["operations"]:
        assert set(entry["targets"]) == {"asyncio", "loop-only", "floor"}
        for measured in entry["targets"].values():
            assert len(measured["samples"]) == len(measured["cpu_samples"]) == 2
            assert 0 < measured["p50_ns"] <= measured["p99_ns"]
            assert measured["iterations"] > 0
    ElementTree.fromstring(svg_path.read_text())

    shown = benchmarks("show", json_path)
    assert (shown.returncode, shown.stdout) == (0, done.stdout)
    only = benchmarks("show", json_path, "--only", "udp")
    assert "datagrams" in only.stdout and "Protocol, 1 KiB" not in only.stdout
    assert benchmarks("show", json_path, "--only", "no such case").returncode == 2


@needs_compiler
def test_memory_of_idle_connections(built, capsys):
    if built.no_tls:
        pytest.skip(built.no_tls)
    assert idle.main(["--connections", "20", "--samples", "1", "--targets", "asyncio"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header == "bytes of an idle connection, of 20: protocol, tls"
    plain, tls = (int(cell.replace(",", "")) for cell in row.split()[1:])
    assert tls > plain


@needs_compiler
def test_memory_of_plain_connections_alone_is_written_as_json(tmp_path, capsys):
    path = tmp_path / "idle.json"
    options = ["--connections", "5", "--samples", "2", "--targets", "asyncio,floor", "--kinds", "protocol"]
    assert idle.main([*options, "--json", str(path)]) == 0
    assert "tls" not in capsys.readouterr().out
    result = json.loads(path.read_text())
    assert (result["suite"], result["connections"], result["cpu_count"]) == ("idle", 5, os.cpu_count())
    for about in result["targets"].values():
        assert about["kinds"].keys() == {"protocol"}
        assert len(about["kinds"]["protocol"]["samples"]) == 2


def test_more_connections_than_descriptors_are_refused_in_a_sentence(monkeypatch, capsys):
    def refuse(which, limits):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(idle.resource, "setrlimit", refuse)
    with pytest.raises(SystemExit):
        idle.main(["--connections", "1000000000"])
    assert "1000000000 connections need 1000000100 descriptors" in capsys.readouterr().err


def test_the_best_of_several_processes_counts():
    names = run.process_names("uvloop", 2)
    samples = {
        name: [run.sample_of(load(requests=n, completed=n), (0, 0), (n, n))]
        for name, n in zip(names, (1000, 4000), strict=True)
    }
    best = run.best_process(samples, {}, names)
    assert (best["median"], best["processes"]) == (250_000, [250_000, 1_000_000])
    assert run.best_process(samples, {names[1]: "it hangs"}, names) == {"error": "it hangs"}
