"""opentelemetry-instrumentation-asyncio: spans and counts of coroutines, futures and functions in threads, by wrapt."""

import asyncio
import os

os.environ.update(
    OTEL_PYTHON_ASYNCIO_COROUTINE_NAMES_TO_TRACE="child",
    OTEL_PYTHON_ASYNCIO_FUTURE_TRACE_ENABLED="true",
    OTEL_PYTHON_ASYNCIO_TO_THREAD_FUNCTION_NAMES_TO_TRACE="in_a_thread",
)

import common
from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

WRAPPED = ["create_task", "ensure_future", "wait", "wait_for", "as_completed", "gather", "to_thread"]


async def child(outcome=None):
    await asyncio.sleep(0.001)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def in_a_thread():
    return "thread"


async def every_way_to_make_a_task():
    assert await asyncio.create_task(child(1)) == 1
    assert await asyncio.gather(child(2), asyncio.ensure_future(child(3))) == [2, 3]
    await asyncio.wait([asyncio.ensure_future(child(4))])
    assert await asyncio.wait_for(child(5), 10) == 5
    for awaitable in asyncio.as_completed([child(6)]):
        assert await awaitable == 6
    async with asyncio.TaskGroup() as group:
        group.create_task(child(7))
    assert await asyncio.to_thread(in_a_thread) == "thread"
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 8)
    assert await asyncio.wait_for(future, 10) == 8
    try:
        await asyncio.gather(child(ValueError()))
    except ValueError:
        pass
    task = asyncio.create_task(child())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def main():
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = AsyncioInstrumentor()
    before = {name: getattr(asyncio, name) for name in WRAPPED}
    instrumentor.instrument(tracer_provider=tracers, meter_provider=meters)
    assert all(getattr(asyncio, name) is not stock for name, stock in before.items())
    await every_way_to_make_a_task()
    instrumentor.uninstrument()
    assert {name: getattr(asyncio, name) for name in WRAPPED} == before
    names = sorted(span.name for span in exporter.get_finished_spans())
    assert names == ["asyncio coro-child"] * 9 + ["asyncio future"] + ["asyncio to_thread-in_a_thread"], names
    points = [
        point
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "asyncio.process.created"
        for point in metric.data.data_points
    ]
    states = {(point.attributes["type"], point.attributes["state"]): point.value for point in points}
    assert states == {
        ("coroutine", "finished"): 7,
        ("coroutine", "exception"): 1,
        ("coroutine", "cancelled"): 1,
        ("future", "finished"): 1,
        ("to_thread", "finished"): 1,
    }, states
    meters.shutdown()
    tracers.shutdown()


common.run(main)
