"""What Prometheus and OpenTelemetry are told of a loop: one list for both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import tasks


@dataclass(frozen=True)
class Metric:
    """A number of loop.stats(). What counts up is `total`; the others are what there is."""

    attribute: str
    name: str  # without the unit
    unit: str  # of Prometheus; "" for what is counted itself
    total: bool
    text: str


METRICS = (
    Metric("turns", "turns", "", True, "Turns of the loop."),
    Metric("callbacks", "callbacks", "", True, "Callbacks and steps of tasks that the loop has run."),
    Metric("steps", "steps", "", True, "Steps of tasks."),
    Metric("polls", "polls", "", True, "How often the kernel was asked what is ready."),
    Metric(
        "seconds_waiting", "waiting", "seconds", True, "How long the loop has waited for something to do."
    ),
    Metric("seconds_working", "working", "seconds", True, "How long the loop has run without waiting."),
    Metric("bytes_in", "received", "bytes", True, "What transports and sock_* coroutines have received."),
    Metric("bytes_out", "sent", "bytes", True, "What transports and sock_* coroutines have sent."),
    Metric("tasks", "tasks", "", False, "Native tasks that are not done."),
    Metric("timers", "timers", "", False, "Timers that are set."),
    Metric("descriptors", "descriptors", "", False, "Descriptors that are watched."),
)

# Those that loop.measure() switches on: attribute, name, text.
HISTOGRAMS = (
    ("lag", "lag", "How long after its deadline each timer ran."),
    ("callback_times", "callback", "How long each callback and step of a task took."),
)

# Upper bounds of what a histogram is told in, in seconds: a loop's own has hundreds of buckets.
BOUNDS = tuple(factor * 10.0**power for power in range(-6, 2) for factor in (1, 2.5, 5))


def snapshots() -> Iterator[tuple[str, Any]]:
    """Yield the number of each loop of ours that is not closed, as a label, and its stats."""
    for number, loop in tasks.loops().items():
        if hasattr(loop, "stats") and not loop.is_closed():
            yield str(number), loop.stats()


def cumulative(histogram: Any) -> list[tuple[float, int]]:
    """Return for each of BOUNDS how many durations are not above it; a 32nd of one may be missing, but no duration twice."""
    counts = [0] * (len(BOUNDS) + 1)
    for _, high, count in histogram:
        counts[next((i for i, bound in enumerate(BOUNDS) if high <= bound), len(BOUNDS))] += count
    found, seen = [], 0
    for bound, count in zip(BOUNDS, counts):
        seen += count
        found.append((bound, seen))
    return found
