"""asyncio_c.monitor.prometheus and .opentelemetry: what a parser and a reader of theirs find is what loop.stats() has."""

import re
import socket
import urllib.request

import pytest

import asyncio_c

from .support import ROOT


class Measured:
    """Like a histogram of loop.stats(): six durations."""

    count = 6
    sum = 0.123

    def __iter__(self):
        return iter([(0.0, 0.000001, 1), (0.0009, 0.001, 2), (0.00099, 0.00101, 2), (70.0, 80.0, 1)])

    def percentile(self, percent):
        return percent / 1000


def with_histograms(loop):
    """Return the loop's stats with histograms in them."""

    class Stats:
        lag, callback_times = Measured(), None

        def __getattr__(self, name):
            return getattr(counted, name)

    counted = asyncio_c.Loop.stats(loop)
    return Stats()


@pytest.fixture
def loop(monkeypatch):
    """A loop that has run, and does not run: what it has counted stays. No other one is open."""

    async def main():
        for _ in range(10):
            await asyncio_c.sleep(0)
        await asyncio_c.sleep(0.001)
        reader, writer = await asyncio_c.open_connection(sock=ours)
        writer.write(b"12345")
        await writer.drain()
        theirs.sendall(b"123")
        assert await reader.readexactly(3) == b"123"
        writer.close()
        await writer.wait_closed()

    from asyncio_c.monitor import tasks

    loop = asyncio_c.new_event_loop()
    ours, theirs = socket.socketpair()
    with theirs:
        loop.run_until_complete(main())
    monkeypatch.setattr(tasks, "loops", lambda: {1: loop})
    yield loop
    loop.close()


EXPECTED = {
    "turns_total": "turns",
    "callbacks_total": "callbacks",
    "steps_total": "steps",
    "polls_total": "polls",
    "waiting_seconds_total": "seconds_waiting",
    "working_seconds_total": "seconds_working",
    "received_bytes_total": "bytes_in",
    "sent_bytes_total": "bytes_out",
    "tasks": "tasks",
    "timers": "timers",
    "descriptors": "descriptors",
}


def parsed(text):
    """Return {name of a sample without the prefix: value}, of loop 1."""
    from prometheus_client import parser

    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels["loop"] == "1" and sample.name.startswith("asyncio_c_loop_")
            key = sample.name.removeprefix("asyncio_c_loop_")
            found[(key, sample.labels["le"]) if "le" in sample.labels else key] = sample.value
    return found


def exposed():
    prometheus_client = pytest.importorskip("prometheus_client")
    from asyncio_c.monitor.prometheus import LoopCollector

    registry = prometheus_client.CollectorRegistry()
    registry.register(LoopCollector())
    return prometheus_client.generate_latest(registry).decode()


def test_prometheus(loop):
    found, stats = parsed(exposed()), loop.stats()
    assert found == {name: getattr(stats, attribute) for name, attribute in EXPECTED.items()}
    assert found["sent_bytes_total"] == 5 and found["received_bytes_total"] == 3 and found["steps_total"] > 10


def test_prometheus_histogram(loop, monkeypatch):
    stats = with_histograms(loop)
    monkeypatch.setattr(loop, "stats", lambda: stats)
    found = parsed(exposed())
    assert (found["lag_seconds_count"], found["lag_seconds_sum"]) == (6, 0.123)
    buckets = {name[1]: value for name, value in found.items() if name[0] == "lag_seconds_bucket"}
    assert [buckets[bound] for bound in ("1e-06", "0.0005", "0.001", "0.0025", "50.0", "+Inf")] == [1, 1, 3, 5, 5, 6]  # fmt: skip
    assert list(buckets.values()) == sorted(buckets.values())
    assert not any("callback_seconds" in name for name in found)


def test_what_a_loop_measures(loop):
    loop.measure()
    loop.run_until_complete(asyncio_c.sleep(0.001))
    found, stats = parsed(exposed()), loop.stats()
    assert found["callback_seconds_count"] == stats.callback_times.count > 0
    assert found["callback_seconds_sum"] == stats.callback_times.sum
    assert found["callback_seconds_bucket", "+Inf"] == found["callback_seconds_bucket", "50.0"]
    assert found["lag_seconds_count"] == 1
    observed_times = observed(loop)["asyncio_c.loop.callback"]
    assert observed_times[-1] == (stats.callback_times.max, {"loop": "1", "percentile": 100})


def test_closed_loops_are_told_no_more(loop):
    loop.close()
    assert parsed(exposed()) == {}


def observed(loop):
    """Return {name: [(value, attributes)]} of what a reader of OpenTelemetry finds."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from asyncio_c.monitor.opentelemetry import instrument

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    instrument(provider)
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    found = {
        metric.name: [(point.value, dict(point.attributes)) for point in metric.data.data_points]
        for metric in scope.metrics
    }
    units = {metric.name: metric.unit for metric in scope.metrics}
    assert (units["asyncio_c.loop.received"], units["asyncio_c.loop.working"]) == ("By", "s")
    provider.shutdown()
    return {name: points for name, points in found.items() if points}


def test_opentelemetry(loop):
    stats = loop.stats()
    assert observed(loop) == {
        "asyncio_c.loop." + name.removesuffix("_total").removesuffix("_seconds").removesuffix("_bytes"): [
            (getattr(stats, attribute), {"loop": "1"})
        ]
        for name, attribute in EXPECTED.items()
    }


def test_opentelemetry_percentiles(loop, monkeypatch):
    stats = with_histograms(loop)
    monkeypatch.setattr(loop, "stats", lambda: stats)
    assert observed(loop)["asyncio_c.loop.lag"] == [
        (percent / 1000, {"loop": "1", "percentile": percent}) for percent in (50, 90, 99, 100)
    ]


def recipe(name):
    """Return the code below a name in docs/monitor.md."""
    text = (ROOT / "docs" / "monitor.md").read_text().partition(f"\n**{name}**")[2].partition("\n\n")[2]
    lines = re.match(r"(?:(?: {4}.*)?\n)+", text)[0].splitlines()
    return "\n".join(line[4:] for line in lines)


def test_recipe_for_prometheus(loop, monkeypatch):
    prometheus_client = pytest.importorskip("prometheus_client")
    registry = prometheus_client.CollectorRegistry()
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    served = []
    start = prometheus_client.start_http_server
    monkeypatch.setattr(
        prometheus_client,
        "start_http_server",
        lambda port: served.append((port, *start(0, registry=registry))),
    )
    exec(recipe("Prometheus"), {})
    ((port, server, thread),) = served
    assert port == 8000
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert parsed(text)["steps_total"] == loop.stats().steps


def test_recipe_for_opentelemetry(loop, monkeypatch):
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    monkeypatch.setattr("opentelemetry.metrics._internal.get_meter_provider", lambda: provider)
    exec(recipe("OpenTelemetry"), {})
    names = {metric.name for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics}
    assert "asyncio_c.loop.steps" in names
    provider.shutdown()
