"""The page shows a report to people, and is nothing but a page."""

from html.parser import HTMLParser
from pathlib import Path

from netlab.report import write
from netlab.results import Report


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
