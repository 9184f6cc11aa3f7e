"""ddtrace: spans of tasks, whose parents are found by their contexts, and its profiler, which rewrites functions of asyncio."""

import asyncio
import os

os.environ.update(
    DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
    DD_REMOTE_CONFIGURATION_ENABLED="false",
    DD_PROFILING_OUTPUT_PPROF=os.devnull,
    DD_TRACE_STARTUP_LOGS="false",
)

import common
import ddtrace
from ddtrace.internal.datadog.profiling import stack
from ddtrace.profiling import Profiler
from ddtrace.trace import TraceFilter, tracer


class Collector(TraceFilter):
    """Takes the traces, none of which is sent."""

    def __init__(self):
        self.traces = []

    def process_trace(self, trace):
        self.traces.append(trace)


async def child(number):
    with tracer.trace(f"child {number}"):
        await asyncio.sleep(0.001)
    return number


def in_a_thread():
    with tracer.trace("thread"):
        pass


async def every_way_to_make_a_task():
    loop = asyncio.get_running_loop()
    with tracer.trace("main"):
        assert await asyncio.gather(child(0), child(1)) == [0, 1]
        async with asyncio.TaskGroup() as group:
            group.create_task(child(2))
        await asyncio.wait([asyncio.create_task(child(3))])
        await asyncio.wait_for(child(4), 10)
        await asyncio.shield(child(5))
        for awaitable in asyncio.as_completed([child(6)]):
            await awaitable
        await loop.create_task(child(7))
        await loop.run_in_executor(None, in_a_thread)
        async with asyncio.timeout(10):
            await child(8)


def check_spans(trace):
    spans = {span.name: span for span in trace}
    assert set(spans) == {"main", "thread", *(f"child {number}" for number in range(9))}, sorted(spans)
    parents = {span.parent_id for span in trace if span.name != "main"}
    assert parents == {spans["main"].span_id}, parents


async def main():
    collector = Collector()
    tracer.configure(trace_processors=[collector])
    ddtrace.patch(asyncio=True, futures=True)
    linked = []
    stack.link_tasks, link = (
        lambda parent, task: (linked.append("link"), link(parent, task)),
        stack.link_tasks,
    )
    stack.weak_link_tasks, weak_link = (
        lambda parent, task: (linked.append("weak link"), weak_link(parent, task)),
        stack.weak_link_tasks,
    )
    profiler = Profiler()
    profiler.start()
    await every_way_to_make_a_task()
    profiler.stop(flush=False)
    (trace,) = collector.traces
    check_spans(trace)
    # gather: 2, the group: 1, wait: 1, shield: 1, as_completed: 1; create_task: 2
    assert linked.count("link") >= 6 and linked.count("weak link") >= 1, linked


# A thread of ddtrace reads the certificates of the system, and asks for an agent.
common.run(main, others_open_files=True)
