"""``/metrics``: plain integers of the machines, as Prometheus reads them."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Metric = CounterMetricFamily | GaugeMetricFamily
Source = Callable[[], Iterator[Metric]]


class MetricsPage:
    """Asks its sources whenever the page is asked for; nothing is counted twice."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)

    def add(self, source: Source) -> None:
        """Show what a source yields."""
        self._registry.register(_Collector(source))

    def render(self) -> bytes:
        return generate_latest(self._registry)


def gauge(name: str, description: str, value: float) -> Metric:
    """Return a number that goes up and down."""
    return GaugeMetricFamily(f"meshwg_{name}", description, value=value)


def counter(name: str, description: str, value: float) -> Metric:
    """Return a number that only goes up."""
    return CounterMetricFamily(f"meshwg_{name}", description, value=value)


def counters(
    name: str, description: str, label: str, values: Mapping[str, int]
) -> Metric:
    """Return a family of counters told apart by one label."""
    family = CounterMetricFamily(f"meshwg_{name}", description, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


class _Collector(Collector):
    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        return self._source()
