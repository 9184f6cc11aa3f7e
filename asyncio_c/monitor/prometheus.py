"""What the loops of this process count, for Prometheus: the extra asyncio_c[metrics]."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from . import metrics


class LoopCollector:
    """A collector for prometheus_client: REGISTRY.register(LoopCollector()).

    For each loop of ours that is not closed, by the label `loop`, its number, it has what loop.stats() has; the histograms, once
    loop.measure() was called. It looks when it is asked, in whatever thread that is.

    prefix: of the names.
    """

    def __init__(self, prefix: str = "asyncio_c_loop") -> None:
        self._prefix = prefix

    def describe(self) -> list[Metric]:
        """Return nothing: what there is depends on the loops, and registering asks for none of it."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families, as they are now."""
        snapshots = list(metrics.snapshots())
        for metric in metrics.METRICS:
            name = "_".join(part for part in (self._prefix, metric.name, metric.unit) if part)
            kind = CounterMetricFamily if metric.total else GaugeMetricFamily
            family = kind(name, metric.text, labels=["loop"])
            for number, stats in snapshots:
                family.add_metric([number], getattr(stats, metric.attribute))
            yield family
        for attribute, name, text in metrics.HISTOGRAMS:
            histograms = HistogramMetricFamily(f"{self._prefix}_{name}_seconds", text, labels=["loop"])
            for number, stats in snapshots:
                measured = getattr(stats, attribute, None)
                if measured is not None:
                    buckets = [(repr(bound), float(count)) for bound, count in metrics.cumulative(measured)]
                    buckets.append(("+Inf", float(measured.count)))
                    histograms.add_metric([number], buckets, measured.sum)
            yield histograms
