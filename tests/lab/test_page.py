"""The page shows a report to people, and is nothing but a page."""

from html.parser import HTMLParser
from pathlib import Path

from netlab.page import render
from netlab.report import write
from netlab.results import Report, ScenarioResult
from tests.lab.reports import HOSTILE, outcomes


def test_the_page_loads_nothing_and_runs_nothing(
    report: Report, tmp_path: Path
) -> None:
    write(report, tmp_path)
    page = (tmp_path / "index.html").read_text()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            seen.add(tag)

    seen: set[str] = set()
    Tags().feed(page)
    assert "svg" in seen
    assert not seen & {"script", "link", "img", "iframe", "object"}


def test_failures_are_shown_first_and_in_red(report: Report) -> None:
    report.scenarios[0].error = f"It failed: {HOSTILE}"
    report.matrices[0].outcomes = outcomes("It is relayed.")

    page = render(report, None)

    assert '<p class="verdict bad">0 of 1 scenarios hold.' in page
    assert '<p class="bad">It failed: &lt;script&gt;' in page
    rows = page[page.index("All 3 pairs") :]
    assert rows.index("It is relayed.") < rows.index("public and public")


def test_words_from_outside_are_never_markup(report: Report) -> None:
    assert "<script" not in render(report, None)


def test_a_run_without_a_matrix_shows_its_scenarios() -> None:
    page = render(Report([ScenarioResult("hub", "Hub", "A hub.")]), None)

    assert "A hub." in page
    assert "Every kind of NAT" not in page
