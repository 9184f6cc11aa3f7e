"""What the loops of this process count, for OpenTelemetry: the extra asyncio_c[metrics]."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from opentelemetry import metrics as api

import asyncio_c

from . import metrics

_PERCENTILES = (50, 90, 99, 100)
# Prometheus' units as those of UCUM.
_UNITS = {"seconds": "s", "bytes": "By", "": "1"}


def instrument(meter_provider: api.MeterProvider | None = None, prefix: str = "asyncio_c.loop") -> None:
    """Create observable counters and gauges for what loop.stats() has, of each loop of ours that is not closed.

    The attribute `loop` is its number. A histogram, which is there once loop.measure() was called, becomes a gauge with the
    attribute `percentile`, since loop.stats() began: OpenTelemetry observes no histograms.

    meter_provider: by default the global one. prefix: of the names. To be called once for a provider.
    """
    meter = api.get_meter("asyncio_c", asyncio_c.__version__, meter_provider)
    for metric in metrics.METRICS:
        create: Any = meter.create_observable_counter if metric.total else meter.create_observable_gauge
        create(
            f"{prefix}.{metric.name}",
            callbacks=[_observer(metric.attribute)],
            unit=_UNITS[metric.unit],
            description=metric.text,
        )
    for attribute, name, text in metrics.HISTOGRAMS:
        meter.create_observable_gauge(
            f"{prefix}.{name}", callbacks=[_percentiles(attribute)], unit="s", description=text
        )


_Observe = Callable[[api.CallbackOptions], Iterable[api.Observation]]


def _observer(attribute: str) -> _Observe:
    def observe(options: api.CallbackOptions) -> Iterator[api.Observation]:
        for number, stats in metrics.snapshots():
            yield api.Observation(getattr(stats, attribute), {"loop": number})

    return observe


def _percentiles(attribute: str) -> _Observe:
    def observe(options: api.CallbackOptions) -> Iterator[api.Observation]:
        for number, stats in metrics.snapshots():
            measured = getattr(stats, attribute, None)
            if measured is not None and measured.count:
                for percent in _PERCENTILES:
                    yield api.Observation(
                        measured.percentile(percent), {"loop": number, "percentile": percent}
                    )

    return observe
