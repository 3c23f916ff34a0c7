"""The page that Prometheus reads."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from coordinator.runtime.metrics import Metric, MetricsPage, counter, counters, gauge


def test_numbers_are_shown_by_name_and_label() -> None:
    def source() -> Iterator[Metric]:
        yield gauge("nodes", "Members", 3)
        yield counter("commits", "Transactions", 7)
        yield counters("drops", "Dropped", "reason", {"no-room": 2, "malformed": 1})

    assert samples(page_of(source)) == {
        ("meshwg_nodes", ""): 3,
        ("meshwg_commits_total", ""): 7,
        ("meshwg_drops_total", "malformed"): 1,
        ("meshwg_drops_total", "no-room"): 2,
    }


def test_a_source_is_read_whenever_the_page_is_requested() -> None:
    asked: list[None] = []

    def source() -> Iterator[Metric]:
        asked.append(None)
        yield gauge("asked", "How often", len(asked))

    page = page_of(source)
    assert samples(page) == {("meshwg_asked", ""): 1}
    assert samples(page) == {("meshwg_asked", ""): 2}


def test_a_family_without_any_value_yet_is_no_sample() -> None:
    def source() -> Iterator[Metric]:
        yield counters("drops", "Dropped", "reason", {})

    assert samples(page_of(source)) == {}


def test_a_label_may_hold_what_needs_quoting() -> None:
    odd = 'a "quoted"\nline \\'

    def source() -> Iterator[Metric]:
        yield counters("drops", "Dropped", "reason", {odd: 1})

    assert samples(page_of(source)) == {("meshwg_drops_total", odd): 1}


def test_a_source_that_fails_is_not_hidden() -> None:
    def source() -> Iterator[Metric]:
        yield gauge("nodes", "Members", 3)
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        page_of(source).render()


def page_of(*sources: object) -> MetricsPage:
    page = MetricsPage()
    for source in sources:
        assert callable(source)
        page.add(source)
    return page


def samples(page: MetricsPage) -> dict[tuple[str, str], float]:
    """Return what Prometheus's own parser reads, by name and label."""
    families = text_string_to_metric_families(page.render().decode())
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }
